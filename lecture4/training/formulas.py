"""Which formulas train: torch's, or those derived by hand. Read here alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import torch

from lecture4.byhand import nn, optim


@dataclass(frozen=True)
class Formulas:
    """Where layers, loss, optimizers and penalties are looked up by name."""

    name: str
    nn: ModuleType
    optim: ModuleType

    def penalty(self, kind: str):
        """R: weights -> scalar."""
        PENALTIES = {
            "none": lambda weights: 0.0,
            "l2": lambda weights: sum(w.square().sum() for w in weights),
            "l1": lambda weights: sum(w.abs().sum() for w in weights),
        }
        return PENALTIES[kind]


FORMULAS = {
    "torch": Formulas("torch", torch.nn, torch.optim),
    "byhand": Formulas("byhand", nn, optim),
}


def find(name: str) -> Formulas:
    """The formulas of that name.

    Raises:
        ValueError: ``name`` is neither ``torch`` nor ``byhand``.
    """
    if name not in FORMULAS:
        raise ValueError(f"formulas={name} is unknown; choose one of {', '.join(FORMULAS)}")
    return FORMULAS[name]
