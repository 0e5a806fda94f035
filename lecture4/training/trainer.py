"""The Lightning Trainer that every run uses."""

import os
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from lecture4.support.private import has_amx_tiles
from lecture4.training import callbacks


def make_trainer(
    options: dict[str, Any],
    folder: str | os.PathLike,
    loggers: Sequence[Logger],
    seed: int,
    hyperparameters: dict[str, Any],
    every_n_steps: int | None = None,
) -> pl.Trainer:
    """Build a Trainer that shows progress and leaves checkpoints, results and figures in a folder.

    Args:
        options: arguments of ``pytorch_lightning.Trainer``. ``accelerator="auto"`` is a CUDA GPU
            if there is one, else the CPU; for ``precision="auto"`` see ``fastest_precision``.
        folder: of the run.
        loggers: where each epoch's row goes.
        seed: of the run, for the record.
        hyperparameters: of the run, for its loggers.
        every_n_steps: save ``last.ckpt`` so often within an epoch, too.
    """
    progress = callbacks.Progress()
    return bare_trainer(
        options,
        [
            callbacks.LayerTable(),
            progress,
            callbacks.best_checkpoint(f"{folder}/checkpoints"),
            *callbacks.last_checkpoints(f"{folder}/checkpoints", every_n_steps),
            callbacks.Results(folder, progress, seed),
            callbacks.Records(folder, hyperparameters),
        ],
        logger=list(loggers),
        plugins=[callbacks.AtomicCheckpointIO()],
    )


def bare_trainer(
    options: dict[str, Any], listeners: Sequence[pl.Callback], **more: Any
) -> pl.Trainer:
    """Build a Trainer that says and leaves nothing but what its callbacks do.

    Args:
        options: as ``make_trainer``'s.
        listeners: the callbacks.
        more: further arguments of ``pytorch_lightning.Trainer``.
    """
    if options["accelerator"] == "auto":
        options = {**options, "accelerator": "gpu" if torch.cuda.is_available() else "cpu"}
    if options["precision"] == "auto":
        options = {**options, "precision": fastest_precision(options["accelerator"])}
    # Deterministic mode would also fill every new tensor, against operations that read what they
    # have not written; there are none here, and it costs a pass over memory.
    torch.utils.deterministic.fill_uninitialized_memory = False
    return pl.Trainer(
        **options,
        enable_progress_bar=False,  # ours says more and costs less
        enable_model_summary=False,  # the layer table
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the DataModule shares out each batch
        callbacks=list(listeners),
        **more,
    )


def fastest_precision(accelerator: str) -> str:
    """``bf16-mixed`` where the hardware multiplies bfloat16 matrices itself, else ``32-true``.

    That is NVIDIA's GPUs from Ampere on, and processors with AMX tiles. Weights and their updates
    stay in float32; convolutions and matrix products round their inputs to 8 bits of mantissa.
    """
    if accelerator in ("gpu", "cuda"):
        native = torch.cuda.get_device_capability() >= (8, 0)
    else:
        native = has_amx_tiles()
    return "bf16-mixed" if native else "32-true"
