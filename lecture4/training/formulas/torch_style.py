"""Functions of a file with the names and arguments of ``lecture4.byhand``."""

import inspect
import math
import random
import zlib
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch.autograd import Function

from lecture4.byhand import functional, numerical
from lecture4.training.formulas.arguments import Adapted
from lecture4.training.formulas.arrays import Native, uses_numpy
from lecture4.training.formulas.halves import Back, differentiable

FANS = ("fan_in", "fan_out", "shape")  # which an initialiser may take in place of the weight
GAINS = {"xavier": 1.0, "he": math.sqrt(2)}  # of initialisers, NAME(weight, gain)


def in_torch_style(name: str, value: Any) -> Callable:
    """A function or a torch.autograd.Function, called as byhand's."""
    owner = getattr(value, "__self__", None)  # of NAME = Kind.apply
    kinds = [k for k in (value, owner) if isinstance(k, type) and issubclass(k, Function)]
    if kinds:
        adapted = Adapted(name, kinds[0].apply, reference_of(name), _signature_of_apply(kinds[0]))
        return adapted.like_reference(_on_tensors(adapted))
    native = Native(name, uses_numpy([value], in_halves=False))
    if name in GAINS:
        return _initialiser(name, value, native)
    adapted = Adapted(name, value, reference_of(name))
    if name == "gradient":
        call = _gradient(adapted, native)
    elif native.numpy and name != "output_size":
        call = _value_alone(adapted, native)
    else:
        call = _on_tensors(adapted)
    return adapted.like_reference(call)


def _on_tensors(adapted: Adapted) -> Callable:
    """A function that autograd differentiates; a number becomes a tensor, except a size."""

    def call(*args, **kwargs) -> Any:
        given = adapted.all(args, kwargs)
        result = adapted(given)
        first = next((v for v in given.values() if isinstance(v, torch.Tensor)), None)
        if isinstance(result, int | float | np.generic | np.ndarray) and first is not None:
            return torch.as_tensor(result, dtype=first.dtype, device=first.device)
        return result

    return call


def _value_alone(adapted: Adapted, native: Native) -> Callable:
    """A function of arrays that returns its value: it has no gradient."""
    name = adapted.name

    def run(given: Mapping[str, Any]) -> tuple[Any, Back]:
        def back(dout: Any):
            raise NotImplementedError(
                f"{name} computes with NumPy, which autograd does not differentiate; write "
                f"{name}_forward and {name}_backward"
            )

        return adapted(given), back

    return differentiable(name, run, adapted.reference, native)


def _initialiser(name: str, value: Callable, native: Native) -> Callable:
    """``NAME(weight, gain)``, which fills the weight in place, or returns another one.

    Also of ``(fan_in, fan_out)`` or ``(shape)``, and one may return the standard deviation.
    """
    reference = reference_of(name)
    others = [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY) for k in FANS]
    wide = Adapted(
        name, value, reference.replace(parameters=[*reference.parameters.values(), *others])
    )
    taken = {"gain", *wide.sources.values()}

    def call(*args, **kwargs) -> torch.Tensor:
        given = reference.bind(*args, **kwargs)
        given.apply_defaults()
        weight = given.arguments["weight"]
        outputs, *filter_shape = weight.shape
        fans = math.prod(filter_shape), outputs * math.prod(filter_shape[1:])
        known = given.arguments | dict(zip(FANS, (*fans, tuple(weight.shape)), strict=True))
        result = wide({k: native.enter(v) for k, v in known.items() if k in taken})
        if result is None:
            return weight
        drawn = native.leave(result, weight).to(weight.dtype)
        if drawn.ndim == 0:
            return torch.randn_like(weight) * drawn
        if "fan_in" in taken and drawn.shape == fans:  # of filters it has more numbers than needed
            drawn = drawn.T.reshape(-1)[: weight.numel()].view_as(weight)
        if drawn.shape != weight.shape:
            shapes = tuple(drawn.shape), tuple(weight.shape)
            raise ValueError("{} returned weights of shape {}, not {}".format(name, *shapes))
        return drawn

    parameters = [p for k, p in reference.parameters.items() if k != "gain" or k in wide.sources]
    call.__signature__ = reference.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call


def _gradient(adapted: Adapted, native: Native) -> Callable:
    """``gradient(f, x, h)``, where f takes tensors, also if the file computes with arrays."""

    def call(*args, **kwargs) -> torch.Tensor:
        given = adapted.all(args, kwargs)
        f, x = given["f"], given["x"]
        if native.numpy:
            given |= {"f": lambda a: float(f(torch.as_tensor(a))), "x": native.enter(x)}
        return native.leave(adapted(given), x)

    call.numpy = native.numpy  # type: ignore[attr-defined]
    return call


def drawing(call: Callable) -> Callable:
    """A random function, whose draws from NumPy or ``random`` follow torch's generator.

    A run seeds torch's in each step, so that it draws the same numbers after a resume.
    """

    @wraps(call)
    def seeded(*args, **kwargs) -> Any:
        before = torch.get_rng_state()
        seed = zlib.crc32(before.numpy())
        np.random.seed(seed)
        random.seed(seed)
        result = call(*args, **kwargs)
        if torch.equal(torch.get_rng_state(), before):
            torch.rand(())  # or the next layer would draw the same numbers
        return result

    return seeded


def reference_of(name: str) -> inspect.Signature:
    """The arguments of the function of this name in ``lecture4.byhand``."""
    if name in GAINS:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        gain = inspect.Parameter("gain", kind, default=GAINS[name])
        return inspect.Signature([inspect.Parameter("weight", kind), gain])
    return inspect.signature(getattr(functional, name, None) or getattr(numerical, name))


def _signature_of_apply(kind: type[Function]) -> inspect.Signature:
    """The arguments of ``kind.apply``: those of its forward, without ctx."""
    signature = inspect.signature(kind.forward)
    apart = kind.setup_context is not Function.setup_context
    parameters = list(signature.parameters.values())
    return signature.replace(parameters=parameters if apart else parameters[1:])
