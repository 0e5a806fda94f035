"""Notebooks run from top to bottom; a cell checks the function above it."""

import os
import re
from unittest import mock

import nbformat
import pytest
from nbclient import NotebookClient
from running import ROOT

from lecture4.lesson.exercises import template
from lecture4.lesson.exercises.notebook import check, verdict_on

# within asyncio and zmq, which the kernel's client uses
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def run(path) -> nbformat.NotebookNode:
    book = nbformat.read(path, as_version=4)
    with mock.patch.dict(os.environ, {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}):
        NotebookClient(
            book, timeout=300, resources={"metadata": {"path": str(path.parent)}}
        ).execute()
    return book


def printed(cell) -> str:
    """What a cell printed, also through Rich, which sends HTML and text."""
    texts = (o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)
    return re.sub(r"\x1b\[[0-9;]*m", "", "".join(texts))


@pytest.mark.slow
def test_the_net_in_ten_cells_learns():
    path = ROOT / "docs" / "by-hand.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    assert sum(cell.cell_type == "code" for cell in cells) == 10
    assert not any(cell.get("outputs") for cell in cells)
    run(path)  # asserts the accuracy


@pytest.mark.slow
def test_a_new_notebook_runs_unsolved_and_its_checks_follow_what_is_written(tmp_path):
    path = tmp_path / "mine.ipynb"
    template.write(path, "pairs")
    book = nbformat.read(path, as_version=4)
    bodies = {
        "relu": ("return np.maximum(0, x), x", "return dout * (cache > 0)"),
        "tanh": ("return np.tanh(x), x", "return dout * (1 - cache)"),
        "sigmoid": ("return 1 / x, x", "return dout"),
    }
    for cell in book.cells:
        for name, solved in bodies.items():
            if cell.source.startswith(f"def {name}_forward"):
                for body in solved:
                    cell.source = cell.source.replace("raise NotImplementedError", body, 1)
    nbformat.write(book, path)
    checks = {cell.source: printed(cell) for cell in run(path).cells if "check(" in cell.source}
    assert (
        checks.pop('check("relu", globals())').strip()
        == "relu (relu_forward, relu_backward): right"
    )
    assert "tanh (tanh_forward, tanh_backward): wrong" in checks.pop('check("tanh", globals())')
    assert "sigmoid" in checks.pop('check("sigmoid", globals())')
    for source, text in checks.items():
        assert text.strip() == f"{source.split(chr(34))[1]}: not begun"


def test_only_what_the_notebook_defines_is_checked(capsys):
    def relu(input):
        return input.abs()

    assert verdict_on("relu", {"relu": relu}).status == "not begun"  # of another module
    relu.__module__ = "__main__"
    assert verdict_on("relu", {"relu": relu}).mistakes == ("relu_of_the_absolute_value",)
    check("relu", {"relu": relu})
    assert "Negative inputs are not cut off." in capsys.readouterr().out
    with pytest.raises(ValueError, match="conv3d is unknown; choose among linear"):
        check("conv3d", {})
