"""Activation functions: y = f(x) for each number by itself, so ∂L/∂x = ∂L/∂y f′(x).

Each is a twin of the function of the same name in ``torch.nn.functional``.

Source: the lecture, "Activation Functions".
"""

import math

import torch
from torch.autograd import Function

from lecture4.byhand.functional._torch_options import (
    FLOATS,
    INTEGERS,
    REALS,
    at_least_float32,
    masked,
    supports_only,
    takes,
)


class _ReLU(Function):
    """f(x) = max(0, x).   f′(x) = 1 where x > 0, else 0; torch chooses 0 at the kink, x = 0.

    Saves y, which the next layer keeps anyway, and not x: y > 0 where x > 0. torch lets ∂L/∂y pass
    where x is NaN; the mask ⌈min(y, 1)⌉ of 0 and 1 is NaN there.
    """

    @staticmethod
    def forward(ctx, x):
        y = x.clamp(min=0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return masked(y.clamp(max=1).ceil(), dy)


@takes(input=FLOATS + INTEGERS)
@supports_only(inplace=False)
def relu(input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    """f(x) = max(0, x).

    Raises:
        ValueError: ``inplace`` is true, which is not supported.

    Source: Nair & Hinton 2010.
    """
    return _ReLU.apply(input)


class _LeakyReLU(Function):
    """f(x) = x where x > 0, else α x.   f′(x) = 1 where x > 0, else α."""

    @staticmethod
    def forward(ctx, x, alpha):
        ctx.save_for_backward(x)
        ctx.alpha = alpha
        return torch.where(x > 0, x, alpha * x)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, dy, ctx.alpha * dy), None


@takes(input=FLOATS)
@supports_only(inplace=False)
def leaky_relu(
    input: torch.Tensor, negative_slope: float = 0.01, inplace: bool = False
) -> torch.Tensor:
    """f(x) = x where x > 0, else α x, with α = ``negative_slope``.

    Raises:
        ValueError: ``inplace`` is true, which is not supported.

    Source: Maas, Hannun & Ng 2013, eq. 3.
    """
    return _LeakyReLU.apply(input, negative_slope)


class _Sigmoid(Function):
    """σ(x) = 1 / (1 + e⁻ˣ).   σ′(x) = e⁻ˣ / (1 + e⁻ˣ)² = σ(x) (1 − σ(x)).

    Where e⁻ˣ overflows, σ(x) is below the smallest normal number; 1/(1 + ∞) gives 0.
    """

    @staticmethod
    def forward(ctx, x):
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        y = (1 / (1 + (-at_least_float32(x)).exp())).to(x.dtype)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return dy * y * (1 - y)


@takes(input=REALS)
def sigmoid(input: torch.Tensor) -> torch.Tensor:
    """σ(x) = 1 / (1 + e⁻ˣ)."""
    return _Sigmoid.apply(input)


class _Tanh(Function):
    """tanh(x) = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ).   tanh′(x) = 1 − tanh²(x), by the quotient rule:

    ((eˣ + e⁻ˣ)² − (eˣ − e⁻ˣ)²) / (eˣ + e⁻ˣ)² = 1 − tanh²(x).
    """

    @staticmethod
    def forward(ctx, x):
        y = x.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return dy * (1 - y * y)


@takes(input=REALS)
def tanh(input: torch.Tensor) -> torch.Tensor:
    """tanh(x) = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ) = 2σ(2x) − 1.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.4.
    """
    return _Tanh.apply(input)


class _GELU(Function):
    """f(x) = x Φ(x),   Φ(x) = erfc(−x/√2) / 2.

    f′(x) = Φ(x) + x φ(x),   φ(x) = Φ′(x) = e^(−x²/2) / √(2π).
    """

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        wide = at_least_float32(x)
        return (wide * (torch.erfc(-wide / math.sqrt(2)) / 2)).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x = at_least_float32(ctx.saved_tensors[0])
        cumulative = torch.erfc(-x / math.sqrt(2)) / 2
        density = (-x * x / 2).exp() / math.sqrt(2 * math.pi)
        return dy * (cumulative + x * density)


@takes(input=FLOATS)
@supports_only(approximate="none")
def gelu(input: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    """f(x) = x Φ(x): x, weighted by the probability P(Z ≤ x) of a normal Z.

    Raises:
        ValueError: ``approximate`` is not "none", which is not supported.

    Source: Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2.
    """
    return _GELU.apply(input)


class _SiLU(Function):
    """f(x) = x σ(x).   f′(x) = σ(x) + x σ(x) (1 − σ(x)), by the product rule."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x / (1 + (-at_least_float32(x)).exp())).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x = at_least_float32(ctx.saved_tensors[0])
        y = 1 / (1 + (-x).exp())  # σ(x)
        return dy * (y + x * y * (1 - y))


@takes(input=FLOATS)
@supports_only(inplace=False)
def silu(input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    """f(x) = x σ(x): x, weighted by the sigmoid of itself.

    Raises:
        ValueError: ``inplace`` is true, which is not supported.

    Source: Elfwing, Uchibe & Doya 2017, arXiv:1702.03118, eq. 7.
    """
    return _SiLU.apply(input)
