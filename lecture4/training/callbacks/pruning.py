"""Stop a run that falls behind others."""

from collections.abc import Callable

import pytorch_lightning as pl


class Pruned(Exception):  # noqa: N818, like Optuna's TrialPruned
    """A run was stopped because its validation accuracy fell behind."""


class Pruning(pl.Callback):
    """Reports the validation accuracy of each epoch, and stops the run if the answer is true.

    Args:
        report: takes the epoch, from 0, and its accuracy; returns whether to stop. The answer after
            the last epoch does not count.
    """

    def __init__(self, report: Callable[[int, float], bool]):
        self.report = report

    def on_train_epoch_end(self, trainer, pl_module):
        """Report an epoch.

        Raises:
            Pruned: the run falls behind.
        """
        epoch, accuracy = trainer.current_epoch, pl_module.metrics["val/accuracy"]
        if self.report(epoch, accuracy) and epoch + 1 < trainer.max_epochs:
            raise Pruned(
                f"validation accuracy {accuracy:.2%} after epoch {epoch + 1}/{trainer.max_epochs} "
                f"fell behind"
            )
