"""What watches a run."""

from lecture4.training.callbacks.checkpoints import (
    AtomicCheckpointIO,
    best_checkpoint,
    last_checkpoints,
)
from lecture4.training.callbacks.layer_table import LayerTable
from lecture4.training.callbacks.progress import Progress
from lecture4.training.callbacks.records import Records
from lecture4.training.callbacks.results import Results

__all__ = [
    "AtomicCheckpointIO",
    "LayerTable",
    "Progress",
    "Records",
    "Results",
    "best_checkpoint",
    "last_checkpoints",
]
