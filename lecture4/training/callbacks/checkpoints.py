"""Checkpoints of the best epoch and the last, written atomically."""

import io
import os
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint

from lecture4.support.files import write_atomically
from lecture4.training.checkpoint import read_checkpoint


class EpochCheckpoint(ModelCheckpoint):
    """Saves ``NAME.ckpt``: the newest epoch, or the best by ``monitor`` and ``mode``."""

    on_train_batch_end = pl.Callback.on_train_batch_end  # saves after epochs only
    state_key = ""  # Lightning's property formats every setting, several times in each step

    def __init__(self, folder: str | os.PathLike, name: str, **choice):
        super().__init__(
            folder, name, save_on_train_epoch_end=True, enable_version_counter=False, **choice
        )
        self.state_key = f"{type(self).__name__} {name}"

    def load_state_dict(self, state_dict):
        """Restore the best so far, with paths in this run's directory.

        Raises:
            ValueError, OSError: its file, which may be tested at the end, cannot be read.
        """
        mine = str(Path(self.dirpath) / f"{self.filename}.ckpt")
        if self.monitor and state_dict["best_k_models"]:
            read_checkpoint(Path(mine))
        best = dict.fromkeys([mine][: len(state_dict["best_k_models"])], state_dict["kth_value"])
        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: mine if state_dict[name] else "" for name in paths}
        here = {"dirpath": self.dirpath, "best_k_models": best}
        super().load_state_dict({**state_dict, **moved, **here})


class StepCheckpoint(pl.Callback):
    """Saves ``last.ckpt`` every ``every_n_steps`` steps of an epoch, except after its last.

    The DataModule ends a chunk of batches at each of these steps.
    """

    def __init__(self, folder: str | os.PathLike, every_n_steps: int):
        self.path, self.every_n_steps = Path(folder) / "last.ckpt", every_n_steps

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Save if the chunk ends at such a step."""
        if pl_module.record.steps % self.every_n_steps == 0 and not trainer.is_last_batch:
            trainer.save_checkpoint(self.path)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Replaces a checkpoint atomically: a killed process keeps the previous file."""

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        """Save ``checkpoint`` at ``path``.

        Raises:
            OSError: it cannot be written; the previous file is unchanged.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        for left_by_a_killed_process in path.parent.glob(f".{path.name}.*"):
            left_by_a_killed_process.unlink(missing_ok=True)
        content = io.BytesIO()  # torch's file writer hides the system's error on a full disk
        torch.save(checkpoint, content)
        write_atomically(path, content.getbuffer())

    def load_checkpoint(self, path, map_location=None, weights_only=True):
        """Load tensors and plain values from ``path``, always on the CPU.

        Raises:
            ValueError: names the file, see ``lecture4.training.checkpoint.read_checkpoint``.
        """
        return read_checkpoint(Path(path))
