"""Interfaces of well-known assignments, called with the arguments of ``lecture4.byhand``.

They differ from torch's in some conventions:

    w (D, M)                    torch: weight (M, D)
    momentum of batch norm      running ← m · running + (1 − m) · batch; torch: m is the batch's
    running variance            of the biased variance; torch: of the unbiased one
    p of dropout                the probability of keeping a unit; torch: of dropping it

A function takes arrays or tensors by the names of the reference's arguments and returns the output
and a function from ∂L/∂out to the gradients by name.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from lecture4.training.formulas.halves import Arrays, Back, two


class Functions(dict[str, Callable]):
    """The functions of a file by name.

    Raises:
        NotImplementedError: if one is missing that is to be called.
    """

    def __missing__(self, name: str) -> Callable:
        raise NotImplementedError(f"{name} is not defined")


def affine(f: Functions, given: Arrays) -> tuple[Any, Back]:
    """s = x Wᵀ + b by ``affine_forward(x, w, b)``, w = Wᵀ."""
    x, weight, bias = given["input"], given["weight"], given["bias"]
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    bias = _constant(0, weight) if bias is None else bias
    out, cache = two("affine_forward", f["affine_forward"](rows, weight.T, bias))

    def back(dout: Any) -> Arrays:
        dout = dout.reshape(len(rows), -1)
        dx, dw, db = f["affine_backward"](dout, cache)
        return {"input": dx.reshape(x.shape), "weight": dw.T, "bias": db}

    return (out if x.ndim == 2 else out.reshape(*x.shape[:-1], -1)), back


def softmax_loss(f: Functions, given: Arrays) -> tuple[Any, Back]:
    """The mean cross-entropy by ``softmax_loss(x, y) -> (loss, dx)``."""
    _only("softmax_loss", given, weight=None, reduction="mean", label_smoothing=0.0)
    loss, dx = two("softmax_loss", f["softmax_loss"](given["input"], given["target"]))
    return loss, lambda dout: {"input": dout * dx}


def convolution(f: Functions, given: Arrays) -> tuple[Any, Back]:
    """``conv_forward_naive(x, w, b, conv_param)`` with ``stride`` and ``pad``."""
    name, weight, bias = "conv_forward_naive", given["weight"], given["bias"]
    _only(name, given, dilation=1, groups=1)
    bias = _constant(0, weight) if bias is None else bias
    padding = 0 if given["padding"] == "valid" else _one(name, "padding", given["padding"])
    settings = {"stride": _one(name, "stride", given["stride"]), "pad": padding}
    out, cache = two(name, f[name](given["input"], weight, bias, settings))

    def back(dout: Any) -> Arrays:
        return dict(
            zip(("input", "weight", "bias"), f["conv_backward_naive"](dout, cache), strict=True)
        )

    return out, back


def pooling(f: Functions, given: Arrays) -> tuple[Any, Back]:
    """``max_pool_forward_naive(x, pool_param)``: ``pool_height``, ``pool_width``, ``stride``."""
    name, size = "max_pool_forward_naive", given["kernel_size"]
    _only(name, given, padding=0, dilation=1, ceil_mode=False, return_indices=False)
    height, width = (size, size) if isinstance(size, int) else size
    stride = _one(name, "stride", size if given["stride"] is None else given["stride"])
    settings = {"pool_height": height, "pool_width": width, "stride": stride}
    out, cache = two(name, f[name](given["input"], settings))
    return out, lambda dout: {"input": f["max_pool_backward_naive"](dout, cache)}


def dropout(f: Functions, given: Arrays) -> tuple[Any, Back]:
    """``dropout_forward(x, dropout_param)`` with ``p``, of keeping, and ``mode``."""
    settings = {"p": 1 - given["p"], "mode": _mode(given)}
    out, cache = two("dropout_forward", f["dropout_forward"](given["input"], settings))
    return out, lambda dout: {"input": f["dropout_backward"](dout, cache)}


def batch_norm(f: Functions, given: Arrays) -> tuple[Any, Back]:
    """``batchnorm_forward(x, gamma, beta, bn_param)``, of maps ``spatial_batchnorm_forward``.

    ``bn_param`` has ``mode``, ``eps``, ``momentum``, ``running_mean`` and ``running_var``. If one
    of the two functions is missing, the other one takes the numbers of each channel as a column,
    or each number as a map.
    """
    x, momentum = given["input"], given["momentum"]
    spatial = x.ndim > 2 if _has_both(f) else "spatial_batchnorm_forward" in f
    prefix = "spatial_batchnorm" if spatial else "batchnorm"
    there, again = _as_maps(x) if spatial else _as_columns(x)
    gamma = _constant(1, x, 1) if given["weight"] is None else given["weight"]
    beta = _constant(0, x, 1) if given["bias"] is None else given["bias"]
    settings = {"mode": _mode(given), "eps": given["eps"], "momentum": 1 - momentum}
    running = {k: v for k in ("running_mean", "running_var") if (v := given[k]) is not None}
    n = math.prod(x.shape) / x.shape[1]
    # the file's variance is biased: scaled there and back, its share of the batch is not
    unit = {"running_var": (n - 1) / n} if given["training"] else {}
    settings |= {k: v * unit.get(k, 1) for k, v in running.items()}
    out, cache = two(f"{prefix}_forward", f[f"{prefix}_forward"](there(x), gamma, beta, settings))
    if given["training"]:
        for name, before in running.items():
            before[:] = settings[name] * (1 / unit.get(name, 1))

    def back(dout: Any) -> Arrays:
        if not given["training"]:
            return _fixed_statistics(given, gamma, dout)
        dx, dgamma, dbeta = f[f"{prefix}_backward"](there(dout), cache)
        return {"input": again(dx), "weight": dgamma, "bias": dbeta}

    return again(out), back


def _fixed_statistics(given: Arrays, gamma: Any, dout: Any) -> Arrays:
    """The gradients in evaluation, for which the interface has no backward.

    ∂L/∂x = γ ∂L/∂y / √(σ² + ε),   ∂L/∂γ = Σₙ ∂L/∂yₙ x̂ₙ,   ∂L/∂β = Σₙ ∂L/∂yₙ.
    """
    x = given["input"]
    axes, wide = (0, *range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
    scale = (given["running_var"] + given["eps"]) ** -0.5
    x_hat = (x - given["running_mean"].reshape(wide)) * scale.reshape(wide)
    dx = dout * (gamma * scale).reshape(wide)
    return {"input": dx, "weight": (dout * x_hat).sum(axes), "bias": dout.sum(axes)}


def _has_both(f: Functions) -> bool:
    return {"batchnorm_forward", "spatial_batchnorm_forward"} <= f.keys()


def _as_columns(x: Any) -> tuple[Callable, Callable]:
    """(N, C, ...) -> (N', C), and back."""
    if x.ndim == 2:
        return (lambda a: a), (lambda a: a)
    move = np.moveaxis if isinstance(x, np.ndarray) else torch.movedim
    apart = len(x), *x.shape[2:], x.shape[1]
    return (
        lambda a: move(a, 1, -1).reshape(-1, x.shape[1]),
        lambda a: move(a.reshape(apart), -1, 1),
    )


def _as_maps(x: Any) -> tuple[Callable, Callable]:
    """(N, C, ...) -> (N, C, H, W), and back."""
    shape = x.shape if x.ndim == 4 else (*x.shape[:2], *x.shape[2:3], 1, 1)[:4]
    return (lambda a: a.reshape(shape)), (lambda a: a.reshape(x.shape))


def _mode(given: Arrays) -> str:
    return "train" if given["training"] else "test"


def _constant(value: float, like: Any, axis: int = 0) -> Any:
    """As many numbers as ``like`` has along an axis."""
    n = like.shape[axis]
    return (
        np.full(n, value, like.dtype)
        if isinstance(like, np.ndarray)
        else like.new_full((n,), value)
    )


def _only(name: str, given: Arrays, **supported: Any) -> None:
    for key, value in supported.items():
        other = given[key]
        if not isinstance(other, type(value) | tuple) or other not in (value, (value, value)):
            raise ValueError(f"{name} takes no {key}, which is {other!r} here")


def _one(name: str, key: str, size: Any) -> int:
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) > 1 or isinstance(size, str):
        raise ValueError(f"{name} takes one {key} for height and width, not {size!r}")
    return sides.pop()


class Course(NamedTuple):
    """How a function of ``lecture4.byhand.functional`` is called in course style."""

    run: Callable[[Functions, Arrays], tuple[Any, Back]]
    names: tuple[str, ...]  # of functions in the file
    arguments: tuple[str, ...]  # of the reference; others must have their default values


COURSE = {
    "linear": Course(affine, ("affine_forward", "affine_backward"), ("input", "weight", "bias")),
    "cross_entropy": Course(softmax_loss, ("softmax_loss",), ("input", "target")),
    "conv2d": Course(
        convolution,
        ("conv_forward_naive", "conv_backward_naive"),
        ("input", "weight", "bias", "stride", "padding"),
    ),
    "max_pool2d": Course(
        pooling,
        ("max_pool_forward_naive", "max_pool_backward_naive"),
        ("input", "kernel_size", "stride"),
    ),
    "dropout": Course(dropout, ("dropout_forward", "dropout_backward"), ("input", "p", "training")),
    "batch_norm": Course(
        batch_norm,
        (
            *("batchnorm_forward", "batchnorm_backward"),
            *("spatial_batchnorm_forward", "spatial_batchnorm_backward"),
        ),
        (
            *("input", "running_mean", "running_var", "weight", "bias"),
            *("training", "momentum", "eps"),
        ),
    ),
}
