"""The lecture's claims, one file per section: measure, judge, then draw.

Each file is named after its claim, and ends with its ``CLAIM``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lecture4.lesson.lab import Claim

NAMES = (  # in the order of the lecture
    "probabilities",
    "cross_entropy",
    "search",
    "gradient",
    "minibatch",
    "penalty",
    "rings",
    "backprop",
    "structure",
    "arithmetic",
    "pooling",
    "activations",
    "preprocess",
    "init",
    "adam",
    "learned",
    "models",
    "bugs",
)


def claim(name: str) -> "Claim":
    """The claim of that name; its file, and torch, are imported only now."""
    return import_module(f"{__name__}.s{NAMES.index(name) + 1:02}_{name}").CLAIM
