"""The fully connected layer, s = x Wᵀ + b, and the stretching of images into its inputs."""

import math

import torch
from torch.autograd import Function

from lecture4.byhand.functional._torch_options import FLOATS, INTEGERS, takes, to_autocast


class _Linear(Function):
    """s = x Wᵀ + b.   ∂L/∂x = ∂L/∂s W,   ∂L/∂W = (∂L/∂s)ᵀ x,   ∂L/∂b = Σₙ ∂L/∂sₙ.

    From s_nk = Σ_d x_nd w_kd + b_k:   ∂L/∂x_nd = Σ_k ∂L/∂s_nk w_kd,   ∂L/∂w_kd = Σ_n ∂L/∂s_nk x_nd.
    """

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        s = x @ weight.T  # (..., D) -> (..., K)
        return s if bias is None else s + bias

    @staticmethod
    def backward(ctx, ds):
        x, weight = ctx.saved_tensors
        dx = ds @ weight if ctx.needs_input_grad[0] else None
        ds, x = _rows(ds), _rows(x)  # (N, K), (N, D)
        dweight = ds.T @ x if ctx.needs_input_grad[1] else None
        dbias = ds.sum(0) if ctx.needs_input_grad[2] else None
        return dx, dweight, dbias


@takes(input=FLOATS + INTEGERS, weight=FLOATS + INTEGERS, bias=FLOATS + INTEGERS)
def linear(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Scores s = x Wᵀ + b of x (..., D): (..., K). Twin of ``torch.nn.functional.linear``.

    Args:
        input: x (..., D), any leading shape.
        weight: W (K, D), a row for each score; or one row (D,), for s of shape (...).
        bias: b (K,), or None.

    Raises:
        ValueError: shapes or dtypes do not fit each other.

    Source: the lecture, "Softmax Classifier", s = f(x; W).
    """
    _check_shapes(input, weight, bias)
    if weight.ndim == 1:
        return linear(input, weight.unsqueeze(0)).squeeze(-1)
    return _Linear.apply(*to_autocast("linear", input, weight, bias))


def _check_shapes(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    kind = weight.ndim == 2 or (weight.ndim == 1 and bias is None)
    same_d = input.ndim >= 1 and input.shape[-1:] == weight.shape[-1:]
    same_k = bias is None or bias.shape == weight.shape[:1]
    if not (kind and same_d and same_k):
        raise ValueError(
            f"linear takes input (..., D), weight (K, D) and bias (K,) or None, not input "
            f"{tuple(input.shape)}, weight {tuple(weight.shape)} and bias "
            f"{None if bias is None else tuple(bias.shape)}"
        )


def _rows(x: torch.Tensor) -> torch.Tensor:
    """(..., D) -> (N, D)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


class _Flatten(Function):
    """y = the numbers of x in another shape, so ∂L/∂x = the numbers of ∂L/∂y in the shape of x."""

    @staticmethod
    def forward(ctx, x, shape):
        ctx.shape = x.shape
        return x.reshape(shape)

    @staticmethod
    def backward(ctx, dy):
        return dy.reshape(ctx.shape), None


def flatten(input: torch.Tensor, start_dim: int = 0, end_dim: int = -1) -> torch.Tensor:
    """Stretch dimensions ``start_dim`` to ``end_dim`` into one: 32×32×3 -> 3072.

    Twin of ``torch.flatten``; a number becomes a vector of one.

    Raises:
        ValueError: the tensor has no such dimensions, or they are in the wrong order.

    Source: the lecture, "Fully connected layer".
    """
    shape = tuple(input.shape) or (1,)
    if not all(-len(shape) <= dim < len(shape) for dim in (start_dim, end_dim)):
        raise ValueError(
            f"flatten from dimension {start_dim} to {end_dim}: a tensor of shape "
            f"{tuple(input.shape)} has dimensions {-len(shape)} to {len(shape) - 1}"
        )
    first, last = start_dim % len(shape), end_dim % len(shape)
    if first > last:
        raise ValueError(
            f"flatten from dimension {start_dim} to {end_dim} of shape {tuple(input.shape)}: "
            f"start_dim must not come after end_dim"
        )
    stretched = math.prod(shape[first : last + 1])
    return _Flatten.apply(input, (*shape[:first], stretched, *shape[last + 1 :]))
