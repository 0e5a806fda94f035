"""Data augmentation: random changes of training images that keep their class.

Each is an ``nn.Module`` on batches, on the batch's device, with a draw for each image. Pixels are
moved and never changed, so images may be of any dtype and range.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from lecture4.data.randomness import mix, uniform


class NoAugment(nn.Module):
    """``none``: leave inputs of any shape unchanged."""

    def __init__(self, input_shape: Sequence[int], fill: torch.Tensor | float = 0.0):
        super().__init__()
        self.input_shape = tuple(input_shape)

    def shape_at(self, epoch: int) -> tuple[int, ...]:
        """Shape of one image in this epoch, counted from 0."""
        return self.input_shape

    def forward(self, images: torch.Tensor, *words: int | torch.Tensor) -> torch.Tensor:
        """(N, ...) -> (N, ...)."""
        return images


class Flip(NoAugment):
    """``flip``: mirror each image left to right with probability 1/2.

    Args:
        input_shape: (C, H, W) of one image.
        crop: ``flip_crop`` also shifts each image by up to ``crop`` pixels in each direction and
            fills the border by reflection.
        alternate: mirror each image in every other epoch instead, drawn by (seed, index).
        cutout: side of a square in each image, at a random place, that is set to ``fill``.
        small_epochs: epochs, from the first, in which images are resized to ``small_side``; a net
            learns coarse features from fewer pixels, at (small_side / side)² of the arithmetic.
        small_side: height and width of these images, in pixels.
        fill: broadcasts to (C, H, W), in the images' units; what preprocessing maps to 0.

    Raises:
        ValueError: the inputs are not images, or too small for the crop or the square.

    Sources: Jordan 2024, arXiv:2404.00498, for the alternating flip; DeVries & Taylor 2017,
    arXiv:1708.04552, for cutout, here with the whole square inside the image, as in
    airbench96_faster.py of github.com/KellerJordan/cifar10-airbench.
    """

    fill: torch.Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        crop: int = 0,
        alternate: bool = False,
        cutout: int = 0,
        small_epochs: int = 0,
        small_side: int = 24,
        fill: torch.Tensor | float = 0.0,
    ):
        super().__init__(input_shape)
        if len(input_shape) != 3:
            raise ValueError(
                f"flips and crops need images (C, H, W), not inputs of shape {tuple(input_shape)}; "
                f"use augment=none"
            )
        side = min(input_shape[1:])
        if not (_is_whole(crop) and 0 <= crop < side):
            raise ValueError(
                f"crop={crop} must be at least 0 and less than the image's side, {side}"
            )
        if not (_is_whole(cutout) and 0 <= cutout <= side):
            raise ValueError(
                f"cutout={cutout} must be at least 0 and at most the image's side, {side}"
            )
        self.crop, self.alternate, self.cutout = crop, alternate, cutout
        self.small_epochs, self.small_side = small_epochs, small_side
        self.register_buffer("fill", torch.as_tensor(fill).round(), persistent=False)

    def forward(self, images: torch.Tensor, *words: int | torch.Tensor) -> torch.Tensor:
        """Augment a batch of images (N, C, H, W) in training; return it unchanged in evaluation.

        Args:
            images: any dtype.
            words: integers that determine the draws, such as seed, epoch and index; at least one
                is an int64 tensor (N,). Without words, torch's generator draws; ``alternate`` and
                ``small_epochs`` take seed, epoch and index.

        Raises:
            ValueError: the images are not a batch, or too small for the crop; or the words do not
                give each image a draw.
        """
        if not self.training:
            return images
        self._check(images, words)
        if not words:
            words = (torch.randint(2**62, (len(images),), device=images.device),)
        u: Any = uniform(mix(*words), 5 if self.cutout else 3)
        xp: Any = np if u.device.type == "cpu" else torch  # NumPy is faster for small arrays
        u = u.numpy() if xp is np else u
        mirror, down, right, *corner = u.T[:, :, None]  # (N, 1) each
        mirrored = mirror >= 0.5
        if self.alternate:
            mirrored = _alternating(*words, xp=xp)  # type: ignore[arg-type]
        images = self._moved(images, mirrored, down, right, xp)
        if self.cutout:
            images = self._cut(images, *corner, xp=xp)
        if self.small_epochs and words[1] < self.small_epochs:
            images = _resized(images, self.small_side)
        return images

    def shape_at(self, epoch: int) -> tuple[int, ...]:
        """Shape of one image in this epoch, counted from 0."""
        if epoch >= self.small_epochs:
            return self.input_shape
        return self.input_shape[0], self.small_side, self.small_side

    def _moved(self, images: torch.Tensor, mirrored, down, right, xp) -> torch.Tensor:
        """Shift and mirror images (N, C, H, W) by one gather."""
        n, channels, height, width = images.shape
        rows, columns = (xp.arange(side, device=down.device) for side in (height, width))
        rows = self._shifted(rows, down, xp)  # (N, H): the row that each row is taken from
        columns = self._shifted(columns, right, xp)  # (N, W)
        columns = xp.where(mirrored, xp.flip(columns, (1,)), columns)

        source = torch.as_tensor(rows)[:, :, None] * width + torch.as_tensor(columns)[:, None, :]
        # (N, H, W) -> (N, C, H·W)
        source = source.view(n, 1, height * width).expand(-1, channels, -1)
        return images.flatten(2).gather(2, source).view_as(images)

    def _check(self, images: torch.Tensor, words: tuple) -> None:
        if (self.alternate or self.small_epochs) and len(words) != 3:
            raise ValueError("alternate and small_epochs take three words: seed, epoch and index")
        if images.ndim != 4 or self.crop >= min(images.shape[2:]):
            raise ValueError(
                f"Flip with crop={self.crop} takes images (N, C, H, W) larger than the crop, not "
                f"{tuple(images.shape)}"
            )
        of_images = [word for word in words if isinstance(word, torch.Tensor)]
        shapes = [word.shape for word in of_images if word.dtype == torch.int64]
        if words and (len(shapes) != len(of_images) or images.shape[:1] not in shapes):
            raise ValueError(
                f"a draw for each of {len(images)} images needs an int64 tensor of shape "
                f"({len(images)},), and no tensor of another dtype"
            )

    def _shifted(self, places, u, xp):
        """Places (side,) and uniform numbers (N, 1) -> (N, side): where each place comes from."""
        shift = xp.asarray(u * (2 * self.crop + 1), dtype=xp.int64) - self.crop
        last = len(places) - 1
        return last - abs(last - abs(places + shift))  # reflected at both borders

    def _cut(self, images: torch.Tensor, down, right, *, xp) -> torch.Tensor:
        """Fill a square in each image (N, C, H, W); it lies inside, at a place drawn uniformly."""
        inside = []
        for side, u in zip(images.shape[2:], (down, right), strict=True):
            first = xp.asarray(u * (side - self.cutout + 1), dtype=xp.int64)  # (N, 1)
            place = xp.arange(side, device=u.device)
            inside.append(torch.as_tensor((place >= first) & (place < first + self.cutout)))
        square = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]  # (N, 1, H, W)
        return torch.where(square, self.fill.to(images.dtype), images)


def _alternating(seed: int, epoch: int, index: torch.Tensor, *, xp) -> Any:
    """Which images to mirror, (N, 1): those drawn by (seed, index); in odd epochs the rest."""
    u = uniform(mix(seed, index), 1)
    return ((u.numpy() if xp is np else u) >= 0.5) ^ (epoch % 2 == 1)


def _resized(images: torch.Tensor, side: int) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, side, side), each new pixel a mean of the old ones around it."""
    given = images if images.device.type == "cpu" else images.float()  # CUDA resizes floats alone
    small = interpolate(given, size=(side, side), mode="bilinear", antialias=True)
    return small if images.is_floating_point() else small.round().to(images.dtype)


def _is_whole(number: object) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)
