"""The formulas among the functions of a file, each callable as ``lecture4.byhand``'s own is.

A name may be written in several styles; the first in this list is taken:

    pair     NAME_forward(...) -> (out, cache), NAME_backward(dout, cache) -> gradients
    course   the interfaces of well-known assignments, see ``course``
    torch    NAME(...), differentiable by autograd, or a torch.autograd.Function
    halves   a pair or course style without its backward: values, but no gradients
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lecture4.byhand import functional
from lecture4.training.formulas.arguments import signature_of
from lecture4.training.formulas.arrays import Native, uses_numpy
from lecture4.training.formulas.course import COURSE, Functions
from lecture4.training.formulas.halves import differentiable, pair
from lecture4.training.formulas.optimizers import find_optimizers
from lecture4.training.formulas.torch_style import GAINS, drawing, in_torch_style, reference_of


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
    """

    name: str
    style: str
    names: tuple[str, ...]
    call: Callable


def entries_of(own: Mapping[str, Any]) -> dict[str, Entry]:
    """The formulas among the values of a file, by name."""
    functions = Functions({name: value for name, value in own.items() if callable(value)})
    entries = {}
    for name in (*functional.__all__, "gradient", *GAINS):
        if entry := _entry(name, functions):
            draws = name == "dropout" or name in GAINS
            entries[name] = replace(entry, call=drawing(entry.call)) if draws else entry
    for name, style, names, kind in find_optimizers(functions):
        entries[name] = Entry(name, style, names, kind)
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
    if name in f:
        return Entry(name, "torch", (name,), in_torch_style(name, f[name]))
    return None


def _takes_settings(forward: Callable) -> bool:
    """Whether it is course style: ``dropout_forward(x, dropout_param)``."""
    return any("param" in name for name in signature_of(forward).parameters)


def _pair(name: str, halves: tuple[str, str], f: Functions) -> Entry:
    forward, backward = f[halves[0]], f.get(halves[1])
    native = Native(halves[0], uses_numpy([forward, *filter(None, [backward])], in_halves=True))
    names = halves if backward else halves[:1]
    call = pair(name, names, forward, backward, reference_of(name), native)
    return Entry(name, "pair", names, call)


def _course(name: str, names: tuple[str, ...], f: Functions) -> Entry:
    native = Native(names[0], uses_numpy([f[n] for n in names], in_halves=True))
    run, reference = partial(COURSE[name].run, f), reference_of(name)
    call = differentiable(name, run, reference, native)
    parameters = [reference.parameters[argument] for argument in COURSE[name].arguments]
    call.__signature__ = reference.replace(parameters=parameters)  # type: ignore[attr-defined]
    return Entry(name, "course", names, call)
