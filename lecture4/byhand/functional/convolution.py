"""Convolution: filters slide over images, computing dot products wᵀx + b.

im2col makes it a fully connected layer that every patch of the images goes through:

    X = im2col(x), a row for each patch,   Z = X Wᵀ + b

Source: the lecture, "Convolution layer"; im2col: Chellapilla, Puri & Simard 2006.
"""

from collections.abc import Iterator
from math import prod

import torch
from torch.autograd import Function

from lecture4.byhand.functional._torch_options import (
    FLOATS,
    INTEGERS,
    at_least_float32,
    supports_only,
    takes,
    to_autocast,
)
from lecture4.byhand.functional.windows import Size, Windows, memory_format


class _Conv2d(Function):
    """z_noij = b_o + Σ_cae w_ocae x_nc,Si+Da,Sj+De, with x padded and F_h·F_w cells (a, e).

    Of X there are N·H'·W' rows of F_h·F_w·C numbers, one for each patch; of W one for each filter.

        Z = X Wᵀ + b,   ∂L/∂X = ∂L/∂Z W,   ∂L/∂W = (∂L/∂Z)ᵀ X,   ∂L/∂b = Σ rows of ∂L/∂Z

    A pixel is part of several patches, so ∂L/∂x sums the rows of ∂L/∂X over them: col2im.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, windows):
        ctx.save_for_backward(x, weight)
        ctx.windows = windows
        z, filters = _empty_maps(x, len(weight), windows), _filters(weight)
        for x_part, z_part in _parts(x, z, windows):
            products = _patches(x_part, windows) @ filters.T  # X Wᵀ, (N·H'·W', O)
            products = products if bias is None else products + bias
            z_part.copy_(products.view_as(z_part))
        return z  # (N, O, H', W')

    @staticmethod
    def backward(ctx, dz):
        x, weight = ctx.saved_tensors
        windows, filters = ctx.windows, _filters(weight)
        dx = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            dx = torch.cat(
                [
                    _col2im(_rows(dz_part) @ filters, x_part, windows)
                    for x_part, dz_part in _parts(x, dz, windows)
                ]
            )
        if ctx.needs_input_grad[1]:
            dfilters = torch.zeros_like(at_least_float32(filters))  # (O, F_h·F_w·C)
            for x_part, dz_part in _parts(x, dz, windows):
                dfilters = dfilters + _rows(dz_part).T @ _patches(x_part, windows)
            dweight = dfilters.unflatten(1, (*windows.kernel_size, x.shape[1])).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[2]:
            dbias = dz.sum((0, 2, 3))
        return dx, dweight, dbias, None


@takes(input=FLOATS + INTEGERS, weight=FLOATS + INTEGERS, bias=FLOATS + INTEGERS)
@supports_only(groups=1)
def conv2d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Each filter's dot product wᵀx + b with every patch of the image: an activation map.

    Twin of ``torch.nn.functional.conv2d``. A filter extends to the full depth of the input; O
    filters make O maps. They are not flipped, so strictly speaking this is a cross-correlation.

    Args:
        input: images x (N, C, H, W), or one (C, H, W).
        weight: filters w (O, C, F_h, F_w).
        bias: b (O,), or None.
        stride: S, pixels from one position of the filter to the next; a number, or one for height
            and one for width.
        padding: P, zeros around the border, likewise; ``valid`` is 0, and ``same`` keeps H and W
            (at stride 1; an odd one goes to the right and the bottom).
        dilation: D, pixels from one cell of the filter to the next, likewise.
        groups: 1; others are not supported.

    Returns:
        Maps (N, O, H', W') with H' = ⌊(H + 2P − D(F − 1) − 1)/S⌋ + 1, see ``output_size``.

    Raises:
        ValueError: shapes or dtypes do not fit each other, or a setting is out of range or not
            supported.
    """
    _check_shapes(input, weight, bias)
    if input.ndim == 3:
        return conv2d(input.unsqueeze(0), weight, bias, stride, padding, dilation).squeeze(0)
    windows = Windows.over(input.shape[2:], tuple(weight.shape[2:]), stride, padding, dilation)
    return _Conv2d.apply(*to_autocast("conv2d", input, weight, bias), windows)


def _check_shapes(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    fits = input.ndim in (3, 4) and weight.ndim == 4 and input.shape[-3] == weight.shape[1]
    fits = fits and 0 not in weight.shape[:2]
    if not fits or (bias is not None and bias.shape != weight.shape[:1]):
        raise ValueError(
            f"conv2d takes input (N, C, H, W) or (C, H, W), weight (O, C, F, F) and bias (O,) or "
            f"None with C, O ≥ 1, not input {tuple(input.shape)}, weight {tuple(weight.shape)} and "
            f"bias {None if bias is None else tuple(bias.shape)}"
        )


def _patches(x: torch.Tensor, windows: Windows) -> torch.Tensor:
    """im2col: a row for each patch of x (N, C, H, W), (N·H'·W', F_h·F_w·C)."""
    x, columns = windows.padded(x), prod(windows.kernel_size) * x.shape[1]
    for dim, f, s, d in zip(
        (2, 3), windows.kernel_size, windows.stride, windows.dilation, strict=True
    ):
        x = x.unfold(dim, d * (f - 1) + 1, s)[..., ::d]  # each window's cells: a new last one
    x = x.permute(0, 2, 3, 4, 5, 1)  # (N, H', W', F_h, F_w, C)
    return x.reshape(len(x) * prod(windows.size), columns)


def _col2im(dpatches: torch.Tensor, x: torch.Tensor, windows: Windows) -> torch.Tensor:
    """im2col transposed: for each pixel of x the sum over the patches that it is part of."""
    n, c, _, _ = x.shape
    dpatches = dpatches.view(n, *windows.size, *windows.kernel_size, c)
    dx = windows.zeros(x)
    for a, e, pixels in windows.cells():
        dx[pixels] += dpatches[:, :, :, a, e].permute(0, 3, 1, 2)  # (N, C, H', W')
    return windows.cropped(dx)


def _filters(weight: torch.Tensor) -> torch.Tensor:
    """W: a row for each filter, its numbers in the order of a patch, (O, F_h·F_w·C)."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _rows(z: torch.Tensor) -> torch.Tensor:
    """(N, H', W', O) -> (N·H'·W', O)."""
    return z.reshape(prod(z.shape[:3]), z.shape[3])


AT_ONCE = 2**22  # numbers in the patches cut at one time; all at once they take F² times x


def _parts(
    x: torch.Tensor, z: torch.Tensor, windows: Windows
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """A few images of x at a time, (N, C, H, W), and their places in z, (N, H', W', O)."""
    per_image = prod(windows.size) * prod(windows.kernel_size) * x.shape[1]
    n = max(1, AT_ONCE // max(1, per_image))
    return zip(x.split(n), z.permute(0, 2, 3, 1).split(n), strict=True)


def _empty_maps(x: torch.Tensor, channels: int, windows: Windows) -> torch.Tensor:
    """Uninitialised maps (N, O, H', W') in the memory format of x."""
    shape = (len(x), channels, *windows.size)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))
