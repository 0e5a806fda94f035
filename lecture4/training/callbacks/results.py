"""Write a run's results.json and figures, and print its table."""

import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lecture4.models import layer_rows
from lecture4.support.console import command_line, make_console, make_table
from lecture4.support.files import write_atomically
from lecture4.support.outputs import Outputs
from lecture4.training import figures
from lecture4.training.callbacks.progress import Progress
from lecture4.training.parameter_groups import weights


class Results(pl.Callback):
    """Writes ``results.json`` and ``figures/`` after the test, and prints where they are.

    Attributes:
        content: of results.json, once it is written; the run is complete from then on.
    """

    def __init__(self, folder: str | os.PathLike, progress: Progress, seed: int):
        self.folder = Path(folder)
        self.progress = progress
        self.seed = seed
        self.history: list[dict[str, float]] = []  # step, epoch and metrics of each epoch
        self.content: dict | None = None
        rows = self.folder / "metrics.csv"
        self._earlier_rows = rows.read_bytes() if rows.is_file() else None

    def on_fit_start(self, trainer, pl_module):
        """Rewrite metrics.csv in a resumed run: epochs after its checkpoint are trained again."""
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger) and self.history:
                for row in self.history:
                    logger.log_metrics({k: v for k, v in row.items() if k != "step"}, row["step"])
                logger.save()

    def on_train_epoch_end(self, trainer, pl_module):
        """Keep the epoch's metrics for the curves."""
        step, epoch = trainer.global_step, trainer.current_epoch
        self.history.append({"step": step, "epoch": epoch, **pl_module.metrics})

    def state_dict(self):
        """The epochs so far, for a resumed run."""
        return {"history": self.history}

    def load_state_dict(self, state_dict):
        """Restore the epochs so far."""
        self.history = state_dict["history"]

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the metrics of the tested checkpoint, draw the figures, and print a table.

        Raises:
            OSError: results.json cannot be written; the rest is done all the same.
        """
        results = self._collect(trainer, pl_module)
        if not trainer.is_global_zero:
            self.content = results
            return
        path, outputs = self.folder / "results.json", Outputs()
        try:
            write_atomically(path, json.dumps(results, indent=2) + "\n")
            self.content = results
        finally:
            self._draw(outputs, trainer.datamodule.dataset, pl_module)
            outputs.write("the table", partial(self._print, results, outputs.written))
            outputs.report(self.folder)

    def on_exception(self, trainer, pl_module, exception):
        """After Ctrl-C or SIGTERM, print what was saved and how to continue.

        CSVLogger deletes metrics.csv before Lightning reads the checkpoint: if that is refused, the
        file is restored.
        """
        rows = self.folder / "metrics.csv"
        if (
            trainer.is_global_zero
            and trainer.ckpt_path
            and self._earlier_rows
            and not rows.exists()
        ):
            write_atomically(rows, self._earlier_rows)
        stopped = isinstance(exception, KeyboardInterrupt | SIGTERMException)
        if not (stopped and trainer.is_global_zero):
            return
        epoch = f"in epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        last = self.folder / "checkpoints" / "last.ckpt"
        saved = f"{last} and metrics.csv are saved" if last.exists() else "nothing was saved yet"
        message = f"interrupted {'while testing' if trainer.testing else epoch}; {saved}"
        if (self.folder / ".hydra" / "overrides.yaml").exists():
            again = command_line("python", sys.argv[0], f"resume={self.folder}")
            message += f"; continue with {again}"
        make_console(stderr=True).print(message, soft_wrap=True)

    def _collect(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict:
        m = pl_module.metrics
        return {
            "status": "completed",
            "test_accuracy": m["test/accuracy"],
            "test_loss": m["test/loss"],
            "test_time": pl_module.test_time,
            "test_time_accuracy": m.get("test_time/accuracy"),
            "val_accuracy": m.get("val/accuracy"),
            "val_loss": m.get("val/loss"),
            "train_seconds": self.progress.train_seconds,
            "train_flops": train_flops(trainer, pl_module),
            "images_per_second": self.progress.images_per_second,
            "parameters": sum(p.numel() for p in pl_module.model.parameters()),
            "epochs": trainer.fit_loop.epoch_progress.current.completed,
            "seed": self.seed,
            "precision": trainer.precision,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "pytorch_lightning": pl.__version__,
            },
        }

    def _draw(self, outputs: Outputs, dataset, pl_module: pl.LightningModule) -> None:
        for name, draw in self._figures(dataset, pl_module).items():
            path = f"figures/{name}.png"
            outputs.write(path, partial(figures.save, draw, self.folder / path))

    def _figures(self, dataset, pl_module: pl.LightningModule) -> dict[str, Callable[[], Figure]]:
        """A function for each figure, by name."""
        inputs, labels, names = dataset.test_inputs, dataset.test_labels, dataset.class_names
        scores = pl_module.test_scores
        drawn = {
            "curves": lambda: figures.curves(self.history),
            "confusion": lambda: figures.confusion(scores.argmax(1), labels, names),
        }
        if len(dataset.input_shape) == 3:
            drawn["first_layer"] = lambda: _first_layer(pl_module.model, dataset.input_shape, names)
            drawn["mistakes"] = lambda: figures.wrong_predictions(inputs, labels, scores, names)
        elif dataset.input_shape == (2,):
            drawn["boundary"] = lambda: figures.boundary(
                inputs, labels, names, pl_module.eval().cpu()
            )
        return drawn

    def _print(self, results: dict, drawn: Sequence[str]) -> None:
        console = make_console()
        validated = results["val_accuracy"] is not None
        splits = {"val": "validation", "test": "test"} if validated else {"test": "test"}
        table = make_table()
        table.add_column("best epoch" if validated else "last epoch")
        for name in splits.values():
            table.add_column(name, justify="right")
        table.add_row("accuracy", *(f"{results[f'{s}_accuracy']:.2%}" for s in splits))
        if (accuracy := results["test_time_accuracy"]) is not None:
            blank = [""] * validated
            table.add_row(f"accuracy, {results['test_time']}", *blank, f"{accuracy:.2%}")
        table.add_row("loss", *(f"{results[f'{s}_loss']:.4f}" for s in splits))
        console.print(table)
        files = ["checkpoints/best.ckpt"] if validated else []
        files += ["checkpoints/last.ckpt", "metrics.csv"]
        files += ["results.json"] if self.content else []
        files += ["figures/"] if drawn else []
        console.print(
            f"trained {results['epochs']} epochs in {results['train_seconds']:.1f} s, "
            f"{results['images_per_second']:,.0f} images/s, {shown(results['train_flops'])}\n"
            f"{self.folder}: {', '.join(files)}",
            soft_wrap=True,
        )


def train_flops(trainer: pl.Trainer, pl_module: pl.LightningModule) -> int:
    """FLOPs of training: 2 · 3 · multiply-adds of an image's forward pass · images trained on.

    A multiply-add is two operations, and a backward pass counts as two forward passes, for every
    convolution and linear layer, frozen or not; nothing else is counted.
    """
    data = trainer.datamodule
    counts = {  # multiply-adds of an image, by its shape
        shape: sum(row.multiply_adds for row in layer_rows(pl_module.model, shape))
        for shape in set(map(pl_module.augment.shape_at, range(trainer.max_epochs)))
    }
    epochs = (step // data.steps_per_epoch for step in range(trainer.global_step))
    of_steps = sum(counts[pl_module.augment.shape_at(epoch)] for epoch in epochs)
    return 2 * pl_module.passes * of_steps * data.batch_size  # of all processes


def shown(flops: float) -> str:
    """As 0.0753 PFLOP, or 1.84 TFLOP below 0.01 PFLOP."""
    scale, unit = (1e15, "PFLOP") if flops > 1e13 else (1e12, "TFLOP")
    return f"{flops / scale:.3g} {unit}"


def _first_layer(model: torch.nn.Module, input_shape: Sequence[int], names: list[str]) -> Figure:
    first = weights(model)[0].detach().float().cpu()
    images = first.reshape(len(first), *input_shape) if first.ndim == 2 else first
    return figures.first_layer(images, names if len(weights(model)) == 1 else None)
