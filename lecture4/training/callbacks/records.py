"""Log a run's hyperparameters, figures and outcome."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lecture4.support.console import make_console
from lecture4.training.callbacks.pruning import Pruned
from lecture4.training.loggers import MLflow, TensorBoard, Wandb


class Records(pl.Callback):
    """Logs hyperparameters, figures, the best epoch's metrics and the outcome.

    It must come after ``Results``, which draws the figures into the run's ``folder``.
    """

    def __init__(self, folder: str | os.PathLike, hyperparameters: dict[str, Any]):
        self.folder = Path(folder)
        self.hyperparameters = hyperparameters

    def setup(self, trainer, pl_module, stage):
        """Log the hyperparameters."""
        if stage == "fit":
            for logger in loggers_with_outcome(trainer):
                logger.log_hyperparams(self.hyperparameters)

    def on_test_end(self, trainer, pl_module):
        """Log those metrics of the tested checkpoint that there are, and the figures."""
        m = pl_module.metrics
        names = ("test/accuracy", "test_time/accuracy", "val/accuracy", "val/loss")
        best = {f"best/{name.replace('/', '_')}": m[name] for name in names if name in m}
        pictures = sorted(self.folder.glob("figures/*.png"))
        for logger in loggers_with_outcome(trainer):
            logger.log_metrics(best, trainer.global_step)
            for picture in pictures:
                logger.log_figure(picture, trainer.global_step)
            logger.outcome = "finished"
            if logger.viewer:
                make_console().print(logger.viewer, soft_wrap=True)

    def on_exception(self, trainer, pl_module, exception):
        """Set the outcome; Lightning finalizes the loggers next."""
        stopped = isinstance(exception, KeyboardInterrupt | SIGTERMException | Pruned)
        for logger in loggers_with_outcome(trainer):
            logger.outcome = "killed" if stopped else "failed"


def loggers_with_outcome(trainer: pl.Trainer) -> list[TensorBoard | Wandb | MLflow]:
    """The loggers that have an outcome, on rank 0; none elsewhere."""
    if not trainer.is_global_zero:
        return []
    return [log for log in trainer.loggers if isinstance(log, TensorBoard | Wandb | MLflow)]
