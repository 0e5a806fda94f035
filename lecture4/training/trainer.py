"""The Lightning Trainer that every run uses."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from lecture4.support.memory import keep_freed_memory
from lecture4.support.private import has_amx_tiles
from lecture4.training import callbacks

# settings of conf/trainer that train.py and the training step apply themselves
NOT_LIGHTNINGS = ("compile", "cuda_graph", "gradient_clip_val")


def make_trainer(
    options: dict[str, Any],
    folder: str | os.PathLike,
    loggers: Sequence[Logger],
    seed: int,
    hyperparameters: dict[str, Any],
    every_n_steps: int | None = None,
    report: Callable[[int, float], bool] | None = None,
    validates: bool = True,
) -> pl.Trainer:
    """Build a Trainer that shows progress and writes checkpoints, results and figures.

    Args:
        options: arguments of ``pytorch_lightning.Trainer``. ``accelerator="auto"`` is a CUDA GPU
            if there is one, else the CPU; for ``precision="auto"`` see ``fastest_precision``.
        folder: of the run.
        loggers: record the metrics of each epoch.
        seed: of the run, for results.json.
        hyperparameters: of the run, for its loggers.
        every_n_steps: also save ``last.ckpt`` after this number of steps within an epoch.
        report: takes each epoch's validation accuracy, see ``callbacks.Pruning``.
        validates: whether there is a validation split, which chooses ``best.ckpt``.
    """
    checkpoints, progress = f"{folder}/checkpoints", callbacks.Progress()
    best = callbacks.EpochCheckpoint(checkpoints, "best", monitor="val/accuracy", mode="max")
    return bare_trainer(
        options,
        [
            callbacks.LayerTable(),
            progress,
            *([best] if validates else []),
            *([callbacks.StepCheckpoint(checkpoints, every_n_steps)] if every_n_steps else []),
            callbacks.EpochCheckpoint(checkpoints, "last"),
            callbacks.Results(folder, progress, seed),
            callbacks.Records(folder, hyperparameters),
            *([callbacks.Pruning(report)] if report else []),
        ],
        logger=list(loggers),
        plugins=[callbacks.AtomicCheckpointIO()],
        limit_val_batches=None if validates else 0,
    )


def bare_trainer(
    options: dict[str, Any], listeners: Sequence[pl.Callback], **more: Any
) -> pl.Trainer:
    """Build a Trainer that prints and writes only what its callbacks and loggers do.

    Args:
        options: as ``make_trainer``'s.
        listeners: the callbacks.
        more: further arguments of ``pytorch_lightning.Trainer``.
    """
    if options["accelerator"] == "auto":
        options = {**options, "accelerator": "gpu" if torch.cuda.is_available() else "cpu"}
    if options["precision"] == "auto":
        options = {**options, "precision": fastest_precision(options["accelerator"])}
    options = {name: value for name, value in options.items() if name not in NOT_LIGHTNINGS}
    # Deterministic mode also fills every uninitialized tensor, which costs a pass over memory and
    # changes nothing: no operation here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False
    keep_freed_memory()
    return pl.Trainer(
        **options,
        enable_progress_bar=False,  # replaced by callbacks.Progress
        enable_model_summary=False,  # replaced by callbacks.LayerTable
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the DataModule splits each batch among processes
        callbacks=list(listeners),
        **more,
    )


def fastest_precision(accelerator: str) -> str:
    """``bf16-mixed`` if the hardware multiplies bfloat16 matrices, else ``32-true``.

    NVIDIA's GPUs do since Ampere, and processors with AMX tiles. Weights and their updates
    stay in float32; convolutions and matrix products round their inputs to 8 bits of mantissa.
    """
    if accelerator in ("gpu", "cuda"):
        native = torch.cuda.get_device_capability() >= (8, 0)
    else:
        native = has_amx_tiles()
    return "bf16-mixed" if native else "32-true"
