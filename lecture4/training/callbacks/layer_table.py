"""The layer table that a run prints first."""

from collections.abc import Mapping

import pytorch_lightning as pl
from rich.table import Table

from lecture4.models import LayerRow, layer_rows
from lecture4.support.console import make_console, make_table, printable
from lecture4.training.formulas import unused, whose


class LayerTable(pl.Callback):
    """Prints each layer's output, its size as arithmetic, its parameters and multiply-adds."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the table and the precision, on rank 0."""
        if not trainer.is_global_zero:
            return
        console = make_console()
        rows = layer_rows(pl_module.model, trainer.datamodule.dataset.input_shape)
        found = pl_module.formulas
        console.print(as_table(rows, _authors(pl_module) if found.source else None))
        if found.source:
            kinds = type(pl_module.cross_entropy), pl_module.optimizer.func
            loss, update = (whose(kind, found) for kind in kinds)
            console.print(f"loss: {loss}, {kinds[1].__name__}: {update}")
            if classes := unused(found.source):
                console.print(printable(classes))
        console.print(f"training on {pl_module.device.type}, precision {trainer.precision}")


def _authors(pl_module: pl.LightningModule) -> dict[str, str]:
    """Whose formula each layer computes, by the layer's name."""
    layers = pl_module.model.named_modules()
    return {name: whose(type(layer), pl_module.formulas) for name, layer in layers}


def as_table(rows: list[LayerRow], authors: Mapping[str, str] | None = None) -> Table:
    """Format the rows, with totals in the footer, and with a column for authors by layer."""
    total_parameters = sum(row.parameters for row in rows)
    total_multiply_adds = sum(row.multiply_adds for row in rows)
    table = make_table(show_footer=True)
    table.add_column("layer", footer="total", no_wrap=True)
    table.add_column("output", no_wrap=True)
    table.add_column("(N + 2P − F)/S + 1", no_wrap=True)
    table.add_column("parameters", f"{total_parameters:,}", justify="right", no_wrap=True)
    table.add_column("multiply-adds", f"{total_multiply_adds:,}", justify="right", no_wrap=True)
    if authors:
        table.add_column("formula", no_wrap=True)
    for row in rows:
        author = [authors[row.name]] if authors else []
        table.add_row(
            row.name,
            "×".join(map(str, row.output_shape)),
            row.arithmetic,
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.multiply_adds:,}" if row.multiply_adds else "",
            *author,
        )
    return table
