"""The layer table with which a run begins."""

import math
import os
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from rich.table import Table

from lecture4.models import LayerRow, layer_table
from lecture4.support.console import make_console, make_table


class LayerTable(pl.Callback):
    """Prints what each layer makes and costs, and refuses a batch that cannot fit in memory.

    Raises:
        ValueError: the activations and gradients of one batch need more memory than there is.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the table once, on the first process."""
        data = trainer.datamodule
        rows = layer_table(pl_module.model, data.dataset.input_shape)
        shared = 1 if pl_module.device.type == "cpu" else trainer.world_size
        batch_size = data.batch_size // shared  # in one memory
        needed = batch_bytes(rows, data.dataset.input_shape, batch_size)
        _refuse_if_too_large(needed, batch_size, pl_module.device)
        if trainer.is_global_zero:
            console = make_console()
            console.print(render(rows))
            console.print(
                f"training on {pl_module.device.type}, precision {trainer.precision}",
                highlight=False,
            )


def batch_bytes(rows: list[LayerRow], input_shape: Sequence[int], batch_size: int) -> int:
    """Estimated bytes of a training step.

    Each layer's output and its gradient are float32, 8 bytes a number; an input is there as bytes,
    augmented, with the index of where each pixel comes from, and as float32, about 9 bytes.
    """
    numbers = sum(math.prod(row.output_shape) for row in rows)
    return batch_size * (8 * numbers + 9 * math.prod(input_shape))


def render(rows: list[LayerRow]) -> Table:
    """The rows as a table with totals."""
    total_parameters = sum(row.parameters for row in rows)
    total_multiply_adds = sum(row.multiply_adds for row in rows)
    table = make_table(show_footer=True)
    table.add_column("layer", footer="total", no_wrap=True)
    table.add_column("output", no_wrap=True)
    table.add_column("(N + 2P − F)/S + 1", no_wrap=True)
    table.add_column("parameters", f"{total_parameters:,}", justify="right", no_wrap=True)
    table.add_column("multiply-adds", f"{total_multiply_adds:,}", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            "×".join(map(str, row.output_shape)),
            row.arithmetic,
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.multiply_adds:,}" if row.multiply_adds else "",
        )
    return table


def _refuse_if_too_large(needed: int, batch_size: int, device: torch.device) -> None:
    if device.type == "cuda":
        there, _ = torch.cuda.mem_get_info(device)
    else:
        there = _available_memory()
    if needed > there:
        raise ValueError(
            f"a batch of {batch_size:,} needs about {needed / 2**30:.1f} GiB for activations and "
            f"gradients, and {there / 2**30:.1f} GiB are free; use a smaller data.batch_size"
        )


def _available_memory() -> int:
    """Bytes that this machine can still give out; all it has, where it does not say."""
    try:
        with open("/proc/meminfo") as lines:
            fields = dict(line.split(":") for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
