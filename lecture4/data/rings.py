"""Points inside and around a circle: two classes that no straight line separates."""

import math

import torch

from lecture4.data.dataset import Dataset
from lecture4.data.randomness import generator


def make_rings(train_size: int = 2_000, test_size: int = 1_000, seed: int = 0) -> Dataset:
    """Draw the lecture's non-separable example: class 0 in a disc, class 1 in a ring around it.

    r ~ U[0, 0.8] or U[1.2, 2], θ ~ U[0, 2π], inputs (r cos θ, r sin θ) as float32 (N, 2). In polar
    coordinates the line r = 1 separates the classes.

    Args:
        train_size: number of training points.
        test_size: number of test points.
        seed: of the generator; the same seed gives the same points.

    Raises:
        ValueError: a size is less than 2.
    """
    if min(train_size, test_size) < 2:
        raise ValueError(
            f"train_size={train_size} and test_size={test_size} must each be at least 2"
        )
    draw = generator(int.from_bytes(b"rings"), seed)

    def points(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(n) % 2
        u, v = torch.rand(2, n, generator=draw)
        radius = 0.8 * u + 1.2 * labels
        angle = 2 * math.pi * v
        return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), labels

    source = {"name": "rings", "train_size": train_size, "test_size": test_size, "seed": seed}
    return Dataset(["inside", "around"], *points(train_size), *points(test_size), source)
