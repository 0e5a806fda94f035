"""A dataset in memory, and its split into training and validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from lecture4.data.randomness import generator

SPLITS = ("train", "test")


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
            "train": {
                "examples": len(self.train_labels),
                "of them in a validation folder": self.val_count,
                "files": self.fingerprints.get("train", ""),
            },
            "test": {
                "examples": len(self.test_labels),
                "files": self.fingerprints.get("test", ""),
            },
        }

    def difference(self, earlier: Mapping[str, Any], splits: Sequence[str] = SPLITS) -> str:
        """What differs from the ``description`` of earlier data, in words; "" if nothing does.

        Raises:
            ValueError: ``earlier`` is no description.
        """
        now = self.description
        try:
            if earlier["class_names"] != now["class_names"]:
                names = (", ".join(d["class_names"]) for d in (now, earlier))
                return "the classes are {}, and were {}".format(*names)
            for split in splits:
                for key, value in now[split].items():
                    if (was := earlier[split][key]) != value and key == "files":
                        return f"names or sizes of the files for {split} are others"
                    if was != value:
                        return f"the {key} for {split} are {value:,}, and were {was:,}"
        except (LookupError, TypeError, ValueError):
            raise ValueError("the description of the run's data cannot be read") from None
        return ""

    def split(self, val_size: int | float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices of the training and validation examples among ``train_inputs``.

        Args:
            val_size: see ``stratified_split``; unused with a ``val_count``.
            seed: likewise.
        """
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
