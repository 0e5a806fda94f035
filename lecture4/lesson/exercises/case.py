"""A case: arguments on which a formula is checked, and the tensors to make them of."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

F32, F64 = torch.float32, torch.float64


@dataclass(frozen=True, eq=False)  # hashed by identity
class Case:
    """Arguments for the reference's signature.

    Attributes:
        label: for a report, such as "stride 2, padding 1, 5×7 pixels, float32".
        tags: the parts of the label.
        arguments: by name, in the order of the reference's signature.
        wrt: names of the arguments to differentiate by.
        optional: uses an option that a function may leave out of its signature; it is then skipped.
        implied: arguments with the value that a function without them would assume.
        ties: a window may have several maxima, and any of them may take the gradient.
    """

    label: str
    tags: frozenset[str]
    arguments: dict[str, Any]
    wrt: tuple[str, ...] = ()
    optional: bool = False
    implied: frozenset[str] = field(default=frozenset())
    ties: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """float32 or float64."""
        return F32 if "float32" in self.tags else F64


FIXED = {"running_mean", "running_var", "target"}  # tensors that have no gradient


def make(
    words: str, arguments: dict[str, Any], *, wrt: Iterable[str] | None = None, **options: Any
) -> Case:
    """A case with the tags ``words``, separated by commas, and float32 where a tensor is."""
    floats = {}  # a tensor of each argument, or of a list of them
    for name, a in arguments.items():
        a = a[0] if isinstance(a, list) else a
        if isinstance(a, torch.Tensor) and a.is_floating_point() and name not in FIXED:
            floats[name] = a
    label = f"{words}, float32" if any(a.dtype == F32 for a in floats.values()) else words
    tags = frozenset(label.split(", "))
    return Case(label, tags, arguments, tuple(floats if wrt is None else wrt), **options)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> torch.Tensor:
    """Normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64).to(dtype)


def distinct(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> torch.Tensor:
    """Numbers that differ from each other and from 0 by 0.05 or more, between about −3 and 3."""
    n = math.prod(shape)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return ((order - n // 2 + 0.5) * max(0.1, 6 / n)).to(dtype).view(shape)


def labels(n: int, classes: int, seed: int = 0) -> torch.Tensor:
    """Class indices."""
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
