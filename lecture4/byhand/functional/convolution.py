"""Convolution: filters slide over images, computing dot products."""

from math import prod

import torch
from torch.autograd import Function

from lecture4.byhand.functional._precision import accumulating, lowered
from lecture4.byhand.functional._refuse import refuse
from lecture4.byhand.functional.windows import Size, Windows, memory_format


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

    Twin of ``torch.nn.functional.conv2d``. A filter extends to the full depth of the input;
    O of them make O maps. It is not flipped, as a convolution in the narrow sense would have it.

    Args:
        input: images x (N, C, H, W), or one (C, H, W).
        weight: filters w (O, C, F_h, F_w).
        bias: b (O,), or None.
        stride: S, pixels from one position of the filter to the next; a number, or one for height
            and one for width.
        padding: P, zeros around the border, likewise; ``valid`` is 0, and ``same`` as many as keep
            H and W (at stride 1; an odd one goes to the right and the bottom).
        dilation: D, pixels from one cell of the filter to the next, likewise.
        groups: 1; others are not supported.

    Returns:
        Maps (N, O, H', W') with H' = ⌊(H + 2P − D(F − 1) − 1)/S⌋ + 1, see ``output_size``.

    Raises:
        ValueError: shapes do not fit each other, or a setting is out of range or not supported.

    Source: the lecture, "Convolution layer"; im2col: Chellapilla, Puri & Simard 2006.
    """
    refuse("conv2d", groups=groups if groups != 1 else None)
    fits = input.ndim in (3, 4) and weight.ndim == 4 and input.shape[-3] == weight.shape[1]
    if not fits or (bias is not None and bias.shape != weight.shape[:1]):
        raise ValueError(
            f"conv2d takes input (N, C, H, W) or (C, H, W), weight (O, C, F, F) and bias (O,) or "
            f"None, not input {tuple(input.shape)}, weight {tuple(weight.shape)} and bias "
            f"{None if bias is None else tuple(bias.shape)}"
        )
    if input.ndim == 3:
        return conv2d(input.unsqueeze(0), weight, bias, stride, padding, dilation).squeeze(0)
    windows = Windows.over(input.shape[2:], tuple(weight.shape[2:]), stride, padding, dilation)
    return _Conv2d.apply(*lowered(input, weight, bias), windows)


class _Conv2d(Function):
    """z_noij = b_o + Σ_cae w_ocae x_nc,Si+Da,Sj+De, with x padded and F_h·F_w cells (a, e).

    im2col: a row of X for each patch, N·H'·W' of them with F_h·F_w·C numbers each, and a row of W
    for each filter. Then a convolution is a fully connected layer that every patch goes through:

        Z = X Wᵀ + b,   ∂L/∂X = ∂L/∂Z W,   ∂L/∂W = (∂L/∂Z)ᵀ X,   ∂L/∂b = Σ rows of ∂L/∂Z

    A pixel is part of several patches, so ∂L/∂x is the sum of what they send to it: col2im.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, windows):
        ctx.save_for_backward(x, weight)
        ctx.windows = windows
        filters = _filters(weight)  # (O, F_h·F_w·C)
        n, shape = _at_once(x, windows), (len(x), len(weight), *windows.size)
        z = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))
        for part, place in zip(x.split(n), z.permute(0, 2, 3, 1).split(n), strict=True):
            products = _patches(part, windows) @ filters.T  # (N·H'·W', O)
            place.copy_((products if bias is None else products + bias).view_as(place))
        return z  # (N, O, H', W')

    @staticmethod
    def backward(ctx, dz):
        x, weight = ctx.saved_tensors
        windows, filters, n = ctx.windows, _filters(weight), _at_once(x, ctx.windows)
        dx, dfilters, dbias = [], torch.zeros_like(accumulating(filters)), None
        for part, dpart in zip(x.split(n), dz.split(n), strict=True):
            dpart = dpart.permute(0, 2, 3, 1).reshape(-1, len(weight))  # (N·H'·W', O)
            if ctx.needs_input_grad[0]:
                dx.append(_col2im(dpart @ filters, part, windows))
            if ctx.needs_input_grad[1]:
                dfilters = dfilters + dpart.T @ _patches(part, windows)  # (O, F_h·F_w·C)
        if ctx.needs_input_grad[2]:
            dbias = dz.sum((0, 2, 3))
        o, c, *kernel_size = weight.shape
        dweight = dfilters.view(o, *kernel_size, c).permute(0, 3, 1, 2)
        return (
            torch.cat(dx) if dx else None,
            dweight if ctx.needs_input_grad[1] else None,
            dbias,
            None,
        )


AT_ONCE = 2**22  # numbers in the patches cut at one time; those of all images take F² times x


def _at_once(x: torch.Tensor, windows: Windows) -> int:
    """How many images to cut into patches at one time."""
    per_image = prod(windows.size) * prod(windows.kernel_size) * x.shape[1]
    return max(1, AT_ONCE // max(1, per_image))


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
    """A row for each filter, its numbers in the order of a patch's: (O, F_h·F_w·C)."""
    return weight.permute(0, 2, 3, 1).flatten(1)
