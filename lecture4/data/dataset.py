"""A dataset in memory, and its split into training and validation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from lecture4.data.randomness import generator


@dataclass(frozen=True)
class Dataset:
    """Inputs and labels of a training and a test split, in memory.

    Inputs are images, uint8 (N, C, H, W), or points, float32 (N, D); labels are int64 (N,), indices
    into ``class_names``. ``source`` recreates the dataset from plain values: ``name``, a key of
    ``lecture4.data.SOURCES``, and the arguments of that function. The last ``val_count`` training
    examples are the validation split; with 0 it is split off from all of them. ``fingerprints`` of
    the files of ``train`` and ``test`` tell whether they changed, where nothing else fixes them.

    Raises:
        ValueError: a label is not an index into ``class_names``. No later step checks labels on a
            GPU, where that would wait for the device.
    """

    class_names: list[str]
    train_inputs: torch.Tensor
    train_labels: torch.Tensor
    test_inputs: torch.Tensor
    test_labels: torch.Tensor
    source: Mapping[str, Any] = field(default_factory=dict)
    val_count: int = 0
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        classes = len(self.class_names)
        for part, labels in (("train", self.train_labels), ("test", self.test_labels)):
            wrong = labels[(labels < 0) | (labels >= classes)]
            if len(wrong):
                raise ValueError(
                    f"{part}_labels contain {wrong[0]}; with {classes} classes a label must lie "
                    f"between 0 and {classes - 1}"
                )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input: (C, H, W) or (D,)."""
        return tuple(self.train_inputs.shape[1:])

    @property
    def description(self) -> dict[str, Any]:
        """What tells these data from others, as plain values, see ``difference``."""
        return {
            "class_names": list(self.class_names),
            "training_examples": len(self.train_labels) - self.val_count,
            "validation_examples": self.val_count,
            "training_files": self.fingerprints.get("train", ""),
            "test_examples": len(self.test_labels),
            "test_files": self.fingerprints.get("test", ""),
        }

    def difference(self, earlier: Mapping[str, Any], prefix: str = "") -> str:
        """What differs from the ``description`` of earlier data, in words; "" if nothing does.

        Args:
            earlier: the description.
            prefix: of the keys that are compared.

        Raises:
            ValueError: ``earlier`` is no description.
        """
        mine = self.description
        if not isinstance(earlier, Mapping) or any(
            type(earlier.get(key)) is not type(now) for key, now in mine.items()
        ):
            raise ValueError("the description of the run's data cannot be read")
        for key, now in mine.items():
            if not key.startswith(prefix) or (was := earlier[key]) == now:
                continue
            what = key.replace("_", " ")
            if key.endswith("files"):
                return f"names or sizes of the {what} differ"
            if key == "class_names":
                now, was = ", ".join(now), ", ".join(map(str, was))
            return f"the {what} are {now}, and were {was}"
        return ""

    def split(self, val_size: int | float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices of the training and validation examples among ``train_inputs``.

        Args:
            val_size: see ``stratified_split``; 0 for no validation examples; unused with a
                ``val_count``.
            seed: see ``stratified_split``.
        """
        if not self.val_count and not val_size:
            return torch.arange(len(self.train_labels)), torch.arange(0)
        if not self.val_count:
            return stratified_split(self.train_labels, val_size, seed)
        train, val = torch.arange(len(self.train_labels)).tensor_split([-self.val_count])
        return train, val


def stratified_split(
    labels: torch.Tensor, val_size: int | float, seed: int, name: str = "val_size"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Split indices 0 … N − 1 into training and validation, stratified by class, each ascending.

    Each class contributes in proportion to its size, rounded so that the total is ``val_size``, and
    keeps at least one example for training.

    Args:
        labels: int64 (N,).
        val_size: number of validation examples, or a fraction of N if less than 1.
        seed: of the generator; the same seed gives the same split.
        name: of ``val_size`` in an error.

    Raises:
        ValueError: validation would be empty, or a class would have no training example.
    """
    n = len(labels)
    wanted = round(val_size * n) if val_size < 1 else int(val_size)
    counts = torch.bincount(labels)
    if not 1 <= wanted <= n - int((counts > 0).sum()):
        raise ValueError(
            f"{name}={val_size} takes {wanted} of {n} training examples; it must be at least 1 and "
            f"leave one of each class for training"
        )
    share = counts * (wanted / n)
    take = share.floor().long()
    for _ in range(wanted - int(take.sum())):  # one more from the class furthest below its share
        take[torch.where(take + 1 < counts, share - take, -torch.inf).argmax()] += 1

    shuffled = torch.randperm(n, generator=generator(seed))
    in_val = torch.zeros(n, dtype=torch.bool)
    for k, count in enumerate(take.tolist()):
        in_val[shuffled[labels[shuffled] == k][:count]] = True
    return (~in_val).nonzero().squeeze(1), in_val.nonzero().squeeze(1)
