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

from lecture4.data.randomness import mix, uniform


class NoAugment(nn.Module):
    """``none``: leave inputs of any shape unchanged."""

    def __init__(self, input_shape: Sequence[int]):
        super().__init__()

    def forward(self, images: torch.Tensor, *words: int | torch.Tensor) -> torch.Tensor:
        """(N, ...) -> (N, ...)."""
        return images


class Flip(nn.Module):
    """``flip``: mirror each image left to right with probability 1/2.

    Args:
        input_shape: (C, H, W) of one image.
        crop: ``flip_crop`` also shifts each image by up to ``crop`` pixels in each direction and
            fills the border by reflection.

    Raises:
        ValueError: the inputs are not images, or too small for the crop.
    """

    def __init__(self, input_shape: Sequence[int], crop: int = 0):
        super().__init__()
        if len(input_shape) != 3:
            raise ValueError(
                f"flips and crops need images (C, H, W), not inputs of shape {tuple(input_shape)}; "
                f"use augment=none"
            )
        whole = isinstance(crop, Integral) and not isinstance(crop, bool)
        if not (whole and 0 <= crop < min(input_shape[1:])):
            raise ValueError(
                f"crop={crop} must be at least 0 and less than the image's side, "
                f"{min(input_shape[1:])}"
            )
        self.crop = crop

    def forward(self, images: torch.Tensor, *words: int | torch.Tensor) -> torch.Tensor:
        """Augment a batch of images (N, C, H, W) in training; return it unchanged in evaluation.

        Args:
            images: any dtype.
            words: integers that determine the draws, such as seed, epoch and index; at least one
                is an int64 tensor (N,). Without words, torch's generator draws.

        Raises:
            ValueError: the images are not a batch, or too small for the crop; or the words do not
                give each image a draw.
        """
        if not self.training:
            return images
        self._check(images, words)
        n, channels, height, width = images.shape
        if not words:
            words = (torch.randint(2**62, (n,), device=images.device),)
        u: Any = uniform(mix(*words), 3)
        xp: Any = np if u.device.type == "cpu" else torch  # NumPy is faster for small arrays
        u = u.numpy() if xp is np else u
        rows, columns = (xp.arange(side, device=u.device) for side in (height, width))
        mirror, down, right = u.T[:, :, None]  # (N, 1) each
        rows = self._shifted(rows, down, xp)  # (N, H): the row that each row is taken from
        columns = self._shifted(columns, right, xp)  # (N, W)
        columns = xp.where(mirror < 0.5, columns, xp.flip(columns, (1,)))

        source = torch.as_tensor(rows)[:, :, None] * width + torch.as_tensor(columns)[:, None, :]
        # (N, H, W) -> (N, C, H·W)
        source = source.view(n, 1, height * width).expand(-1, channels, -1)
        return images.flatten(2).gather(2, source).view_as(images)

    def _check(self, images: torch.Tensor, words: tuple) -> None:
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
