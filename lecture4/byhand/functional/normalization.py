"""Batch normalisation: each channel gets mean 0 and variance 1 over the batch.

    x̂ = (x − μ) / √(σ² + ε),   y = γ x̂ + β

Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1.
"""

import math

import torch
from torch.autograd import Function

from lecture4.byhand.functional._torch_options import (
    FLOATS,
    at_least_float32,
    check_same_dtype,
    takes,
)


class _BatchNorm(Function):
    """x̂ = (x − μ) / √(σ² + ε),   y = γ x̂ + β.

    ∂L/∂γ = Σₙ ∂L/∂yₙ x̂ₙ,   ∂L/∂β = Σₙ ∂L/∂yₙ,   ∂L/∂x̂ = γ ∂L/∂y, and with fixed statistics
    ∂L/∂x = ∂L/∂x̂ / √(σ² + ε). In training x acts through μ and σ² as well:

        ∂L/∂μ  = −Σᵢ ∂L/∂x̂ᵢ / √(σ² + ε)            ∂μ/∂xₙ  = 1/N
        ∂L/∂σ² = −½ Σᵢ ∂L/∂x̂ᵢ x̂ᵢ / (σ² + ε)         ∂σ²/∂xₙ = 2 (xₙ − μ)/N = 2 x̂ₙ √(σ² + ε)/N

    and the three ways add up to

        ∂L/∂xₙ = (∂L/∂x̂ₙ − mean(∂L/∂x̂) − x̂ₙ mean(∂L/∂x̂ · x̂)) / √(σ² + ε)
    """

    @staticmethod
    def forward(ctx, x, weight, bias, mean, var, training, eps):
        ctx.save_for_backward(x, weight, mean, var)
        ctx.training, ctx.eps = training, eps
        y, _ = _normalized(x, mean, var, eps)
        y = y if weight is None else y * _per_channel(weight, x)
        y = y if bias is None else y + _per_channel(bias, x)
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x, weight, mean, var = ctx.saved_tensors
        if ctx.training and torch.is_grad_enabled():  # a second derivative passes through them
            mean, var = _moments(x)
        x_hat, scale = _normalized(x, mean, var, ctx.eps)
        dims = [d for d in range(x.ndim) if d != 1]
        dy = dy.to(x_hat.dtype)
        dweight, dbias = (dy * x_hat).sum(dims), dy.sum(dims)
        dx = dy
        if ctx.training:
            n = x.numel() / max(x.shape[1], 1)
            dx = dy - _per_channel(dbias / n, x) - x_hat * _per_channel(dweight / n, x)
        dx = dx * (scale if weight is None else scale * _per_channel(weight, x))
        dweight = dweight if ctx.needs_input_grad[1] else None
        dbias = dbias if ctx.needs_input_grad[2] else None
        return dx.to(x.dtype), dweight, dbias, None, None, None, None


@takes(input=FLOATS, running_mean=FLOATS, running_var=FLOATS, weight=FLOATS, bias=FLOATS)
def batch_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """y = γ (x − μ) / √(σ² + ε) + β per channel. Twin of ``torch.nn.functional.batch_norm``.

    Args:
        input: x (N, C) or (N, C, ...).
        running_mean: μ of evaluation, (C,); in training it moves towards the batch's, if not None.
        running_var: σ² of evaluation, (C,), likewise, by the batch's unbiased variance.
        weight: γ (C,), or None for 1.
        bias: β (C,), or None for 0.
        training: take μ and σ² from the batch.
        momentum: m; running = (1 − m) · running + m · batch.
        eps: ε.

    Statistics and parameters have the dtype of x, or float32 if x is float16 or bfloat16.

    Raises:
        ValueError: shapes or dtypes do not fit each other, there are no statistics to evaluate
            with, or training has a single number per channel, or eps is negative, or 0 in training.
    """
    statistics = {"running_mean": running_mean, "running_var": running_var}
    _check(input, training, eps, **statistics, weight=weight, bias=bias)
    mean, var = running_mean, running_var
    if training:
        mean, var = _moments(input.detach())
        n = math.prod(input.shape) // max(input.shape[1], 1)  # numbers in each channel
        if running_mean is not None and n:
            running_mean.mul_(1 - momentum).add_(momentum * mean)
        if running_var is not None and n:
            running_var.mul_(1 - momentum).add_(momentum * var * n / (n - 1))
    return _BatchNorm.apply(input, weight, bias, mean, var, training, eps)


def _moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and biased variance of each channel of x (N, C, ...), in float32 at least: two (C,)."""
    x = at_least_float32(x)
    dims = [d for d in range(x.ndim) if d != 1]
    mean = x.mean(dims)
    return mean, (x - _per_channel(mean, x)).square().mean(dims)


def _normalized(x, mean, var, eps):
    """x̂ (N, C, ...), and 1/√(σ² + ε) shaped to multiply it."""
    scale = _per_channel(1 / (var + eps).sqrt(), x)
    return (at_least_float32(x) - _per_channel(mean, x)) * scale, scale


def _per_channel(v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """v (C,), shaped to broadcast over x (N, C, ...)."""
    return v.view(-1, *[1] * (x.ndim - 2))


_STATISTICS = {"running_mean", "running_var"}


def _check(input: torch.Tensor, training: bool, eps: float, **per_channel: torch.Tensor | None):
    parameters = {name: given for name, given in per_channel.items() if given is not None}
    for name, given in per_channel.items():
        if given is not None and given.shape != input.shape[1:2]:
            raise ValueError(
                f"batch_norm of input {tuple(input.shape)} takes {name} of shape (C,), its second "
                f"dimension, not {tuple(given.shape)}"
            )
    if input.ndim < 2:
        raise ValueError(f"batch_norm takes input (N, C, ...), not {tuple(input.shape)}")
    if not eps >= 0 or (training and eps == 0):
        raise ValueError(f"eps={eps} must be a number > 0")
    if not all(given.dtype == at_least_float32(input[:0]).dtype for given in parameters.values()):
        check_same_dtype("batch_norm", input=input, **parameters)
    if any(parameters[name].requires_grad for name in parameters.keys() & _STATISTICS):
        raise ValueError("batch_norm has no gradient for running_mean and running_var; detach them")
    if training and input.numel() == input.shape[1] > 0:
        raise ValueError(
            f"batch_norm in training needs more than one number per channel to have a variance, "
            f"and input {tuple(input.shape)} has one"
        )
    if not training and not parameters.keys() >= _STATISTICS:
        raise ValueError("batch_norm in evaluation needs running_mean and running_var")
