"""Data preprocessing: x = (image/255 − mean) / std, and the polar transform of points.

Each is an ``nn.Module`` on whole batches: ``fit`` measures its statistics on the training split,
calling it transforms a batch. The statistics are buffers, so a checkpoint carries them. Images
(N, C, H, W) are uint8 from 0 to 255 or floats from 0 to 1, in ``fit`` and in a call; other numbers
are refused (the range of floats on the CPU alone). mean and std are in units of full scale.
"""

from collections.abc import Sequence

import torch
from torch import nn

from lecture4.byhand.functional._torch_options import found

CHUNK = 2**24  # limit on the numbers that are measured at once


class Preprocess(nn.Module):
    """x = (image/255 − mean) / std, with mean 0 and std 1 until ``fit`` measures others.

    Args:
        input_shape: of one input, (C, H, W) or (D,).
        statistics_shape: of ``mean`` and ``std``; broadcasts to ``input_shape``.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, input_shape: Sequence[int], statistics_shape: Sequence[int] = ()):
        super().__init__()
        self.input_shape = tuple(input_shape)
        self.register_buffer("mean", torch.zeros(statistics_shape))
        self.register_buffer("std", torch.ones(statistics_shape))

    def fit(self, inputs: torch.Tensor, index: torch.Tensor | None = None) -> "Preprocess":
        """Measure the statistics on training inputs (N, ...), or on rows of them; return self."""
        return self

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Transform inputs (N, ...) to floats of the same shape; floats are not divided by 255.

        Raises:
            ValueError: the inputs are of another shape, dtype or range.
        """
        self._check_shape(inputs)
        scale = 1 / (_full_scale(inputs, images=len(self.input_shape) == 3) * self.std)
        x = inputs.to(self.mean.dtype, copy=True)
        # (x/255 − mean) / std, as x · 1/(255 std) − mean/std: 0.6 times the time per batch
        return x.mul_(scale).sub_(self.mean / self.std)

    def _check_shape(self, inputs: torch.Tensor) -> None:
        wanted = self.input_shape
        given = tuple(inputs.shape[-len(wanted) :])
        if len(given) == 3 and self.mean.shape != wanted:  # statistics of channels, for any size
            given, wanted = given[:1], wanted[:1]
        if given != wanted:
            raise ValueError(
                f"{type(self).__name__} of inputs of shape {self.input_shape} takes (N, ...) of "
                f"them, not {tuple(inputs.shape)}"
            )


class FullScale(Preprocess):
    """``preprocess=none``: x = image/255 in [0, 1]; points (N, D) stay as they are."""


class _ImagePreprocess(Preprocess):
    """Preprocessing with statistics of images (C, H, W).

    Raises:
        ValueError: the inputs are not images.
    """

    per_channel = True  # one mean per channel, else one per channel and pixel
    scales = False  # divides by the std, too

    def __init__(self, input_shape: Sequence[int]):
        if len(input_shape) != 3 or 0 in input_shape:
            raise ValueError(
                f"{type(self).__name__} takes images (C, H, W), not inputs of shape "
                f"{tuple(input_shape)}; preprocess=none takes any"
            )
        super().__init__(input_shape, (input_shape[0], 1, 1) if self.per_channel else input_shape)

    def fit(self, inputs: torch.Tensor, index: torch.Tensor | None = None) -> "Preprocess":
        """Measure mean and std on training images (N, C, H, W), uint8 or floats; return self.

        Args:
            inputs: in memory, or mapped from a file; about 100 MB are copied at a time.
            index: of the rows to measure; None for all.

        Raises:
            ValueError: there are none, or they have another shape or type.
        """
        if tuple(inputs.shape[1:]) != self.input_shape or not len(
            inputs if index is None else index
        ):
            raise ValueError(
                f"the statistics need at least one image of shape {self.input_shape}; given are "
                f"inputs of shape {tuple(inputs.shape)}"
            )
        mean, square = _moments(inputs, index)  # (C, H, W) each
        if self.per_channel:
            mean, square = (m.mean((1, 2), keepdim=True) for m in (mean, square))  # (C, 1, 1)
        self.mean.copy_(mean)
        if self.scales:
            std = (square - mean**2).clamp(min=0).sqrt()  # Var[x] = E[x²] − E[x]²
            self.std.copy_(torch.where(std > 1e-6, std, 1))  # a constant channel stays constant
        return self


class MeanImage(_ImagePreprocess):
    """``preprocess=mean_image``: subtract the mean image, one number per channel and pixel."""

    per_channel = False


class ChannelMean(_ImagePreprocess):
    """``preprocess=channel_mean``: subtract the mean of each channel, one number per colour."""


class ChannelStandardize(_ImagePreprocess):
    """``preprocess=channel_standardize``: subtract the channel's mean, divide by its std.

    The std is taken over all pixels of a channel in all images (0.247 for the red of CIFAR-10), not
    averaged over the stds of single images (0.202, a value often copied).
    """

    scales = True


class Polar(Preprocess):
    """``preprocess=polar``: (x, y) -> (r, θ) with r = √(x² + y²), θ = atan2(y, x) in (−π, π].

    The lecture's feature transform: a circle around the origin becomes a straight line.

    Raises:
        ValueError: the inputs are not points in the plane.
    """

    def __init__(self, input_shape: Sequence[int]):
        if tuple(input_shape) != (2,):
            raise ValueError(
                f"Polar takes points (x, y), not inputs of shape {tuple(input_shape)}; "
                f"use it with data=rings"
            )
        super().__init__(input_shape)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N, 2) -> (N, 2); raise ValueError if the points are complex or not in the plane."""
        self._check_shape(inputs)
        if inputs.is_complex():
            raise ValueError(f"Polar takes real points (x, y), not {inputs.dtype}")
        x, y = inputs.to(self.mean.dtype).unbind(-1)
        return torch.stack([torch.hypot(x, y), torch.atan2(y, x)], -1)


PREPROCESSINGS = {
    preprocess.__name__: preprocess
    for preprocess in (FullScale, MeanImage, ChannelMean, ChannelStandardize, Polar)
}


def _full_scale(inputs: torch.Tensor, images: bool = True) -> int:
    """What counts as 1: 255 in uint8 images, 1 in floats.

    Raises:
        ValueError: the inputs are of another type, or images of floats are not within [0, 1].
    """
    if inputs.dtype == torch.uint8:
        return 255
    if inputs.is_floating_point():
        if images and found(~((inputs >= 0) & (inputs <= 1))):
            raise ValueError(
                f"images of floats must lie between 0 and 1, not from {inputs.min():g} to "
                f"{inputs.max():g}; give uint8, or divide by 255"
            )
        return 1
    raise ValueError(f"inputs must be uint8 images or floats, not {inputs.dtype}")


def _moments(images: torch.Tensor, index: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """E[x] and E[x²] of each pixel, x = image/255: (N, C, H, W) -> float64 (C, H, W) each."""
    full_scale = _full_scale(images[:0])
    index = torch.arange(len(images)) if index is None else index
    total = torch.zeros(2, *images.shape[1:], dtype=torch.float64)
    # sums of bytes and their squares are exact in float32: 256 · 255² < 2²⁴
    dtype = torch.float32 if images.dtype == torch.uint8 else torch.float64
    for some in index.split(min(256, max(1, CHUNK // total[0].numel()))):
        x = images.index_select(0, some).to(dtype)
        if full_scale == 1:
            _full_scale(x)
        total += torch.stack([x.sum(0), x.square_().sum(0)])
    mean, square = total / len(index)
    return mean / full_scale, square / full_scale**2
