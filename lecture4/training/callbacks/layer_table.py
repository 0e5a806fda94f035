"""The layer table that a run prints first."""

import pytorch_lightning as pl
from rich.table import Table

from lecture4.models import LayerRow, layer_rows
from lecture4.support.console import make_console, make_table


class LayerTable(pl.Callback):
    """Prints each layer's output, its size as arithmetic, its parameters and multiply-adds."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the table and the precision, on rank 0."""
        if not trainer.is_global_zero:
            return
        console = make_console()
        console.print(as_table(layer_rows(pl_module.model, trainer.datamodule.dataset.input_shape)))
        console.print(f"training on {pl_module.device.type}, precision {trainer.precision}")


def as_table(rows: list[LayerRow]) -> Table:
    """Format the rows, with totals in the footer."""
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
