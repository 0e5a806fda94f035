"""Data preprocessing: centre the inputs, and scale them.

Each is an ``nn.Module`` on whole batches: ``fit`` it on the training split, then call it. The
statistics are buffers, so that a checkpoint carries them. Images come as uint8 (N, C, H, W) and
leave as floats; mean and std are in units of full scale (255 = 1).
"""

from collections.abc import Sequence

import torch
from torch import nn


class Preprocess(nn.Module):
    """``none``: x = image / 255, and points (N, D) as they are.

    The others measure ``mean`` and ``std`` on the training split: x = (image/255 − mean) / std.

    Args:
        input_shape: of one input, (C, H, W) or (D,).
        statistics_shape: of ``mean`` and ``std``; broadcasts to ``input_shape``.
    """

    def __init__(self, input_shape: Sequence[int], statistics_shape: Sequence[int] = ()):
        super().__init__()
        self.input_shape = tuple(input_shape)
        self.register_buffer("mean", torch.zeros(statistics_shape))
        self.register_buffer("std", torch.ones(statistics_shape))

    def fit(self, inputs: torch.Tensor) -> "Preprocess":
        """Measure the statistics on training inputs (N, ...); return self."""
        return self

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Preprocess inputs (N, ...): floats of the same shape."""
        full_scale = 255 if inputs.dtype == torch.uint8 else 1
        x = inputs.to(self.mean.dtype, copy=True)
        return x.mul_(1 / (full_scale * self.std)).sub_(self.mean / self.std)


class _ImagePreprocess(Preprocess):
    """A preprocessing that only images have."""

    def __init__(self, input_shape: Sequence[int], statistics_shape: Sequence[int]):
        if len(input_shape) != 3:
            raise ValueError(
                f"{type(self).__name__} takes images (C, H, W), not inputs of shape "
                f"{tuple(input_shape)}; preprocess=none takes any"
            )
        super().__init__(input_shape, statistics_shape)


class MeanImage(_ImagePreprocess):
    """``mean_image``: subtract the mean image, one number for each channel and pixel.

    Raises:
        ValueError: the inputs are no images.
    """

    def __init__(self, input_shape: Sequence[int]):
        super().__init__(input_shape, input_shape)

    def fit(self, inputs: torch.Tensor) -> "MeanImage":
        """Measure the mean image of uint8 images (N, C, H, W); return self."""
        self.mean.copy_(_moments(inputs)[0])
        return self


class ChannelMean(_ImagePreprocess):
    """``channel_mean``: subtract the mean of each channel, one number for each colour.

    Raises:
        ValueError: the inputs are no images.
    """

    def __init__(self, input_shape: Sequence[int]):
        super().__init__(input_shape, (input_shape[0], 1, 1))

    def fit(self, inputs: torch.Tensor) -> "ChannelMean":
        """Measure the mean of each channel of uint8 images (N, C, H, W); return self."""
        self.mean.copy_(_moments(inputs)[0].mean((1, 2), keepdim=True))
        return self


class ChannelStandardize(ChannelMean):
    """``channel_standardize``: subtract the mean of each channel and divide by its std.

    The std is that of all pixels of a channel, over all images (for CIFAR-10's red: 0.247), not
    the mean of the images' own stds (0.202, often copied). A channel that is constant stays so.

    Raises:
        ValueError: the inputs are no images.
    """

    def fit(self, inputs: torch.Tensor) -> "ChannelStandardize":
        """Measure mean and std of each channel of uint8 images (N, C, H, W); return self."""
        mean, square = (m.mean((1, 2), keepdim=True) for m in _moments(inputs))
        std = (square - mean**2).clamp(min=0).sqrt()  # Var[x] = E[x²] − E[x]²
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, 1))
        return self


class Polar(Preprocess):
    """``polar``: points (x, y) to (r, θ), r = √(x² + y²), θ = atan2(y, x) in (−π, π].

    The feature transform of the lecture: a circle around the origin becomes a straight line.

    Raises:
        ValueError: the inputs are no points in the plane.
    """

    def __init__(self, input_shape: Sequence[int]):
        if tuple(input_shape) != (2,):
            raise ValueError(
                f"Polar takes points (x, y), not inputs of shape {tuple(input_shape)}; "
                f"use it with data=rings"
            )
        super().__init__(input_shape)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N, 2) -> (N, 2)."""
        x, y = inputs.to(self.mean.dtype).unbind(1)
        return torch.stack([torch.hypot(x, y), torch.atan2(y, x)], 1)


PREPROCESSINGS = {
    preprocess.__name__: preprocess
    for preprocess in (Preprocess, MeanImage, ChannelMean, ChannelStandardize, Polar)
}


def _moments(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """E[x] and E[x²] over uint8 images (N, C, H, W), x in [0, 1]: two float64 (C, H, W)."""
    total = torch.zeros(2, *images.shape[1:], dtype=torch.float64)
    for chunk in images.split(1000):  # a float64 copy of all of CIFAR-10 would take 1.2 GB
        x = chunk.to(torch.float64) / 255
        total += torch.stack([x.sum(0), x.square_().sum(0)])
    mean, square = total / len(images)
    return mean, square
