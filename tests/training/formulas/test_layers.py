"""Runs with the formulas of a file."""

from pathlib import Path

import pytest
import torch
from running import weights_of

from lecture4.byhand.numerical import relative_error

SOLVED = Path(__file__).parent / "solved"
CONVNET = [
    "model=convnet",
    "model.blocks=[{channels: 4, stride: 2, padding: 1, norm: batch, pool: {kernel_size: 2}},"
    "{channels: 6, kernel_size: [3, 3], padding: 1, norm: batch}]",
    "trainer.max_epochs=2",
    "data.batch_size=48",
]


@pytest.fixture(scope="module")
def by_hand():
    """Weights of formulas=byhand, measured once for each set of overrides."""
    return {}


@pytest.mark.parametrize("style", ["torch_style", "pairs", "course"])
def test_a_convnet_ends_with_the_weights_of_byhand(style, job, by_hand, capsys):
    if not by_hand:
        _, folder = job(*CONVNET, "formulas=byhand", "trainer.precision=64-true")
        by_hand |= weights_of(folder)
        assert "formula" not in capsys.readouterr().out
    _, folder = job(*CONVNET, f"formulas={SOLVED / style}.py", "trainer.precision=64-true")
    found = weights_of(folder)
    assert found.keys() == by_hand.keys()
    for name, wanted in by_hand.items():
        assert relative_error(found[name], wanted) <= 1e-10, name
    out = capsys.readouterr().out
    print(out)
