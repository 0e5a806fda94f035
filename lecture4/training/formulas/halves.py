"""A forward and a backward that were written apart, as one operation of autograd."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lecture4.training.formulas.arguments import Adapted, signature_of
from lecture4.training.formulas.arrays import Native

Arrays = Mapping[str, Any]  # arguments of the reference by name: arrays or tensors, and settings
Back = Callable[[Any], Arrays]  # ∂L/∂out -> gradients by argument
Run = Callable[[Arrays], tuple[Any, Back]]  # arguments -> out, back

# whose weight, of classes, or p has no gradient
OF_INPUT_ALONE = ("cross_entropy", "nll_loss", "dropout")


class _Halves(Function):
    """out, back = run(x, …);   ∂L/∂x, … = back(∂L/∂out)."""

    @staticmethod
    def forward(ctx, native: Native, run: Callable, *tensors: torch.Tensor):
        ctx.native, ctx.like = native, tensors[0].new_empty(0)
        out, ctx.back = run(*map(native.enter, tensors))
        return native.leave(out, ctx.like)

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        # a copy, for the file's backward may compute in place
        gradients = ctx.back(ctx.native.enter(dout.clone(memory_format=torch.contiguous_format)))
        leave = ctx.native.leave
        return None, None, *(None if g is None else leave(g, ctx.like) for g in gradients)


def differentiable(name: str, run: Run, reference: inspect.Signature, native: Native) -> Callable:
    """``run`` with the arguments of ``reference``, on tensors that autograd differentiates by."""

    def call(*args, **kwargs) -> torch.Tensor:
        bound = reference.bind(*args, **kwargs)
        bound.apply_defaults()
        values = bound.arguments
        wrt = [k for k in by_which(name, reference) if isinstance(values[k], torch.Tensor)]

        def compute(*arrays):
            given = {k: native.enter(v) for k, v in values.items() if k not in wrt}
            out, back = run(given | dict(zip(wrt, arrays, strict=True)))
            shapes = {k: tuple(values[k].shape) for k in wrt}

            def checked(dout: Any) -> list[Any]:
                gradients = back(dout)
                return [_fitting(k, gradients.get(k), shape) for k, shape in shapes.items()]

            return out, checked

        return _Halves.apply(native, compute, *(values[k] for k in wrt))

    call.numpy = native.numpy  # type: ignore[attr-defined]
    return call


def _fitting(argument: str, gradient: Any, shape: tuple[int, ...]) -> Any:
    """A gradient with as many numbers as its argument; autograd would sum one with more."""
    given = tuple(np.shape(gradient))
    if gradient is not None and math.prod(given) != math.prod(shape):
        raise ValueError(f"the gradient of {argument} has the shape {given}, not {shape}")
    return gradient


def by_which(name: str, reference: inspect.Signature) -> list[str]:
    """The arguments of a function that have a gradient."""
    known = ("input",) if name in OF_INPUT_ALONE else ("input", "weight", "bias", "p", "q")
    return [argument for argument in reference.parameters if argument in known]


def pair(
    name: str,
    names: tuple[str, ...],
    forward: Callable,
    backward: Callable | None,
    reference: inspect.Signature,
    native: Native,
) -> Callable:
    """NAME_forward(...) -> (out, cache) and NAME_backward(dout, cache) -> gradients.

    Raises:
        NotImplementedError: in the backward pass, if there is no backward.
        ValueError: the forward does not return two values, or the backward too few or too many, or
            takes the cache first.
    """
    adapted = Adapted(names[0], forward, reference)
    order = [a for a in adapted.taken if a in by_which(name, reference)]

    def run(given: Arrays) -> tuple[Any, Back]:
        out, cache = two(names[0], adapted(given))

        def back(dout: Any) -> Arrays:
            if backward is None:
                raise NotImplementedError(f"{name}_backward is not defined")
            if next(iter(signature_of(backward).parameters), None) == "cache":
                raise ValueError(f"{names[1]} takes the cache first; it is called with dout, cache")
            gradients = backward(dout, cache)
            several = isinstance(gradients, tuple) or (
                isinstance(gradients, list) and len(order) > 1
            )
            gradients = tuple(gradients) if several else (gradients,)
            for wanted in (order, adapted.taken, [k for k in order if given[k] is not None]):
                if len(wanted) == len(gradients):
                    return dict(zip(wanted, gradients, strict=True))
            if {*map(type, gradients[len(order) :])} == {type(None)}:  # of labels and settings
                return dict(zip(order, gradients, strict=False))
            raise ValueError(
                f"{names[1]} returned {len(gradients)} gradients, not {len(order)}: of "
                f"{', '.join(order)}"
            )

        return out, back

    return adapted.like_reference(differentiable(name, run, reference, native))


def two(name: str, result: Any) -> tuple[Any, Any]:
    """The two values that a forward returns."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(f"{name} must return two values, (out, cache)")
    return result
