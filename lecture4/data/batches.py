"""Batches of a dataset in memory: samplers of indices, and loaders of whole batches."""

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from lecture4.data.randomness import generator

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # inputs (N, ...), labels (N,), index (N,)


class Rows(torch.utils.data.Dataset):
    """Indexes whole batches of inputs and labels, on their device."""

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor):
        self.inputs, self.labels = inputs, labels

    def __getitem__(self, index: torch.Tensor | list[torch.Tensor]) -> Batch | list[Batch]:
        """The batch of the examples ``index``, or the batches of a list of indices."""
        if isinstance(index, list):
            return [self._batch(one) for one in index]
        return self._batch(index)

    def _batch(self, index: torch.Tensor) -> Batch:
        # ten times as fast as inputs[index]
        return self.inputs.index_select(0, index), self.labels.index_select(0, index), index


class InOrder(torch.utils.data.Sampler):
    """The batches of a split, one after another; the last one may be smaller.

    Args:
        index: examples of the split.
        batch_size: over all processes.
        rank: of this process, which gets examples rank, rank + ranks, … of each batch.
        ranks: number of processes.
    """

    def __init__(self, index: torch.Tensor, batch_size: int, rank: int = 0, ranks: int = 1):
        self.index, self.batch_size = index, batch_size
        self.rank, self.ranks = rank, ranks

    def __len__(self) -> int:
        return -(-len(self.index) // self.batch_size)

    def __iter__(self) -> Iterator[torch.Tensor | list[torch.Tensor]]:
        for batch in self.index.split(self.batch_size):
            yield batch[self.rank :: self.ranks]


class Shuffled(InOrder):
    """The full batches of an epoch, in an order determined by (seed, epoch), in chunks.

    A chunk is a list of consecutive batches, the argument of one ``training_step``. A checkpoint
    within an epoch can be saved after a chunk.

    Args:
        index, batch_size, rank, ranks: as in ``InOrder``.
        seed: of the order.
        share: fraction of the batches in an epoch, in (0, 1]; other examples each epoch.
        chunk: maximum number of batches in a chunk.
        every_n_steps: end a chunk after every ``every_n_steps`` batches of an epoch.

    Raises:
        ValueError: ``batch_size`` is not a multiple of ``ranks``.
    """

    def __init__(
        self,
        index: torch.Tensor,
        batch_size: int,
        rank: int = 0,
        ranks: int = 1,
        *,
        seed: int = 0,
        share: float = 1.0,
        chunk: int = 1,
        every_n_steps: int | None = None,
    ):
        super().__init__(index, batch_size, rank, ranks)
        if batch_size % ranks:
            raise ValueError(
                f"a global batch of {batch_size} is not a multiple of {ranks} processes; "
                f"use data.batch_size={max(batch_size // ranks, 1) * ranks}"
            )
        self.seed = seed
        self.steps = max(1, int(share * (len(index) // batch_size)))
        period = every_n_steps or self.steps
        self.chunks = [
            slice(first, min(first + chunk, start + period, self.steps))
            for start in range(0, self.steps, period)
            for first in range(start, min(start + period, self.steps), chunk)
        ]
        self.ends = [0, *(chunk.stop for chunk in self.chunks)]  # batches after n chunks
        self.epoch = 0
        self.first = 0  # chunks of this epoch done before a resumed run

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; Lightning calls it."""
        if epoch != self.epoch:
            self.epoch, self.first = epoch, 0

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        order = torch.randperm(len(self.index), generator=generator(self.seed, self.epoch))
        batches = self.index[order.to(self.index.device)].split(self.batch_size)
        for chunk in self.chunks[self.first :]:
            yield [batch[self.rank :: self.ranks] for batch in batches[chunk]]


class Loader(DataLoader):
    """A DataLoader that takes a fifth of DataLoader's time without worker processes.

    Args:
        dataset: the rows.
        sampler: yields the index of each batch, or of each chunk of batches.
        num_workers: processes that fetch; 0 fetches in this process.
        pin_memory: copy batches to pinned memory, for rows outside the GPU.
        shuffle, batch_sampler: unused; ``Trainer.predict`` copies a loader with them.
    """

    def __init__(
        self,
        dataset: Rows,
        sampler: InOrder,
        num_workers: int = 0,
        pin_memory: bool = False,
        shuffle: bool = False,
        batch_sampler: None = None,
    ):
        super().__init__(
            dataset,
            sampler=sampler,
            batch_size=None,  # the sampler yields whole batches
            collate_fn=_unchanged,
            num_workers=num_workers,
            pin_memory=pin_memory,
        )

    def __iter__(self) -> Iterator[Batch | list[Batch]]:  # type: ignore[override]
        if self.num_workers or self.pin_memory:
            return super().__iter__()
        return map(self.dataset.__getitem__, self.sampler)


class ResumableLoader(Loader):
    """A loader of ``Shuffled`` chunks that can resume within an epoch.

    Lightning saves its ``state_dict`` in checkpoints: how many batches of an epoch are done.
    """

    sampler: Shuffled
    handed_out = 0

    def __iter__(self) -> Iterator[Batch | list[Batch]]:  # type: ignore[override]
        self.handed_out = self.sampler.first
        for chunk in super().__iter__():
            self.handed_out += 1
            yield chunk

    def state_dict(self) -> dict[str, int]:
        """The epoch, and the number of its batches yielded so far."""
        return {"epoch": self.sampler.epoch, "batches": self.sampler.ends[self.handed_out]}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume after these batches.

        Raises:
            ValueError: no chunk ends there.
        """
        if state["batches"] not in self.sampler.ends:
            raise ValueError(
                f"the checkpoint was saved after {state['batches']} batches of an epoch, where no "
                f"chunk of batches ends in this version; resume from the end of an epoch"
            )
        self.sampler.epoch = state["epoch"]
        self.sampler.first = self.sampler.ends.index(state["batches"])


def _unchanged(batch):
    return batch
