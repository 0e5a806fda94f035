"""What watches a run."""

from lecture4.callbacks.checkpoints import AtomicCheckpointIO, best_checkpoint, last_checkpoints
from lecture4.callbacks.layers import LayerTable
from lecture4.callbacks.progress import Progress
from lecture4.callbacks.records import Records
from lecture4.callbacks.results import Results

__all__ = [
    "AtomicCheckpointIO",
    "LayerTable",
    "Progress",
    "Records",
    "Results",
    "best_checkpoint",
    "last_checkpoints",
]
