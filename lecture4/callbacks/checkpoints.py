"""Checkpoints: the best epoch and the last, each whole or not there."""

import os
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint


class EpochCheckpoint(ModelCheckpoint):
    """A ModelCheckpoint that saves when an epoch ends, and has nothing to ask after a batch."""

    on_train_batch_end = pl.Callback.on_train_batch_end

    def __init__(self, folder: str | os.PathLike, name: str, **choice):
        super().__init__(
            folder, name, save_on_train_epoch_end=True, enable_version_counter=False, **choice
        )


def best_checkpoint(folder: str | os.PathLike) -> ModelCheckpoint:
    """``best.ckpt``: the epoch of highest validation accuracy, the earliest of equals."""
    return EpochCheckpoint(folder, "best", monitor="val/accuracy", mode="max")


def last_checkpoint(folder: str | os.PathLike) -> ModelCheckpoint:
    """``last.ckpt``: the newest epoch, improved or not."""
    return EpochCheckpoint(folder, "last")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the old file and renames, so that a kill leaves the old file or the new."""

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        """Save ``checkpoint`` at ``path``."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            torch.save(checkpoint, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
