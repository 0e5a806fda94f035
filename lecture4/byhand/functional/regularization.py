"""Dropout: units that are left out at random, so that none relies on another."""

import torch
from torch.autograd import Function

from lecture4.byhand.functional._refuse import refuse


def dropout(
    input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor:
    """y = m ⊙ x, m ~ Bernoulli(1 − p) / (1 − p) for each number; x itself in evaluation.

    Twin of ``torch.nn.functional.dropout``; on the CPU it draws the same mask from torch's
    generator. E[y] = x, so evaluation needs no other scale.

    Raises:
        ValueError: p is no probability, or ``inplace`` is true, which is not supported.

    Source: Srivastava et al. 2014, section 10, where p is the probability of keeping a unit.
    """
    refuse("dropout", inplace=inplace or None)
    if not 0 <= p <= 1:
        raise ValueError(f"p={p} must be a probability, from 0 to 1")
    if not training or p == 0:
        return input
    if p == 1:
        return _Dropout.apply(input, torch.zeros_like(input))
    return _Dropout.apply(input, torch.empty_like(input).bernoulli_(1 - p) / (1 - p))


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


def l1_penalty(weights):
    """R(W) = Σ |w|."""
    return sum(w.abs().sum() for w in weights)


def l2_penalty(weights):
    """R(W) = Σ w²."""
    return sum(w.square().sum() for w in weights)
