"""Callbacks of a run: checkpoints, layer table, progress, pruning, results, loggers."""

from lecture4.training.callbacks.checkpoints import (
    AtomicCheckpointIO,
    EpochCheckpoint,
    StepCheckpoint,
)
from lecture4.training.callbacks.layer_table import LayerTable
from lecture4.training.callbacks.progress import Progress
from lecture4.training.callbacks.pruning import Pruned, Pruning
from lecture4.training.callbacks.records import Records
from lecture4.training.callbacks.results import Results

__all__ = [
    "AtomicCheckpointIO",
    "EpochCheckpoint",
    "LayerTable",
    "Progress",
    "Pruned",
    "Pruning",
    "Records",
    "Results",
    "StepCheckpoint",
]
