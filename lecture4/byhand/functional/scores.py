"""Softmax turns scores into probabilities: P(Y = k) = exp(s_k) / Σⱼ exp(s_j).

Source: the lecture, "Softmax Classifier".
"""

import torch
from torch.autograd import Function

from lecture4.byhand.functional._torch_options import at_least_float32, implicit_dim, softmax_input


class _Softmax(Function):
    """pᵢ = exp(sᵢ) / Σⱼ exp(sⱼ).

    ∂pᵢ/∂sⱼ = pᵢ (1[i = j] − pⱼ), so ∂L/∂s = p ⊙ (∂L/∂p − Σᵢ ∂L/∂pᵢ pᵢ).
    """

    @staticmethod
    def forward(ctx, s, dim):
        e = _shifted(s, dim).exp()
        p = e / e.sum(dim, keepdim=True)
        ctx.save_for_backward(p)
        ctx.dim = dim
        return p

    @staticmethod
    def backward(ctx, dp):
        (p,) = ctx.saved_tensors
        return p * (dp - (dp * p).sum(ctx.dim, keepdim=True)), None


def softmax(
    input: torch.Tensor, dim: int | None = None, *, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """P(Y = k) = exp(s_k) / Σⱼ exp(s_j) along ``dim``. Twin of ``torch.nn.functional.softmax``.

    Args:
        input: scores s, any shape.
        dim: the dimension of the classes; leaving it out is deprecated in torch, and here.
        dtype: to compute in and return; None keeps the dtype of ``input``.

    Raises:
        ValueError: ``dtype`` is not of floats, or it is None and ``input`` is not of floats.
    """
    s = softmax_input("softmax", input, dtype)
    dim = implicit_dim("softmax", input) if dim is None else dim
    return _Softmax.apply(at_least_float32(s), dim).to(s.dtype)


class _LogSoftmax(Function):
    """log pᵢ = sᵢ − log Σⱼ exp(sⱼ).

    ∂log pᵢ/∂sⱼ = 1[i = j] − pⱼ, so ∂L/∂s = ∂L/∂log p − p Σᵢ ∂L/∂log pᵢ.
    """

    @staticmethod
    def forward(ctx, s, dim):
        log_p = log_probabilities(s, dim)
        ctx.save_for_backward(log_p)
        ctx.dim = dim
        return log_p

    @staticmethod
    def backward(ctx, dlog_p):
        (log_p,) = ctx.saved_tensors
        return dlog_p - log_p.exp() * dlog_p.sum(ctx.dim, keepdim=True), None


def log_softmax(
    input: torch.Tensor, dim: int | None = None, *, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """log P(Y = k) = s_k − log Σⱼ exp(s_j), finite also where P rounds to zero.

    Twin of ``torch.nn.functional.log_softmax``; arguments and errors as for ``softmax``.
    """
    s = softmax_input("log_softmax", input, dtype)
    dim = implicit_dim("log_softmax", input) if dim is None else dim
    return _LogSoftmax.apply(at_least_float32(s), dim).to(s.dtype)


def log_probabilities(s: torch.Tensor, dim: int) -> torch.Tensor:
    """log P = s − log Σⱼ exp(sⱼ), computed from shifted scores."""
    s = _shifted(s, dim)
    return s - s.exp().sum(dim, keepdim=True).log()


def _shifted(s: torch.Tensor, dim: int) -> torch.Tensor:
    """s − max s: a constant cancels in softmax, and no exponential overflows."""
    return s - s.amax(dim, keepdim=True) if s.numel() else s
