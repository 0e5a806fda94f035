"""Comparing an operation written by hand with its twin in torch: the output and every gradient."""

from collections.abc import Callable

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lecture4.byhand import functional as byhand

cases = settings(max_examples=200, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31)
D_OUTPUT_SEED = 2**31 + 12345  # of no input


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Normal numbers, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def randint(high: int, *shape: int, seed: int = 0) -> torch.Tensor:
    """Whole numbers from 0 on and below ``high``, the same for the same seed."""
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def distinct(*shape: int, seed: int = 0) -> torch.Tensor:
    """Numbers that differ by 0.1 at least and are not 0: no kink is near them."""
    n = torch.Size(shape).numel()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return ((order - n // 2).double() / 10 + 0.05).view(shape)


def leaf(t: torch.Tensor) -> torch.Tensor:
    """The tensor as one that wants a gradient."""
    return t.detach().requires_grad_()


def torchs(name: str) -> Callable:
    """The function of that name in torch."""
    return getattr(F, name, None) or getattr(torch, name)


def gradients(output: torch.Tensor, inputs: list) -> list:
    """∂L/∂input of each input that wants one, for a random ∂L/∂output."""
    wanted = [t for t in inputs if isinstance(t, torch.Tensor) and t.requires_grad]
    d_output = randn(*output.shape, seed=D_OUTPUT_SEED).to(output.dtype)
    return list(torch.autograd.grad(output, wanted, d_output)) if wanted else []


def compare(
    name: str | tuple[Callable, Callable], *inputs, tolerance: float = 1e-12, **options
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both operations on the inputs: the same output, and gradient of each input of floats.

    The operation is named, or a pair of functions. Returns the outputs: by hand, and torch's.
    """
    pair = (getattr(byhand, name), torchs(name)) if isinstance(name, str) else name
    outputs, found = [], []
    for operation in pair:
        own = [
            leaf(t) if isinstance(t, torch.Tensor) and t.is_floating_point() else t for t in inputs
        ]
        outputs.append(operation(*own, **options))
        found.append(gradients(outputs[-1], own) if outputs[-1].requires_grad else [])
    assert_same(*outputs, tolerance)
    assert len(found[0]) == len(found[1])
    for ours, theirs in zip(*found, strict=True):
        assert_same(ours, theirs, tolerance)
    return outputs[0], outputs[1]


def assert_same(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 1e-12) -> None:
    """max|ours − theirs| / max|theirs| ≤ tolerance; NaN and ∞ in the same places."""
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    finite = theirs.isfinite()
    if not finite.all():
        torch.testing.assert_close(ours[~finite], theirs[~finite], rtol=0, atol=0, equal_nan=True)
    a, b = ours[finite].double(), theirs[finite].double()
    if b.numel():
        largest = b.abs().max().item() or 1
        assert (a - b).abs().max().item() <= tolerance * largest
