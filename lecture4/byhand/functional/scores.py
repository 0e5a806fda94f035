"""Scores to probabilities: softmax and log-softmax."""

import warnings

import torch
from torch.autograd import Function

from lecture4.byhand.functional._precision import widened


def softmax(
    input: torch.Tensor, dim: int | None = None, *, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """P(Y = k) = exp(s_k) / Σⱼ exp(s_j) along ``dim``. Twin of ``torch.nn.functional.softmax``.

    Args:
        input: scores s, any shape.
        dim: of the classes; leaving it out is deprecated in torch, and here.
        dtype: to compute in and return; None keeps that of ``input``.

    Source: the lecture, "Softmax Classifier".
    """
    dim = _implicit_dim("softmax", input) if dim is None else dim
    return _Softmax.apply(_scores(input, dtype), dim)


class _Softmax(Function):
    """∂pᵢ/∂sⱼ = pᵢ (1[i = j] − pⱼ), so ∂L/∂s = p ⊙ (∂L/∂p − Σᵢ ∂L/∂pᵢ pᵢ)."""

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


def log_softmax(
    input: torch.Tensor, dim: int | None = None, *, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """log P(Y = k) = s_k − log Σⱼ exp(s_j), where the log of a small softmax would be −∞.

    Twin of ``torch.nn.functional.log_softmax``; arguments as for ``softmax``.
    """
    dim = _implicit_dim("log_softmax", input) if dim is None else dim
    return _LogSoftmax.apply(_scores(input, dtype), dim)


class _LogSoftmax(Function):
    """∂log pᵢ/∂sⱼ = 1[i = j] − pⱼ, so ∂L/∂s = ∂L/∂log p − p Σᵢ ∂L/∂log pᵢ."""

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


def log_probabilities(s: torch.Tensor, dim: int) -> torch.Tensor:
    """log P = s − log Σⱼ exp(sⱼ), of scores shifted so that no exponential overflows."""
    s = _shifted(s, dim)
    return s - s.exp().sum(dim, keepdim=True).log()


def _shifted(s: torch.Tensor, dim: int) -> torch.Tensor:
    """Scores with maximum 0: a constant cancels in softmax, and so no exponential overflows."""
    return s - s.amax(dim, keepdim=True) if s.numel() else s


def _scores(input: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """The scores in the dtype to compute in; autocast computes a softmax on a GPU in float32."""
    if dtype is not None:
        return input.to(dtype)
    return input if input.device.type == "cpu" else widened(input)


def _implicit_dim(operation: str, input: torch.Tensor) -> int:
    dim = 0 if input.ndim in (0, 1, 3) else 1
    warnings.warn(f"{operation} without dim is deprecated; pass dim={dim}", stacklevel=3)
    return dim
