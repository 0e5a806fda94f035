"""Regularization: the penalty λ R(W) on large weights, and dropout.

    L(W) = (1/N) Σᵢ Lᵢ + λ R(W)

L2 pulls each weight towards zero in proportion to its size; L1 pulls all by the same amount, which
drives small ones to zero. Dropout leaves units out at random, so that none relies on another.

Source: the lecture, "SGD", ∇L(W) = (1/N) Σᵢ ∇Lᵢ + λ ∇R(W).
"""

from collections.abc import Sequence
from functools import reduce

import torch
from torch.autograd import Function

from lecture4.byhand.functional._torch_options import (
    at_least_float32,
    check_tensor,
    supports_only,
)


class _L2Penalty(Function):
    """R(W) = Σ w².   ∂R/∂w = 2w."""

    @staticmethod
    def forward(ctx, *weights):
        ctx.save_for_backward(*weights)
        return sum(w.square().sum() for w in weights)

    @staticmethod
    def backward(ctx, dr):
        return tuple(dr * 2 * w for w in ctx.saved_tensors)


def l2_penalty(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """R(W) = Σ w² over all numbers of the weights, tensors of any shape: a scalar.

    Raises:
        ValueError: a weight is not of floats.
    """
    return _penalty("l2_penalty", _L2Penalty, weights)


class _L1Penalty(Function):
    """R(W) = Σ |w|.   ∂R/∂w = sign w; torch chooses 0 at the kink, w = 0."""

    @staticmethod
    def forward(ctx, *weights):
        ctx.save_for_backward(*weights)
        return sum(w.abs().sum() for w in weights)

    @staticmethod
    def backward(ctx, dr):
        return tuple(dr * w.sign() for w in ctx.saved_tensors)


def l1_penalty(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """R(W) = Σ |w| over all numbers of the weights, tensors of any shape: a scalar.

    Raises:
        ValueError: a weight is not of floats.
    """
    return _penalty("l1_penalty", _L1Penalty, weights)


def _penalty(operation: str, penalty: type[Function], weights: Sequence[torch.Tensor]):
    """R(W), summed in float32 at least; 0 of no weights."""
    weights = list(weights)
    if not weights:
        return torch.zeros(())
    for w in weights:
        check_tensor(operation, "weights", w)
    dtype = reduce(torch.promote_types, (w.dtype for w in weights))
    return penalty.apply(*(at_least_float32(w) for w in weights)).to(dtype)


class _Dropout(Function):
    """y = m ⊙ x.   ∂L/∂x = m ⊙ ∂L/∂y."""

    @staticmethod
    def forward(ctx, x, mask):
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx, dy):
        (mask,) = ctx.saved_tensors
        return dy * mask, None


@supports_only(inplace=False)
def dropout(
    input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor:
    """y = m ⊙ x, m ~ Bernoulli(1 − p) / (1 − p) for each number; x itself in evaluation.

    Twin of ``torch.nn.functional.dropout``; on the CPU it draws the same mask from torch's
    generator. E[y] = x, so evaluation needs no other scale.

    Raises:
        ValueError: p does not lie between 0 and 1, numbers to draw for are not floats, or
            ``inplace`` is true, which is not supported.

    Source: Srivastava et al. 2014, section 10, where p is the probability of keeping a unit.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p={p} must be a probability, from 0 to 1")
    if not training or p == 0:
        return input
    check_tensor("dropout", "input", input)
    if p == 1:
        return _Dropout.apply(input, torch.zeros_like(input))
    return _Dropout.apply(input, torch.empty_like(input).bernoulli_(1 - p) / (1 - p))
