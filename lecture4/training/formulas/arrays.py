"""NumPy or torch: what a function computes with, and how tensors get there and back."""

import contextlib
import dis
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any

import numpy as np
import torch

# methods and keywords of arrays alone, and of tensors alone, where nothing else tells them apart
OF_ARRAYS = {"astype", "copy", "dot", "axis", "keepdims"}
OF_TENSORS = {"clone", "permute", "unsqueeze", "clamp", "view", "new_zeros", "dim", "keepdim"}


def uses_numpy(functions: Iterable[Callable], in_halves: bool) -> bool:
    """Whether functions compute with NumPy rather than torch, from the names in their code.

    Args:
        functions: and what they call in their own file is read, too.
        in_halves: whether forward and backward are written apart: code such as ``x * (x > 0)``,
            which suits both, is then given arrays, unless methods or the imports of its file speak
            for tensors.
    """
    found: set[str] = set()
    seen: set[int] = set()
    for function in functions:
        found |= set(_evidence(function, seen))
    if "torch" in found or "numpy" in found:
        return "torch" not in found
    if not in_halves:
        return False
    for tensors, arrays in (("tensor", "array"), ("import torch", "import numpy")):
        if tensors in found or arrays in found:
            return arrays in found
    return True


def _evidence(value: Any, seen: set[int]) -> Iterator[str]:
    """What code is written with.

    ``numpy`` or ``torch`` where it names them, ``array`` or ``tensor`` where it uses their methods,
    ``import numpy`` or ``import torch`` where its file has imported them.
    """
    if id(value) in seen:
        return
    seen.add(id(value))
    for part in _parts(value):
        yield from _evidence(part, seen)
    if not inspect.isfunction(value):
        return
    yield from map(_library, value.__annotations__.values())
    for known in value.__globals__.values():
        if isinstance(known, ModuleType):
            yield f"import {_library(known)}"
    for operation, name in _names(value.__code__):
        if operation == "IMPORT_NAME":
            yield name.partition(".")[0]
        elif operation in ("LOAD_GLOBAL", "LOAD_NAME"):
            used = value.__globals__.get(name)
            yield _library(used)
            if getattr(used, "__module__", None) == value.__module__:
                yield from _evidence(used, seen)
        elif name in OF_ARRAYS | OF_TENSORS:
            yield "array" if name in OF_ARRAYS else "tensor"


def _parts(value: Any) -> Iterator[Any]:
    """The functions that a method, class, partial or decorated function is made of."""
    if isinstance(value, type):
        for base in value.__mro__:
            if _library(base) not in ("torch", "builtins"):
                yield from (getattr(part, "__func__", part) for part in vars(base).values())
    yield from (getattr(value, name, None) for name in ("__self__", "__func__", "func"))
    for cell in getattr(value, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # an empty one
            yield cell.cell_contents


def _names(code: CodeType) -> Iterator[tuple[str, str]]:
    """Each name in the code, with the operation that uses it; names of keywords, with none."""
    for instruction in dis.get_instructions(code):
        if isinstance(instruction.argval, str):
            yield instruction.opname, instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
        elif isinstance(constant, tuple):
            yield from (("", name) for name in constant if isinstance(name, str))


def _library(value: Any) -> str:
    """torch.nn.functional.relu -> torch"""
    if isinstance(value, str):  # an annotation
        name = value
    elif isinstance(value, ModuleType):
        name = value.__name__
    else:
        name = getattr(value, "__module__", None) or type(value).__module__
    return {"np": "numpy"}.get(name.partition(".")[0], name.partition(".")[0])


@dataclass(frozen=True)
class Native:
    """What functions of a file take: arrays, or tensors."""

    name: str  # of the function, for errors
    numpy: bool

    def enter(self, value: Any) -> Any:
        """A tensor as an array on the same memory, or without its gradient.

        Raises:
            ValueError: it is on a GPU, and the function takes arrays.
        """
        if not isinstance(value, torch.Tensor):
            return value
        value = value.detach()
        if not self.numpy:
            return value
        if value.device.type != "cpu":
            raise ValueError(
                f"{self.name} computes with NumPy, which needs the CPU; use trainer=cpu"
            )
        return value.numpy()

    def leave(self, value: Any, like: torch.Tensor) -> torch.Tensor:
        """A result as a tensor; a number in the dtype of ``like``.

        Raises:
            TypeError: it is neither array nor tensor nor number.
        """
        if isinstance(value, torch.Tensor):
            return value.detach()  # another object, which no cache holds
        if isinstance(value, bool | int | float | np.generic) or (
            isinstance(value, np.ndarray) and value.ndim == 0
        ):
            return torch.as_tensor(value, dtype=like.dtype, device=like.device)
        if not isinstance(value, np.ndarray | list | tuple):
            raise TypeError(f"{self.name} returned {type(value).__name__}, not an array")
        return torch.from_numpy(np.require(value, requirements="CW")).to(like.device)
