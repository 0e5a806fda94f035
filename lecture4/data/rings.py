"""Points inside and around a circle: two classes that no straight line separates."""

import math

import torch

from lecture4.data.dataset import Dataset
from lecture4.data.randomness import generator


def rings(train_size: int = 2_000, test_size: int = 1_000, seed: int = 0) -> Dataset:
    """Draw the lecture's non-separable example: class 0 in a disc, class 1 in a ring around it.

    The radius is uniform in [0, 0.8] or [1.2, 2], the angle uniform; inputs are float32 (N, 2).
    In polar coordinates the line r = 1 separates them.

    Raises:
        ValueError: a size is less than 2.
    """
    if min(train_size, test_size) < 2:
        raise ValueError(f"rings of {train_size} and {test_size} points; each needs 2 at least")
    draw = generator(int.from_bytes(b"rings"), seed)

    def points(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(n) % 2
        u, v = torch.rand(2, n, generator=draw)
        radius = 0.8 * u + 1.2 * labels
        angle = 2 * math.pi * v
        return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), labels

    source = {"name": "rings", "train_size": train_size, "test_size": test_size, "seed": seed}
    return Dataset(["inside", "around"], *points(train_size), *points(test_size), source)
