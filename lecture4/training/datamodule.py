"""The one DataModule: whole batches from memory, whatever the dataset."""

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lecture4.data.batches import Batches, Loader, Rows, as_is
from lecture4.data.dataset import Dataset, stratified_split
from lecture4.data.randomness import generator


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
        train_share: fraction, in (0, 1], of a training epoch's batches that are served.
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
        train_share: float = 1.0,
    ):
        super().__init__()
        self.dataset = dataset
        self.train_index, self.val_index = stratified_split(dataset.train_labels, val_size, seed)
        self.batch_size = min(batch_size or len(self.train_index), len(self.train_index))
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.train_share = train_share

    def train_inputs(self) -> torch.Tensor:
        """The inputs of the training split: what preprocessing may be fitted on."""
        return self.dataset.train_inputs.index_select(0, self.train_index)

    def sample(self, n: int, *key: int) -> torch.Tensor:
        """Indices of ``n`` training examples (all, if there are fewer), drawn by ``key``."""
        order = torch.randperm(len(self.train_index), generator=generator(*key))
        return self.train_index[order[:n]]

    def train_dataloader(self) -> DataLoader:
        """Shuffled batches of the training split."""
        batches = Batches(
            self.train_index, self.batch_size, *self._process(), shuffle_seed=self.seed
        )
        batches.share = self.train_share
        return self._loader(Rows(self.dataset.train_inputs, self.dataset.train_labels), batches)

    def val_dataloader(self) -> DataLoader:
        """The validation split in order."""
        return self._loader(
            Rows(self.dataset.train_inputs, self.dataset.train_labels),
            Batches(self.val_index, self.eval_batch_size, *self._process()),
        )

    def test_dataloader(self) -> DataLoader:
        """The test set in order."""
        return self._loader(
            Rows(self.dataset.test_inputs, self.dataset.test_labels),
            Batches(
                torch.arange(len(self.dataset.test_labels)), self.eval_batch_size, *self._process()
            ),
        )

    def _process(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, rows: "Rows", batches: "Batches") -> DataLoader:
        return Loader(
            rows,
            sampler=batches,
            batch_size=None,  # the sampler gives whole batches
            collate_fn=as_is,
            num_workers=self.num_workers,
            pin_memory=bool(self.trainer) and self.trainer.strategy.root_device.type == "cuda",
        )
