"""Information theory: H(P, Q) = H(P) + D_KL(P ‖ Q).

P and Q are probabilities along the last dimension, which are not checked to sum to 1. Entropy,
cross-entropy and divergence are measured in nats, or in units of log ``base`` (2: bits). A term
with pₖ = 0 is zero for any qₖ, as lim p log p = 0.

Source: the lecture, "Cross Entropy"; Cover & Thomas 2006, chapter 2.
"""

import math

import torch
from torch.autograd import Function

from lecture4.byhand.functional._torch_options import FLOATS, at_least_float32, found


class _CrossEntropy(Function):
    """H(P, Q) = −Σ pₖ log qₖ.   ∂H/∂pₖ = −log qₖ,   ∂H/∂qₖ = −pₖ/qₖ (0 where pₖ = 0).

    For q = p the two add up to the gradient of the entropy, −log pₖ − 1.
    """

    @staticmethod
    def forward(ctx, p, q):
        ctx.save_for_backward(p, q)
        return -torch.where(p == 0, 0, p * q.log()).sum(-1)

    @staticmethod
    def backward(ctx, dh):
        p, q = ctx.saved_tensors
        dh = dh.unsqueeze(-1)
        return -dh * q.log(), -dh * torch.where(p == 0, 0, p / q)


def entropy(p: torch.Tensor, base: float = math.e) -> torch.Tensor:
    """H(P) = −Σₖ pₖ log pₖ of probabilities p (..., K): (...).

    Raises:
        ValueError: p is not of floats, has a negative number (on the CPU), or the base is not > 1.
    """
    _check("entropy", base, p=p)
    return _in_units_of(base, _CrossEntropy, p, p.view_as(p))  # torch.compile takes no p twice


def cross_entropy(p: torch.Tensor, q: torch.Tensor, base: float = math.e) -> torch.Tensor:
    """H(P, Q) = −Σₖ pₖ log qₖ of p and q (..., K): (...); ∞ where pₖ > 0 and qₖ = 0.

    Exported as ``functional.cross_entropy_of``: ``functional.cross_entropy`` is torch's, of scores.

    Raises:
        ValueError: as for ``entropy``, or p and q differ in K.
    """
    _check("cross_entropy", base, p=p, q=q)
    return _in_units_of(base, _CrossEntropy, p, q)


class _KLDivergence(Function):
    """D = Σ pₖ log(pₖ/qₖ).   ∂D/∂pₖ = log(pₖ/qₖ) + 1,   ∂D/∂qₖ = −pₖ/qₖ (0 where pₖ = 0).

    Computed as log pₖ − log qₖ, since pₖ/qₖ may overflow.
    """

    @staticmethod
    def forward(ctx, p, q):
        ctx.save_for_backward(p, q)
        return torch.where(p == 0, 0, p * (p.log() - q.log())).sum(-1)

    @staticmethod
    def backward(ctx, dd):
        p, q = ctx.saved_tensors
        dd = dd.unsqueeze(-1)
        return dd * (p.log() - q.log() + 1), -dd * torch.where(p == 0, 0, p / q)


def kl_divergence(p: torch.Tensor, q: torch.Tensor, base: float = math.e) -> torch.Tensor:
    """D_KL(P ‖ Q) = Σₖ pₖ log(pₖ/qₖ) of p and q (..., K): (...); 0 if P = Q, else positive.

    Raises:
        ValueError: as for ``cross_entropy``.
    """
    _check("kl_divergence", base, p=p, q=q)
    return _in_units_of(base, _KLDivergence, p, q)


def _in_units_of(base: float, measure: type[Function], p: torch.Tensor, q: torch.Tensor):
    """A measure of p and q, summed in float32 at least: nats / log base."""
    wide = torch.broadcast_tensors(at_least_float32(p), at_least_float32(q))
    return (measure.apply(*wide) / math.log(base)).to(torch.promote_types(p.dtype, q.dtype))


def _check(operation: str, base: float, **distributions: torch.Tensor) -> None:
    if not 1 < base < math.inf:
        raise ValueError(f"base={base} must be a number > 1, such as 2 for bits")
    for name, p in distributions.items():
        floats = p.ndim > 0 and p.dtype in FLOATS
        negative = floats and found(p < 0)
        if not floats or negative:
            raise ValueError(
                f"{operation}: {name} must hold probabilities along its last dimension, floats "
                f"≥ 0, not {p.dtype} of shape {tuple(p.shape)}"
                + (f" with {p.min():g}" if negative else "")
            )
    shapes = [tuple(p.shape) for p in distributions.values()]
    if len({shape[-1] for shape in shapes}) > 1:
        raise ValueError(f"p {shapes[0]} and q {shapes[1]} have different numbers of outcomes")
