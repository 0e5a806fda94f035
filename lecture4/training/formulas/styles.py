"""The formulas among the functions of a file, each callable as ``lecture4.byhand``'s own is.

A name may be written in several styles; the first in this list is taken:

    pair     NAME_forward(...) -> (out, cache), NAME_backward(dout, cache) -> gradients
    course   the interfaces of well-known assignments, see ``course``
    torch    NAME(...), differentiable by autograd, or a torch.autograd.Function
    halves   a pair or course style without its backward: values, but no gradients
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.autograd import Function

from lecture4.byhand import functional, numerical
from lecture4.training.formulas.arguments import Adapted
from lecture4.training.formulas.arrays import Native, uses_numpy
from lecture4.training.formulas.course import COURSE, Functions
from lecture4.training.formulas.halves import Back, differentiable, pair
from lecture4.training.formulas.optimizers import find_optimizers

GAINS = {"xavier": 1.0, "he": math.sqrt(2)}  # of initialisers, NAME(weight, gain)


@dataclass(frozen=True)
class Entry:
    """A formula of a file.

    Attributes:
        name: in ``lecture4.byhand``, such as ``conv2d`` or ``SGD``.
        style: ``torch``, ``pair`` or ``course``.
        names: in the file, such as ``("conv_forward_naive", "conv_backward_naive")``.
        call: takes the arguments of byhand's own function, and autograd differentiates it; of an
            optimizer a subclass of torch.optim.Optimizer with torch's constructor. Its signature
            has the arguments alone for which the function in the file has parameters.
        numpy: whether it computes with NumPy, and so on the CPU alone.
    """

    name: str
    style: str
    names: tuple[str, ...]
    call: Callable
    numpy: bool = False


def entries_of(own: Mapping[str, Any]) -> dict[str, Entry]:
    """The formulas among the values of a file, by name."""
    functions = Functions({name: value for name, value in own.items() if callable(value)})
    found = [_entry(name, functions) for name in (*functional.__all__, "gradient", *GAINS)]
    entries = {entry.name: entry for entry in found if entry}
    for name, style, names, kind, numpy in find_optimizers(functions):
        entries[name] = Entry(name, style, names, kind, numpy)
    return entries


def _entry(name: str, f: Functions) -> Entry | None:
    halves = f"{name}_forward", f"{name}_backward"
    is_pair = halves[0] in f and not _takes_settings(f[halves[0]])
    of_course = [n for n in COURSE[name].names if n in f] if name in COURSE else []
    is_course = any(not n.endswith("_backward") for n in of_course) and not is_pair
    if is_pair and (halves[1] in f or name not in f):
        return _pair(name, halves, f)
    if is_course and (len(of_course) > 1 or name not in f or name == "cross_entropy"):
        return _course(name, tuple(of_course), f)
    return _torch(name, f[name]) if name in f else None


def _takes_settings(forward: Callable) -> bool:
    """Whether it is course style: ``dropout_forward(x, dropout_param)``."""
    return any("param" in name for name in inspect.signature(forward).parameters)


def _pair(name: str, halves: tuple[str, str], f: Functions) -> Entry:
    forward, backward = f[halves[0]], f.get(halves[1])
    native = Native(halves[0], uses_numpy([forward, *filter(None, [backward])], unless_known=True))
    names = halves if backward else halves[:1]
    call = pair(name, names, forward, backward, _reference(name), native)
    return Entry(name, "pair", names, call, native.numpy)


def _course(name: str, names: tuple[str, ...], f: Functions) -> Entry:
    native = Native(names[0], uses_numpy([f[n] for n in names], unless_known=True))
    run, reference = partial(COURSE[name].run, f), _reference(name)
    call = differentiable(name, run, reference, native)
    parameters = [reference.parameters[argument] for argument in COURSE[name].arguments]
    call.__signature__ = reference.replace(parameters=parameters)  # type: ignore[attr-defined]
    return Entry(name, "course", names, call, native.numpy)


def _torch(name: str, value: Any) -> Entry:
    owner = getattr(value, "__self__", None)
    kind = next(
        (k for k in (value, owner) if isinstance(k, type) and issubclass(k, Function)), None
    )
    numpy = kind is None and uses_numpy([value], unless_known=False)
    native = Native(name, numpy)
    if name in GAINS:
        return Entry(name, "torch", (name,), _initialiser(name, value, native), numpy)
    if name == "gradient":
        return Entry(name, "torch", (name,), _gradient(value, native), numpy)
    if numpy and name != "output_size":
        return Entry(name, "torch", (name,), _values_alone(name, value, native), numpy)
    reference = _reference(name)
    adapted = Adapted(
        name, *((kind.apply, reference, _signature_of(kind)) if kind else (value, reference))
    )

    def call(*args, **kwargs) -> Any:
        given = _all(reference, args, kwargs)
        return _as_tensor(adapted(given), given)

    call.__signature__ = adapted.signature  # type: ignore[attr-defined]
    return Entry(name, "torch", (name,), call)


def _as_tensor(result: Any, given: Mapping[str, Any]) -> Any:
    """A number as a tensor of the first argument's dtype; a size has none."""
    first = next((v for v in given.values() if isinstance(v, torch.Tensor)), None)
    if isinstance(result, int | float | np.generic | np.ndarray) and first is not None:
        return torch.as_tensor(result, dtype=first.dtype, device=first.device)
    return result


def _values_alone(name: str, value: Callable, native: Native) -> Callable:
    """A function of arrays that returns its value: it has no gradient."""
    reference = _reference(name)
    adapted = Adapted(name, value, reference)

    def run(given: Mapping[str, Any]) -> tuple[Any, Back]:
        def back(dout: Any):
            raise NotImplementedError(
                f"{name} computes with NumPy, which autograd does not differentiate; write "
                f"{name}_forward and {name}_backward"
            )

        return adapted(given), back

    call = differentiable(name, run, reference, native)
    call.__signature__ = adapted.signature  # type: ignore[attr-defined]
    return call


def _initialiser(name: str, value: Callable, native: Native) -> Callable:
    """``NAME(weight, gain)``, which fills the weight in place, or returns another one."""
    weight, gain = (
        inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("weight", "gain")
    )
    reference = inspect.Signature([weight, gain.replace(default=GAINS[name])])
    adapted = Adapted(name, value, reference)

    def call(*args, **kwargs) -> torch.Tensor:
        given = _all(reference, args, kwargs)
        weight = given["weight"]
        result = adapted({k: native.enter(v) for k, v in given.items()})
        return weight if result is None else native.leave(result, weight)

    call.__signature__ = adapted.signature  # type: ignore[attr-defined]
    return call


def _gradient(value: Callable, native: Native) -> Callable:
    """``gradient(f, x, h)``, where f takes tensors, also if the file computes with arrays."""
    adapted = Adapted("gradient", value, _reference("gradient"))

    def call(*args, **kwargs) -> torch.Tensor:
        given = _all(adapted.reference, args, kwargs)
        f, x = given["f"], given["x"]
        if native.numpy:
            given |= {"f": lambda a: float(f(torch.as_tensor(a))), "x": native.enter(x)}
        return native.leave(adapted(given), x)

    call.__signature__ = adapted.signature  # type: ignore[attr-defined]
    return call


def _all(reference: inspect.Signature, args: tuple, kwargs: dict) -> dict[str, Any]:
    """All arguments by name, with defaults."""
    bound = reference.bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def _reference(name: str) -> inspect.Signature:
    return inspect.signature(getattr(functional, name, None) or getattr(numerical, name))


def _signature_of(kind: type[Function]) -> inspect.Signature:
    """The arguments of ``kind.apply``: those of its forward, without ctx."""
    signature = inspect.signature(kind.forward)
    apart = kind.setup_context is not Function.setup_context
    parameters = list(signature.parameters.values())
    return signature.replace(parameters=parameters if apart else parameters[1:])
