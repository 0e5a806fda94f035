"""The layer table, and the batch that does not fit."""

import pytest
import torch
from rich.console import Console

from lecture4.models import ConvNet, layer_table
from lecture4.training.callbacks import layers

BLOCKS = [
    {"channels": 6, "kernel_size": 5, "pool": {"kernel_size": 2}},
    {"channels": 16, "kernel_size": 5, "stride": 2, "norm": "batch"},
]


def test_the_table_fills_in_the_arithmetic_and_adds_up():
    rows = layer_table(ConvNet((3, 32, 32), 10, BLOCKS), (3, 32, 32))
    console = Console(width=80)
    with console.capture() as shown:
        console.print(layers.render(rows))
    text = shown.get()
    assert "(32+2·0−5)/1+1 = 28" in text
    assert "⌊(14+2·0−5)/2+1⌋ = 5" in text
    assert "6×28×28" in text
    assert f"{6 * 28 * 28 * 75:,}" in text
    assert f"{456 + 2400 + 32 + 170:,}" in text  # conv, conv, norm, scores
    assert "…" not in text


def test_the_table_appears_once_before_training(job, capsys):
    job("model=mlp", "model.hidden=[7]", "trainer.max_epochs=1")
    text = capsys.readouterr().out
    assert text.count("multiply-adds") == 1
    assert f"{3072 * 7:,}" in text
    assert text.index("multiply-adds") < text.index("epoch   1/1")


def test_memory_is_estimated_from_the_layers():
    rows = layer_table(ConvNet((3, 32, 32), 10, BLOCKS[:1]), (3, 32, 32))
    numbers = 6 * 28 * 28 + 6 * 14 * 14 + 6 * 14 * 14 + 6 + 10  # each layer's output
    assert layers.batch_bytes(rows, (3, 32, 32), 100) == 100 * (numbers * 8 + 3072 * 9)


def test_a_batch_that_does_not_fit_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(layers, "_available_memory", lambda: 2**30)
    cpu = torch.device("cpu")
    layers._refuse_if_too_large(2**30, 10, cpu)
    with pytest.raises(ValueError, match=r"45,000 needs about 3.0 GiB.*1.0 GiB.*data.batch_size"):
        layers._refuse_if_too_large(3 * 2**30, 45_000, cpu)


def test_available_memory_is_a_plausible_number_of_bytes():
    assert 2**26 < layers._available_memory() < 2**50
