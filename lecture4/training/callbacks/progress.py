"""The progress bar, and one line for each epoch."""

import time

import pytorch_lightning as pl
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from lecture4.support.console import make_console


class Progress(pl.Callback):
    """Shows epoch, steps, images per second and time left; measures the run's pace.

    The bar counts batches. It is redrawn twice a second at most, and only on a terminal.

    Attributes:
        train_seconds: wall time of fitting, from the first batch on, including validation.
    """

    REDRAW = 0.5  # seconds between redraws of the bar

    def __init__(self):
        self.train_seconds = 0.0
        self._since: float | None = None  # when ``train_seconds`` was last updated
        self._bar: Bar | None = None
        self._batches_seconds = 0.0
        self._images = 0

    @property
    def images_per_second(self) -> float:
        """Training images over the wall time of training batches, without validation."""
        return self._images / self._batches_seconds if self._batches_seconds else 0.0

    def on_fit_start(self, trainer, pl_module):
        """Open the console; it is quiet except on rank 0."""
        self._console = make_console(quiet=not trainer.is_global_zero)

    def on_train_start(self, trainer, pl_module):
        """Start the clocks and, on a terminal, the bar over all steps of the run."""
        self._since = self._epoch_start = time.perf_counter()
        self._first_step = pl_module.record.steps
        if not self._console.is_terminal or not trainer.is_global_zero:
            return
        self._bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps, {task.fields[rate]:,.0f} images/s,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task(
            "", total=trainer.max_epochs * trainer.datamodule.steps_per_epoch, epoch="", rate=0.0
        )
        self._bar.start()
        self._redraw_at = 0.0

    def on_train_epoch_start(self, trainer, pl_module):
        """Start the epoch's clock."""
        self._epoch_start, self._first_step = time.perf_counter(), 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Stop the epoch's clock after its last batch; redraw the bar every ``REDRAW`` seconds."""
        if trainer.is_last_batch:
            self._count_epoch(trainer.datamodule)
        if self._bar is None or (now := time.perf_counter()) < self._redraw_at:
            return
        self._redraw_at = now + self.REDRAW
        images = (pl_module.record.steps - self._first_step) * trainer.datamodule.batch_size
        self._bar.update(
            self._task,
            completed=trainer.global_step,
            epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
            rate=images / (now - self._epoch_start),
            refresh=True,
        )

    def on_train_epoch_end(self, trainer, pl_module):
        """Print the epoch's line."""
        m = pl_module.metrics
        measured = "".join(
            f"   {split} loss {m[f'{split}/loss']:.3f}  accuracy {m[f'{split}/accuracy']:6.2%}"
            for split in ("train", "val")
            if f"{split}/loss" in m
        )
        self._console.print(
            f"epoch {trainer.current_epoch + 1:>3}/{trainer.max_epochs}{measured}"
            f"   {self._images_of_epoch / self._seconds_of_epoch:7,.0f} images/s",
            soft_wrap=True,
        )

    def on_fit_end(self, trainer, pl_module):
        """Stop the clock and remove the bar."""
        self._count()
        self._close()

    def on_exception(self, trainer, pl_module, exception):
        """Remove the bar."""
        self._close()

    def state_dict(self):
        """The clocks and the number of images, for a resumed run."""
        self._count()
        return {
            "train_seconds": self.train_seconds,
            "batches_seconds": self._batches_seconds,
            "images": self._images,
        }

    def load_state_dict(self, state_dict):
        """Continue the clocks of the interrupted run."""
        self.train_seconds = state_dict["train_seconds"]
        self._batches_seconds, self._images = state_dict["batches_seconds"], state_dict["images"]

    def _count_epoch(self, data):
        """Measure the pace of an epoch's batches, without validation."""
        self._images_of_epoch = (data.steps_per_epoch - self._first_step) * data.batch_size
        self._seconds_of_epoch = time.perf_counter() - self._epoch_start
        self._images += self._images_of_epoch
        self._batches_seconds += self._seconds_of_epoch

    def _count(self):
        """Update ``train_seconds``; the clock starts with the first batch."""
        if self._since is not None:
            now = time.perf_counter()
            self.train_seconds += now - self._since
            self._since = now

    def _close(self):
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
