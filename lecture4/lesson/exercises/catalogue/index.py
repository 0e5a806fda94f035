"""Every mistake, and planting one in ``lecture4.byhand``."""

import inspect
from contextlib import AbstractContextManager
from functools import wraps
from unittest.mock import patch

from lecture4.byhand import functional, numerical
from lecture4.byhand import optim as byhand_optim
from lecture4.lesson.exercises.arguments import REFERENCES
from lecture4.lesson.exercises.catalogue import (
    activations,
    adam,
    convolution,
    dense,
    descent,
    information,
    initialization,
    losses,
    normalization,
    pooling,
    regularization,
)
from lecture4.lesson.exercises.catalogue import (
    numerical as differences,
)
from lecture4.lesson.exercises.catalogue.mistake import Mistake, with_right_backward
from lecture4.training.formulas import BYHAND

SUBJECTS = (
    dense,
    losses,
    information,
    differences,
    regularization,
    activations,
    convolution,
    pooling,
    initialization,
    normalization,
    adam,
    descent,
)
WRITTEN = tuple(m for subject in SUBJECTS for m in vars(subject).values() if isinstance(m, Mistake))
MISTAKES: tuple[Mistake, ...] = (
    *WRITTEN,
    *(with_right_backward(m, REFERENCES[m.of]) for m in WRITTEN if m.alone),
    *(adam.in_adamw(m) for m in WRITTEN if m.of == "Adam" and m is not adam.decoupled_decay),
)


def planted(mistake: Mistake) -> AbstractContextManager:
    """``lecture4.byhand`` computes with the mistake until the block ends.

    Raises:
        ValueError: ``lecture4.byhand`` has no function of that name.
    """
    if mistake.of in byhand_optim.__all__:
        return patch.object(getattr(byhand_optim, mistake.of), "step", mistake.call.step)
    if mistake.of in ("l1_penalty", "l2_penalty"):
        kind = mistake.of.removesuffix("_penalty")
        return patch.dict(BYHAND.penalties, {kind: mistake.call})
    if mistake.of == "gradient":
        return patch.object(numerical, "gradient", mistake.call)
    if mistake.of in functional.__all__:
        return patch.object(functional, mistake.of, _with_the_signature_of_byhand(mistake))
    raise ValueError(f"{mistake.name} cannot be planted: lecture4.byhand has no {mistake.of}")


def _with_the_signature_of_byhand(mistake: Mistake):
    """The mistake, called as its layer calls it, with options that no exercise has left out.

    Raises (when called):
        ValueError: such an option is used.
    """
    right = getattr(functional, mistake.of)
    signature, known = inspect.signature(right), inspect.signature(mistake.call).parameters

    @wraps(right)
    def call(*args, **kwargs):
        given = signature.bind(*args, **kwargs).arguments
        for name in list(given):
            default = signature.parameters[name].default
            if name not in known and _side(given.pop(name)) != default:
                raise ValueError(f"{mistake.name} has no {name}; leave it out")
        return mistake.call(**{name: _side(a) for name, a in given.items()})

    return call


def _side(value):
    """(2, 2) -> 2, as the layers of torch have a side for height and one for width."""
    if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]:
        return value[0]
    return value
