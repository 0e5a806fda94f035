"""Callbacks of a run: checkpoints, layer table, progress, results, loggers."""

from lecture4.training.callbacks.checkpoints import (
    AtomicCheckpointIO,
    EpochCheckpoint,
    StepCheckpoint,
)
from lecture4.training.callbacks.layer_table import LayerTable
from lecture4.training.callbacks.progress import Progress
from lecture4.training.callbacks.records import Records
from lecture4.training.callbacks.results import Results

__all__ = [
    "AtomicCheckpointIO",
    "EpochCheckpoint",
    "LayerTable",
    "Progress",
    "Records",
    "Results",
    "StepCheckpoint",
]
