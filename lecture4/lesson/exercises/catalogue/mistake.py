"""A mistake: a whole function or optimizer that is wrong in one way, and the hint for a student."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps

import torch
from torch.autograd import Function


@dataclass(frozen=True)
class Mistake:
    """A function, or an optimizer's class, that is wrong in one way.

    Attributes:
        name: what is wrong, such as "flipped_kernel".
        of: the formula, such as "conv2d"; a key of ``CASES``.
        call: takes the arguments of an exercise.
        hint: a sentence that points to the cause, and not to the solution.
        alone: the value is wrong, and a right backward pass may be written beside it.
    """

    name: str
    of: str
    call: Callable
    hint: str
    alone: bool = False

    @property
    def title(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    @property
    def source(self) -> Callable:
        """The function whose code shows the mistake; of an optimizer its update."""
        return getattr(self.call, "update", self.call)


def mistake(of: str, hint: str, alone: bool = False) -> Callable[[Callable], Mistake]:
    """Decorate a function or class: make a mistake in ``of`` of it, under its own name."""
    return lambda call: Mistake(call.__name__, of, call, hint, alone)


def with_right_backward(wrong: Mistake, right: Callable) -> Mistake:
    """The mistake in the forward pass alone: its value, and the gradients of ``right``."""

    @wraps(wrong.call)
    def call(*args, **kwargs):
        value = wrong.call(*args, **kwargs)
        fixed = [_copied(a) for a in args]  # batch norm changes its running statistics
        other = right(*fixed, **kwargs)
        if other.shape != value.shape:
            return value
        return with_backward(value, (other,), lambda dvalue: dvalue)

    return replace(wrong, name=f"{wrong.name}_forward_alone", call=call)


def _copied(a):
    return a.clone() if isinstance(a, torch.Tensor) and not a.requires_grad else a


def with_backward(
    value: torch.Tensor, inputs: Sequence[torch.Tensor | None], backward: Callable
) -> torch.Tensor:
    """``value``, whose gradients of ``inputs`` are what ``backward`` makes of ∂L/∂value.

    Args:
        value: computed from the inputs.
        inputs: tensors, or None for one that is left out.
        backward: ∂L/∂value -> a gradient, or as many as there are inputs.
    """
    return _WithBackward.apply(value.detach(), backward, *inputs)


class _WithBackward(Function):
    @staticmethod
    def forward(ctx, value, backward, *inputs):
        ctx.backward_, ctx.given = backward, [x is not None for x in inputs]
        return value.clone()

    @staticmethod
    def backward(ctx, dvalue):
        gradients = ctx.backward_(dvalue)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        found = zip(gradients, ctx.given, strict=True)
        return None, None, *(g if given else None for g, given in found)
