"""Pooling: a window slides over each activation map by itself and takes its maximum, or mean.

    x = 1 4    maximum:  y = 4,     ∂L/∂x = 0  ∂L/∂y    mean:  y = 2.5,  ∂L/∂x = ∂L/∂y/4  ∂L/∂y/4
        3 2                                 0      0                             ∂L/∂y/4  ∂L/∂y/4

Source: the lecture, "Pooling layer".
"""

import math
from collections.abc import Sequence

import torch
from torch.autograd import Function

from lecture4.byhand.functional._torch_options import (
    FLOATS,
    INTEGERS,
    at_least_float32,
    checks_values,
    supports_only,
    takes,
)
from lecture4.byhand.functional.windows import Size, Windows, is_whole, pair


class _MaxPool2d(Function):
    """y = max over the cells k of a window.   ∂L/∂x_k += ∂L/∂y for the first k with x_k = y.

    The backward visits one cell of every window at a time. A cell that equals y takes all that is
    left of ∂L/∂y, so a later cell with the same number gets nothing. In a 2×2 window with a tie:

        x = 1 4    y = 4    k      x_k = y    share    left of ∂L/∂y
            4 2             1 (1)  no         0        ∂L/∂y
                            2 (4)  yes        ∂L/∂y    0
                            3 (4)  yes        0        0
                            4 (2)  no         0        0

    Windows may overlap: a pixel sums its shares of all windows that it is part of. NaN is the
    maximum of its window, and in torch the last one of several takes ∂L/∂y.
    """

    @staticmethod
    def forward(ctx, x, windows):
        ctx.save_for_backward(x)
        ctx.windows = windows
        return _largest(x, windows)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        windows, y = ctx.windows, _largest(x, ctx.windows)
        dx = _shared_by_products(x, y, dy, windows) if checks_values(dy) else None
        if dx is None:
            dx, left = windows.zeros(dy), dy
            for pixels, takes in _maxima(x, y, windows):
                dx[pixels] += torch.where(takes, left, 0)
                left = torch.where(takes, 0, left)
        return windows.cropped(dx), None


@takes(input=FLOATS + INTEGERS)
@supports_only(return_indices=False)
def max_pool2d(
    input: torch.Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> torch.Tensor:
    """The largest number in each window. Twin of ``torch.nn.functional.max_pool2d``.

    Args:
        input: maps x (N, C, H, W), or (C, H, W).
        kernel_size: F, a number, or one for height and one for width; so are the next three.
        stride: S; None is F, windows side by side.
        padding: P cells of −∞ around the border, half of the window at most.
        dilation: D, pixels from one cell of the window to the next.
        ceil_mode: allow a last window that extends beyond the border, see ``output_size``.
        return_indices: false; true is not supported.

    Returns:
        Maps (N, C, H', W').

    Raises:
        ValueError: the input is not of maps, or a setting is out of range or not supported.
    """
    if input.ndim == 3:
        return max_pool2d(
            input.unsqueeze(0), kernel_size, stride, padding, dilation, ceil_mode
        ).squeeze(0)
    windows = _windows("max_pool2d", input, kernel_size, stride, padding, dilation, ceil_mode)
    return _MaxPool2d.apply(input, windows)


def _largest(x: torch.Tensor, windows: Windows) -> torch.Tensor:
    """The maximum of each window, (N, C, H', W'); NaN where there is one."""
    padded = windows.padded(x, -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min)
    y, *others = (padded[pixels] for _, _, pixels in windows.cells())
    y = y.clone()
    for x_k in others:
        y = torch.maximum(y, x_k)
    return y


def _maxima(x: torch.Tensor, y: torch.Tensor, windows: Windows) -> list[tuple[tuple, torch.Tensor]]:
    """Each cell of the windows, and where it is the maximum; then from the last where it is NaN."""
    cells = [pixels for _, _, pixels in windows.cells()]
    padded = windows.padded(x, math.nan)  # NaN equals nothing
    equal = [(pixels, padded[pixels] == y) for pixels in cells]
    padded = windows.padded(x)
    return equal + [(pixels, padded[pixels].isnan()) for pixels in reversed(cells)]


def _shared_by_products(
    x: torch.Tensor, y: torch.Tensor, dy: torch.Tensor, windows: Windows
) -> torch.Tensor | None:
    """∂L/∂x (padded), several times as fast as by ``torch.where``; None if anything is NaN or ∞."""
    padded, dx, left = windows.padded(x, math.nan), windows.zeros(dy), dy
    for _, _, pixels in windows.cells():
        share = padded[pixels].clone().eq_(y).mul_(left)
        dx[pixels] += share
        left = left - share
    return None if left.any() else dx  # NaN is no one's maximum, and ∞ − ∞ is NaN


class _AvgPool2d(Function):
    """y = Σₖ x_k / n over the cells k of a window.   ∂L/∂x_k += ∂L/∂y / n."""

    @staticmethod
    def forward(ctx, x, windows, n):
        ctx.windows, ctx.n = windows, n
        padded = windows.padded(at_least_float32(x))
        total = sum(padded[pixels] for _, _, pixels in windows.cells())
        rounding = None if x.is_floating_point() else "trunc"
        return torch.div(total, n, rounding_mode=rounding).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        dx, dy = ctx.windows.zeros(dy), dy / ctx.n
        for _, _, pixels in ctx.windows.cells():
            dx[pixels] += dy
        return ctx.windows.cropped(dx), None, None


@takes(input=(*FLOATS, torch.int64))
def avg_pool2d(
    input: torch.Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> torch.Tensor:
    """The mean of each window. Twin of ``torch.nn.functional.avg_pool2d``.

    Args:
        input: maps x (N, C, H, W), or (C, H, W).
        kernel_size: F, a number, or one for height and one for width; so are the next two.
        stride: S; None is F, windows side by side.
        padding: P zeros around the border, half of F at most.
        ceil_mode: allow a last window that extends beyond the border, see ``output_size``.
        count_include_pad: whether zeros of the padding count in the mean. Cells beyond the padding
            never do.
        divisor_override: divides each sum, in place of the count.

    Returns:
        Maps (N, C, H', W').

    Raises:
        ValueError: the input is not of maps of floats or int64 (whose means round towards 0), or a
            setting is out of range.
    """
    if input.ndim == 3:
        return avg_pool2d(
            input.unsqueeze(0), kernel_size, stride, padding, ceil_mode, count_include_pad,
            divisor_override,
        ).squeeze(0)  # fmt: skip
    windows = _windows("avg_pool2d", input, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None and not is_whole(divisor_override):
        raise ValueError(f"divisor_override must be a whole number, not {divisor_override!r}")
    if divisor_override == 0:
        raise ValueError("divisor_override=0 divides by zero; leave it out, or choose another")
    n = divisor_override or _cell_counts(windows, count_include_pad, at_least_float32(input[:0]))
    return _AvgPool2d.apply(input, windows, n)


def _cell_counts(windows: Windows, count_include_pad: bool, like: torch.Tensor) -> torch.Tensor:
    """How many cells of each window count, (H', W'), in the dtype and on the device of ``like``."""
    left, _, top, _ = windows.borders
    sides = []
    for n, f, s, p, size in zip(
        windows.map_size, windows.kernel_size, windows.stride, (top, left), windows.size,
        strict=True,
    ):  # fmt: skip
        first = (
            s * torch.arange(size, device=like.device) - p
        )  # the pixel under each window's first cell
        low, high = (-p, n + p) if count_include_pad else (0, n)
        sides.append((first + f).clamp(max=high) - first.clamp(min=low))
    return (sides[0][:, None] * sides[1]).to(like.dtype)


def _windows(operation, input, kernel_size, stride, padding, dilation, ceil_mode) -> Windows:
    if input.ndim != 4 or input.shape[1] == 0:
        raise ValueError(
            f"{operation} takes maps (N, C, H, W) or (C, H, W) with C ≥ 1, not {tuple(input.shape)}"
        )
    if isinstance(stride, Sequence) and not stride:  # torch's own way to leave it out
        stride = None
    for f, p, d in zip(
        pair(kernel_size, "kernel_size"),
        pair(padding, "padding"),
        pair(dilation, "dilation"),
        strict=True,
    ):
        if 2 * p > d * (f - 1) + 1:
            raise ValueError(
                f"padding={padding} is more than half of kernel_size={kernel_size}, so that a "
                f"window could see padding alone; use padding ≤ {(d * (f - 1) + 1) // 2}"
            )
    return Windows.over(input.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
