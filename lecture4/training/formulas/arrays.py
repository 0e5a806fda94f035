"""NumPy or torch: what a function computes with, and how tensors get there and back."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any

import numpy as np
import torch

# methods of arrays alone, and of tensors alone, where nothing else tells them apart
OF_ARRAYS = {"astype", "copy", "dot", "ravel", "tolist"}
OF_TENSORS = {"clone", "permute", "unsqueeze", "clamp", "view", "unfold", "new_zeros", "scatter_"}


def uses_numpy(functions: Iterable[Callable], unless_known: bool) -> bool:
    """Whether functions compute with NumPy rather than torch, from the names in their code.

    Args:
        functions: and what they call in their own file is read, too.
        unless_known: the answer for code that works with both, such as ``x * (x > 0)``.
    """
    found: set[str] = set()
    seen: set[int] = set()
    for function in functions:
        found |= set(_evidence(function, seen))
    if "torch" in found or "numpy" in found:
        return "torch" not in found
    if found & {"array", "tensor"}:
        return "tensor" not in found
    return unless_known


def _evidence(value: Any, seen: set[int]) -> Iterator[str]:
    """``numpy`` and ``torch`` where code names them, ``array`` and ``tensor`` for their methods."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if inspect.ismethod(value):
        yield from _evidence(value.__self__, seen)
    if isinstance(value, type):
        parts = [part for base in value.__mro__ if _is_own(base) for part in vars(base).values()]
        for part in parts:
            yield from _evidence(getattr(part, "__func__", part), seen)
    wrapped = getattr(value, "__wrapped__", None) or getattr(value, "func", None)
    if callable(wrapped):
        yield from _evidence(wrapped, seen)
    if not inspect.isfunction(value):
        return
    for name in _names(value.__code__):
        if name in ("numpy", "torch"):
            yield name
        elif name in value.__globals__:
            used = value.__globals__[name]
            library = _library(used)
            if library in ("numpy", "torch"):
                yield library
            elif callable(used) and getattr(used, "__module__", None) == value.__module__:
                yield from _evidence(used, seen)
        elif name in OF_ARRAYS | OF_TENSORS:
            yield "array" if name in OF_ARRAYS else "tensor"


def _is_own(kind: type) -> bool:
    return _library(kind) not in ("torch", "builtins")


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _library(value: Any) -> str:
    """torch.nn.functional.relu -> torch"""
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return (module or type(value).__module__).partition(".")[0]


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
        if isinstance(value, bool | int | float | np.generic):
            return torch.as_tensor(value, dtype=like.dtype, device=like.device)
        if not isinstance(value, np.ndarray | list | tuple):
            raise TypeError(f"{self.name} returned {type(value).__name__}, not an array")
        return torch.from_numpy(np.require(value, requirements="CW")).to(like.device)
