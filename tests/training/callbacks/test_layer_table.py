"""The layer table."""

from rich.console import Console

from lecture4.models import ConvNet, layer_rows
from lecture4.training.callbacks.layer_table import as_table

BLOCKS = [
    {"channels": 6, "kernel_size": 5, "pool": {"kernel_size": 2}},
    {"channels": 16, "kernel_size": 5, "stride": 2, "norm": "batch"},
]


def test_the_table_fills_in_the_arithmetic_and_adds_up():
    rows = layer_rows(ConvNet((3, 32, 32), 10, BLOCKS), (3, 32, 32))
    console = Console(width=80)
    with console.capture() as shown:
        console.print(as_table(rows))
    text = shown.get()
    assert "(32+2·0−5)/1+1 = 28" in text
    assert "⌊(14+2·0−5)/2+1⌋ = 5" in text
    assert "6×28×28" in text
    assert f"{6 * 28 * 28 * 75:,}" in text
    assert f"{456 + 2400 + 32 + 170:,}" in text  # conv, conv, norm, scores
    assert "…" not in text


def test_the_table_appears_once_before_training(job, capsys, written):
    file = written("class ReLU:\n    def forward(self, x): return x\n")
    job("model=mlp", "model.hidden=[7]", "trainer.max_epochs=1", f"formulas={file}")
    text = capsys.readouterr().out
    assert "ReLU: classes of layers are not used" in text
    assert text.count("multiply-adds") == 1
    assert f"{3072 * 7:,}" in text
    assert text.index("multiply-adds") < text.index("epoch   1/1")
