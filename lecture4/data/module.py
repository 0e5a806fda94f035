"""The one DataModule: whole batches from memory, whatever the dataset."""

from collections.abc import Iterator

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lecture4.data.dataset import Dataset, stratified_split
from lecture4.randomness import generator


class DataModule(pl.LightningDataModule):
    """Serves batches (inputs, labels, index), each fetched with one indexing operation.

    The order of a training epoch is a permutation that depends on (seed, epoch) alone. Of each
    global batch, process r of R gets rows r, r + R, …; the last training batch of an epoch, if it
    is not full, is left out (another one each epoch), so that every step has the same weight. In
    validation and test each input is served once, to one process.

    Args:
        dataset: what to serve.
        val_size: validation examples, a number or a fraction, split off the training inputs.
        batch_size: of the global training batch; None for all of the training split at once
            (gradient descent). A larger one than the split is all of it, too.
        eval_batch_size: in validation and test.
        num_workers: worker processes that fetch; 0 fetches in this one, which is the faster.
        seed: of the split and the order.

    Raises:
        ValueError: ``val_size`` leaves a split empty, or the processes do not divide the batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        val_size: int | float,
        batch_size: int | None = 128,
        eval_batch_size: int = 500,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.dataset = dataset
        self.train_index, self.val_index = stratified_split(dataset.train_labels, val_size, seed)
        self.batch_size = min(batch_size or len(self.train_index), len(self.train_index))
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed

    def train_inputs(self) -> torch.Tensor:
        """The inputs of the training split: what preprocessing may be fitted on."""
        return self.dataset.train_inputs.index_select(0, self.train_index)

    def sample(self, n: int, *key: int) -> torch.Tensor:
        """Indices of ``n`` training examples (all, if there are fewer), drawn by ``key``."""
        order = torch.randperm(len(self.train_index), generator=generator(*key))
        return self.train_index[order[:n]]

    def train_dataloader(self) -> DataLoader:
        """Shuffled batches of the training split."""
        return self._loader(
            _Rows(self.dataset.train_inputs, self.dataset.train_labels),
            _Batches(self.train_index, self.batch_size, *self._process(), shuffle_seed=self.seed),
        )

    def val_dataloader(self) -> DataLoader:
        """The validation split in order."""
        return self._loader(
            _Rows(self.dataset.train_inputs, self.dataset.train_labels),
            _Batches(self.val_index, self.eval_batch_size, *self._process()),
        )

    def test_dataloader(self) -> DataLoader:
        """The test set in order."""
        return self._loader(
            _Rows(self.dataset.test_inputs, self.dataset.test_labels),
            _Batches(
                torch.arange(len(self.dataset.test_labels)), self.eval_batch_size, *self._process()
            ),
        )

    def _process(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, rows: "_Rows", batches: "_Batches") -> DataLoader:
        return _Loader(
            rows,
            sampler=batches,
            batch_size=None,  # the sampler gives whole batches
            collate_fn=_as_is,
            num_workers=self.num_workers,
            pin_memory=bool(self.trainer) and self.trainer.strategy.root_device.type == "cuda",
        )


class _Loader(DataLoader):
    """A DataLoader that, where nothing but fetching is to be done, takes a fifth of the time.

    It counts the batches of an epoch that it has handed out, and goes on from there in a run that
    is resumed: Lightning keeps its state in checkpoints.
    """

    handed_out = 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        self.handed_out = self.sampler.first
        plain = not (self.num_workers or self.pin_memory)
        for batch in map(self.dataset.__getitem__, self.sampler) if plain else super().__iter__():
            self.handed_out += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where in which epoch."""
        return {"epoch": self.sampler.epoch, "batches": self.handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on there."""
        self.sampler.epoch, self.sampler.first = state["epoch"], state["batches"]


class _Rows(torch.utils.data.Dataset):
    """Whole batches by a tensor of indices."""

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor):
        self.inputs, self.labels = inputs, labels

    def __getitem__(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        # index_select copies rows; inputs[index] walks elements, at a tenth of its speed
        return self.inputs.index_select(0, index), self.labels.index_select(0, index), index


class _Batches(torch.utils.data.Sampler):
    """The indices of each batch that this process serves."""

    def __init__(
        self,
        index: torch.Tensor,
        batch_size: int,
        rank: int,
        ranks: int,
        shuffle_seed: int | None = None,
    ):
        self.index, self.batch_size = index, batch_size
        self.rank, self.ranks = rank, ranks
        self.shuffle_seed = shuffle_seed
        self.epoch = 0
        self.first = 0  # batches of this epoch that are left out, because they are done
        if shuffle_seed is not None and batch_size % ranks:
            raise ValueError(
                f"a global batch of {batch_size} does not divide among {ranks} processes; "
                f"use data.batch_size={max(batch_size // ranks, 1) * ranks}"
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next pass serves; Lightning calls it."""
        if epoch != self.epoch:
            self.epoch, self.first = epoch, 0

    def __len__(self) -> int:
        if self.shuffle_seed is not None:
            return len(self.index) // self.batch_size
        return -(-len(self.index) // self.batch_size)

    def __iter__(self) -> Iterator[torch.Tensor]:
        index = self.index
        if self.shuffle_seed is not None:
            order = torch.randperm(len(index), generator=generator(self.shuffle_seed, self.epoch))
            index = index[order]
        for batch in index.split(self.batch_size)[self.first : len(self)]:
            yield batch[self.rank :: self.ranks]


def _as_is(batch):
    return batch
