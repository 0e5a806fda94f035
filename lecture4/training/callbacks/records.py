"""Log a run's hyperparameters, figures and outcome."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lecture4.support.console import make_console
from lecture4.support.outputs import Outputs
from lecture4.training.callbacks.pruning import Pruned
from lecture4.training.loggers import MLflow, TensorBoard, Wandb


class Records(pl.Callback):
    """Logs hyperparameters, figures, the best epoch's metrics and the outcome.

    It must come after ``Results``, which draws the figures into the run's ``folder``. From the test
    on, an error of a logger is printed and does not affect the run or the other loggers.
    """

    def __init__(self, folder: str | os.PathLike, hyperparameters: dict[str, Any]):
        self.folder = Path(folder)
        self.hyperparameters = hyperparameters
        self.outputs = Outputs()

    def setup(self, trainer, pl_module, stage):
        """Log the hyperparameters."""
        if stage == "fit":
            for logger in loggers_with_outcome(trainer):
                logger.log_hyperparams(self.hyperparameters)

    def on_test_end(self, trainer, pl_module):
        """Log those metrics of the tested checkpoint that there are, and the figures."""
        m, step = pl_module.metrics, trainer.global_step
        names = ("test/accuracy", "test_time/accuracy", "val/accuracy", "val/loss")
        best = {f"best/{name.replace('/', '_')}": m[name] for name in names if name in m}
        for logger in loggers_with_outcome(trainer):
            logger.outcome = "finished"
            self.outputs.write(_name(logger), partial(self._log, logger, best, step))

    def teardown(self, trainer, pl_module, stage):
        """Finalize the loggers after the test."""
        if stage == "test":
            self._finalize(trainer, "success")

    def on_exception(self, trainer, pl_module, exception):
        """Set the outcome, and finalize the loggers."""
        stopped = isinstance(exception, KeyboardInterrupt | SIGTERMException | Pruned)
        for logger in loggers_with_outcome(trainer):
            logger.outcome = logger.outcome or ("killed" if stopped else "failed")
        self._finalize(trainer, "failed")

    def _finalize(self, trainer: pl.Trainer, status: str) -> None:
        """Finalize each logger; Lightning would stop at the first one that fails."""
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            self.outputs.write(_name(logger), partial(logger.finalize, status))
        trainer.loggers = []  # which Lightning would finalize again
        self.outputs.report(self.folder)

    def _log(self, logger: TensorBoard | Wandb | MLflow, best: dict[str, float], step: int):
        logger.log_metrics(best, step)
        for picture in sorted(self.folder.glob("figures/*.png")):
            logger.log_figure(picture, step)
        if logger.viewer:
            make_console().print(logger.viewer, soft_wrap=True)


def _name(logger: Logger) -> str:
    return f"the record of {type(logger).__name__}"


def loggers_with_outcome(trainer: pl.Trainer) -> list[TensorBoard | Wandb | MLflow]:
    """The loggers that have an outcome, on rank 0; none elsewhere."""
    if not trainer.is_global_zero:
        return []
    return [log for log in trainer.loggers if isinstance(log, TensorBoard | Wandb | MLflow)]
