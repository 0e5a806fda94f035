"""Read a file of formulas."""

import hashlib
import json
import random
import sys
import traceback

import numpy as np
import pytest
import torch

from lecture4.training.formulas import read, unused
from lecture4.training.formulas.from_file import place_in

RELU = "def relu(x):\n    return x.clamp(min=0)\n"


@pytest.fixture
def written(tmp_path):
    """Write a file; return its path."""

    def write(text, name="mine.py"):
        path = tmp_path / name
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(text, "utf-8")
        return path

    return write


def cell(source, kind="code", **metadata):
    return {"cell_type": kind, "source": source, "metadata": metadata}


def notebook(*cells):
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}})


def test_the_formulas_of_a_file_and_its_checksum(written):
    path = written(RELU + "def helper(x):\n    return x\n")
    source = read(path)
    assert source.path == path
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.errors == ()
    assert list(source.entries) == ["relu"]
    x = torch.tensor([-1.0, 2.0])
    assert source.entries["relu"].call(x).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("text", "error"),
    {
        "missing module": ("import os\nimport not_there\n", "line 2: ModuleNotFoundError: No mod"),
        "syntax": ("x = 1\ndef f(:\n", "line 2: SyntaxError: invalid syntax"),
        "null": ("x = '\0'\n", "line 1: SyntaxError: source code string cannot contain null"),
        "encoding": (b"x = '\xe4'\n", "line 1: SyntaxError: "),
        "return outside of a function": ("x = 1\nreturn x\n", "line 2: SyntaxError: 'return' out"),
        "exit": ("import sys\n\nsys.exit(2)\n", "line 3: SystemExit: 2"),
        "within a function": ("def f():\n    return 1 / 0\n\n\nf()\n", "line 2: ZeroDivisionError"),
        "an assertion": ("assert 1 == 2\n", "line 1: AssertionError"),
    }.values(),
)  # fmt: skip
def test_an_error_names_file_and_line(written, text, error):
    path = written(text)
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        read(path)
    assert str(raised.value).startswith(f"{path}: {error}")
    (found,) = read(path, strict=False).errors
    assert found.startswith(error)


@pytest.mark.parametrize(
    ("name", "error"),
    [("no.py", "cannot be read: No such file"), ("mine.txt", "read from a .py or .ipynb file")],
)
def test_a_file_that_cannot_be_read(tmp_path, name, error):
    with pytest.raises(ValueError, match=error):
        read(tmp_path / name)


def test_after_an_error_the_rest_is_read(written):
    text = f"import not_there\n{RELU}x = 1 / 0\ndef tanh(x):\n    return x.tanh()\n"
    source = read(written(text), strict=False)
    assert [error.partition(": ")[0] for error in source.errors] == ["line 1", "line 4"]
    assert list(source.entries) == ["relu", "tanh"]


def test_main_is_not_run(written):
    assert list(read(written(f"{RELU}if __name__ == '__main__':\n    1 / 0\n")).entries) == ["relu"]


def test_imported_functions_are_not_the_files_own(written):
    text = f"from torch.nn.functional import gelu, softmax\nimport torch\ntanh = torch.tanh\n{RELU}"
    assert list(read(written(text)).entries) == ["relu", "tanh"]


def test_a_module_beside_the_file_is_part_of_it_and_is_read_again(written):
    folder = written(RELU, "layers_of_mine.py").parent
    (folder / "deeper").mkdir()
    (folder / "deeper" / "losses.py").write_text("def tanh(x):\n    return x.tanh()\n")
    path = written("from layers_of_mine import *\nfrom deeper.losses import tanh\n")
    source = read(path)
    assert list(source.entries) == ["relu", "tanh"]
    assert "layers_of_mine" not in sys.modules
    written(RELU.replace("min=0", "min=5"), "layers_of_mine.py")
    assert read(path).entries["relu"].call(torch.zeros(1)).item() == 5
    assert sys.path.count(str(folder)) == 1
    sys.path.remove(str(folder))


def test_a_module_beside_the_file_may_be_imported_within_a_function(written):
    written("factor = 3\n", "constants_of_mine.py")
    path = written(
        "def relu(x):\n    from constants_of_mine import factor\n    return factor * x\n"
    )
    assert read(path).entries["relu"].call(torch.ones(1)).item() == 3
    sys.path.remove(str(path.parent))
    del sys.modules["constants_of_mine"]


def test_data_beside_the_file(written):
    np.save(written("").parent / "slope.npy", np.array(0.5))
    text = "from pathlib import Path\nimport numpy as np\nhere = Path(__file__).parent\n"
    text += "slope = np.load(here / 'slope.npy').item()\ndef relu(x):\n    return slope * x\n"
    assert read(written(text)).entries["relu"].call(torch.ones(1)).item() == 0.5


def test_future_annotations_and_dataclasses(written):
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\n"
    text += "class A:\n    x: int | Unknown\n" + RELU
    assert list(read(written(text)).entries) == ["relu"]


def test_generators_and_the_default_dtype_stay(written):
    def state():
        torchs, numpys = torch.get_rng_state().tolist(), np.random.get_state()
        return torchs, numpys[1].tolist(), random.getstate(), torch.get_default_dtype()

    before = state()
    read(written("import random, torch\nimport numpy as np\nrandom.seed(1)\nnp.random.seed(1)\n"
                 "torch.manual_seed(1)\ntorch.set_default_dtype(torch.float64)\n"))  # fmt: skip
    assert state() == before


def test_a_notebook_runs_without_its_checks_and_commands(written):
    text = notebook(
        cell("# relu", "markdown"),
        cell(["%matplotlib inline\n", "import torch\n", "factor = 7 \\\n% 4\n", "\n"]),
        cell(RELU),
        cell("1 / 0", tags=["check"]),
        cell("%%bash\nls"),
        cell("!pip install nothing"),
        cell("def tanh(x):\n    return factor / 0 * x"),
        cell("%%time\nfiles = !ls\nfiles?\n?len\nhere = %pwd\ndisplay(files)\n"
             "def sigmoid(x): return x"),
    )  # fmt: skip
    source = read(path := written(text, "mine.ipynb"))
    assert list(source.entries) == ["relu", "sigmoid", "tanh"]
    with pytest.raises(ZeroDivisionError) as raised:
        source.entries["tanh"].call(torch.ones(1))
    assert place_in(str(path), raised.value) == "cell 7, line 2"
    assert "return factor / 0 * x" in "".join(traceback.format_exception(raised.value))


def test_classes_with_a_forward_are_listed(written):
    text = "class Linear:\n    def forward(self, x): return x\n"
    text += "class ReLU:\n    def forward(self, x): return x\ndef relu(x): return x\n"
    source = read(written(text + "class Adam:\n    def step(self): return 1\n"))
    assert source.classes == ("Linear", "ReLU")
    assert unused(source).startswith("Linear: classes of layers are not used")


def test_an_error_in_a_notebook_names_its_cell(written):
    path = written(notebook(cell("x = 1"), cell("y = 1\nimport not_there")), "mine.ipynb")
    with pytest.raises(ValueError, match="mine.ipynb: cell 2, line 2: ModuleNotFoundError"):
        read(path)


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"cells": [1]}', '{"worksheets": []}'])
def test_what_is_no_notebook(written, text):
    with pytest.raises(ValueError, match="cannot be read as a notebook of version 4"):
        read(written(text, "mine.ipynb"))
