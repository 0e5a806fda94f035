"""A dataset in memory, and its split into training and validation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from lecture4.data.randomness import generator


@dataclass(frozen=True)
class Dataset:
    """Inputs and labels, whole and in memory.

    Inputs are images, uint8 (N, C, H, W), or points, float32 (N, D); labels are int64 (N,) and
    index ``class_names``. ``source`` says as plain values how to make the same again: ``name``, a
    key of ``lecture4.data.SOURCES``, and that function's arguments.
    """

    class_names: list[str]
    train_inputs: torch.Tensor
    train_labels: torch.Tensor
    test_inputs: torch.Tensor
    test_labels: torch.Tensor
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input: (C, H, W) or (D,)."""
        return tuple(self.train_inputs.shape[1:])


def stratified_split(
    labels: torch.Tensor, val_size: int | float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the training and the validation split: disjoint, ascending, all of them.

    Each class gives validation its share, rounded so that the sizes add up to ``val_size``, and
    keeps at least one example for training.

    Args:
        labels: int64 (N,).
        val_size: number of validation examples, or the fraction of N if less than 1.
        seed: chooses which; the same seed, the same split.

    Raises:
        ValueError: ``val_size`` leaves training or validation empty.
    """
    n = len(labels)
    wanted = round(val_size * n) if val_size < 1 else int(val_size)
    counts = torch.bincount(labels)
    if not 1 <= wanted <= n - int((counts > 0).sum()):
        raise ValueError(
            f"val_size={val_size} makes {wanted} of {n} training examples the validation split; "
            f"it must be at least 1 and leave one of each class to train on"
        )
    share = counts * (wanted / n)
    take = share.floor().long()
    for _ in range(wanted - int(take.sum())):  # to the class that is owed most, and has one left
        take[torch.where(take + 1 < counts, share - take, -torch.inf).argmax()] += 1

    shuffled = torch.randperm(n, generator=generator(seed))
    in_val = torch.zeros(n, dtype=torch.bool)
    for k, count in enumerate(take.tolist()):
        in_val[shuffled[labels[shuffled] == k][:count]] = True
    return (~in_val).nonzero().squeeze(1), in_val.nonzero().squeeze(1)
