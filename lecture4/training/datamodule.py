"""Lightning's DataModule: whole batches of a dataset in memory."""

import pytorch_lightning as pl
import torch

from lecture4.data.batches import InOrder, Loader, ResumableLoader, Rows, Shuffled
from lecture4.data.dataset import Dataset
from lecture4.data.randomness import generator

CHUNK = 16  # batches per call of training_step
MOST_BYTES = 2**24  # of raw inputs fetched at once: a chunk in training, a batch in validation


class DataModule(pl.LightningDataModule):
    """Serves batches (inputs, labels, index), each fetched with one indexing operation.

    In training, Lightning's batch is a chunk: a list of ``CHUNK`` batches. The order of an epoch is
    a permutation determined by (seed, epoch). Process r of R gets rows r, r + R, … of each global
    batch. An incomplete last training batch is dropped, so that every step has the same weight. In
    validation and test each input is served once, to one process.

    Args:
        dataset: in memory, or mapped into it.
        val_size: validation examples, a number or a fraction, split off the training inputs; 0 for
            none; unused if the dataset has validation examples of its own.
        batch_size: of the global training batch; None for all of the training split at once
            (gradient descent). Larger values are capped at the size of the split.
        eval_batch_size: in validation and test; fewer, if the inputs take more than ``MOST_BYTES``.
        num_workers: worker processes that fetch; 0 fetches in this process, which is faster.
        train_share: fraction of the training batches in an epoch, in (0, 1].
        device: ``auto`` keeps the dataset on the training GPU if it takes at most half of the free
            memory there; ``cpu`` keeps it in main memory.
        every_n_steps: end a chunk after every ``every_n_steps`` batches, for a checkpoint.
        seed: of the split and the order.

    Raises:
        ValueError: ``val_size`` leaves a split empty, or the processes do not divide the batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        val_size: int | float,
        batch_size: int | None = 128,
        eval_batch_size: int = 500,
        num_workers: int = 0,
        train_share: float = 1.0,
        device: str = "auto",
        every_n_steps: int | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.dataset = dataset
        self.train_index, self.val_index = dataset.split(val_size, seed)
        self.batch_size = min(batch_size or len(self.train_index), len(self.train_index))
        self._of_input = dataset.train_inputs.nbytes // len(dataset.train_inputs)  # bytes
        self.eval_batch_size = max(1, min(eval_batch_size, MOST_BYTES // self._of_input))
        self.num_workers = num_workers
        self.train_share = train_share
        self.device = device
        self.every_n_steps = every_n_steps
        self.seed = seed
        self._resident: dict[str, Rows] = {}  # on the GPU

    @property
    def steps_per_epoch(self) -> int:
        """Training batches of an epoch, each a step of gradient descent."""
        return self._shuffled().steps

    def train_inputs(self) -> torch.Tensor:
        """A copy of the inputs of the training split."""
        return self.dataset.train_inputs.index_select(0, self.train_index)

    def sample(self, n: int, *key: int) -> torch.Tensor:
        """Indices of ``n`` training examples (all, if there are fewer), drawn by ``key``."""
        order = torch.randperm(len(self.train_index), generator=generator(*key))
        return self.train_index[order[:n]]

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled batches of the training split, in chunks."""
        rows = self._rows("train")
        return ResumableLoader(rows, self._shuffled(rows.labels.device), **self._fetching(rows))

    def val_dataloader(self) -> Loader:
        """The validation split in order."""
        return self._in_order("train", self.val_index)

    def test_dataloader(self) -> Loader:
        """The test set in order."""
        return self._in_order("test", torch.arange(len(self.dataset.test_labels)))

    predict_dataloader = test_dataloader

    def _in_order(self, part: str, index: torch.Tensor) -> Loader:
        rows = self._rows(part)
        index = index.to(rows.labels.device)
        sampler = InOrder(index, self.eval_batch_size, *self._process())
        return Loader(rows, sampler=sampler, **self._fetching(rows))  # named, for Trainer.predict

    def _shuffled(self, device: torch.device | str = "cpu") -> Shuffled:
        return Shuffled(
            self.train_index.to(device),
            self.batch_size,
            *self._process(),
            seed=self.seed,
            share=self.train_share,
            chunk=max(1, min(CHUNK, MOST_BYTES // (self._of_input * self.batch_size))),
            every_n_steps=self.every_n_steps,
        )

    def _process(self) -> tuple[int, int]:
        """Rank of this process, and the number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _rows(self, part: str) -> Rows:
        """Inputs and labels of a part, on the GPU if they fit there."""
        if part in self._resident:
            return self._resident[part]
        inputs = getattr(self.dataset, f"{part}_inputs")
        labels = getattr(self.dataset, f"{part}_labels")
        device = self._trains_on()
        if device.type == "cuda" and self.device == "auto":
            free, _ = torch.cuda.mem_get_info(device)
            if inputs.nbytes <= free // 2:
                self._resident[part] = Rows(inputs.to(device), labels.to(device))
                return self._resident[part]
        return Rows(inputs, labels)

    def _fetching(self, rows: Rows) -> dict:
        """Number of workers, and whether to pin memory: neither for rows on the GPU."""
        if rows.labels.device.type != "cpu":
            return {"num_workers": 0, "pin_memory": False}
        return {"num_workers": self.num_workers, "pin_memory": self._trains_on().type == "cuda"}

    def _trains_on(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
