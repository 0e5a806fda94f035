"""Checkpoints: the best epoch and the last, each whole or not there."""

import os
from pathlib import Path

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint


def best_checkpoint(folder: str | os.PathLike) -> ModelCheckpoint:
    """``best.ckpt``: the epoch of highest validation accuracy, the earliest of equals."""
    return ModelCheckpoint(
        folder,
        "best",
        monitor="val/accuracy",
        mode="max",
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


def last_checkpoint(folder: str | os.PathLike) -> ModelCheckpoint:
    """``last.ckpt``: the newest epoch, improved or not."""
    return ModelCheckpoint(
        folder, "last", save_on_train_epoch_end=True, enable_version_counter=False
    )


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
