"""Activation functions: y = f(x) for each number by itself, so ∂L/∂x = ∂L/∂y f′(x).

Each is a twin of the function of that name in ``torch.nn.functional``.
"""

import math

import torch
from torch.autograd import Function

from lecture4.byhand.functional._precision import accumulating
from lecture4.byhand.functional._refuse import refuse


def relu(input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    """f(x) = max(0, x).

    Raises:
        ValueError: ``inplace`` is true, which is not supported.

    Source: the lecture, "Activation Functions"; Nair & Hinton 2010.
    """
    refuse("relu", inplace=inplace or None)
    return _ReLU.apply(input)


class _ReLU(Function):
    """f′(x) = 1 where x > 0, else 0; at 0, where there is a kink, torch's choice is 0.

    So f′(x) is the sign of y = f(x).
    """

    @staticmethod
    def forward(ctx, x):
        y = x.clamp(min=0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return dy * y.sign()  # 1 or 0, for y ≥ 0


def leaky_relu(
    input: torch.Tensor, negative_slope: float = 0.01, inplace: bool = False
) -> torch.Tensor:
    """f(x) = x where x > 0, else α x, with α = ``negative_slope``.

    Raises:
        ValueError: ``inplace`` is true, which is not supported.

    Source: Maas, Hannun & Ng 2013, eq. 3.
    """
    refuse("leaky_relu", inplace=inplace or None)
    return _LeakyReLU.apply(input, negative_slope)


class _LeakyReLU(Function):
    """f′(x) = 1 where x > 0, else α."""

    @staticmethod
    def forward(ctx, x, alpha):
        ctx.save_for_backward(x)
        ctx.alpha = alpha
        return torch.where(x > 0, x, alpha * x)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, dy, ctx.alpha * dy), None


def sigmoid(input: torch.Tensor) -> torch.Tensor:
    """σ(x) = 1 / (1 + e⁻ˣ).

    Source: the lecture, "Activation Functions".
    """
    return _Sigmoid.apply(input)


class _Sigmoid(Function):
    """σ′(x) = e⁻ˣ / (1 + e⁻ˣ)² = σ(x) (1 − σ(x)).

    Where e⁻ˣ overflows, σ(x) is less than the smallest normal number, and 1/(1 + ∞) = 0 is used.
    """

    @staticmethod
    def forward(ctx, x):
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        y = (1 / (1 + (-accumulating(x)).exp())).to(x.dtype)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return dy * y * (1 - y)


def tanh(input: torch.Tensor) -> torch.Tensor:
    """tanh(x) = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ) = 2σ(2x) − 1.

    Source: the lecture, "Activation Functions"; LeCun et al. 1998, "Efficient BackProp", 4.4.
    """
    return _Tanh.apply(input)


class _Tanh(Function):
    """tanh′(x) = 1 − tanh²(x), by the quotient rule: (eˣ + e⁻ˣ)² − (eˣ − e⁻ˣ)² over (eˣ + e⁻ˣ)²."""

    @staticmethod
    def forward(ctx, x):
        y = x.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return dy * (1 - y * y)


def gelu(input: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    """f(x) = x Φ(x), Φ(x) = erfc(−x/√2) / 2: x, weighted by P(Z ≤ x) of a normal Z.

    Raises:
        ValueError: ``approximate`` is not "none", which is not supported.

    Source: Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2.
    """
    refuse("gelu", approximate=approximate if approximate != "none" else None)
    return _GELU.apply(input)


class _GELU(Function):
    """f′(x) = Φ(x) + x φ(x), φ(x) = Φ′(x) = e^(−x²/2) / √(2π)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        wide = accumulating(x)
        return (wide * (torch.erfc(-wide / math.sqrt(2)) / 2)).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x = accumulating(ctx.saved_tensors[0])
        cumulative = torch.erfc(-x / math.sqrt(2)) / 2
        density = (-x * x / 2).exp() / math.sqrt(2 * math.pi)
        return dy * (cumulative + x * density)
