"""Definitions that failed, by the formulas that they would have defined."""

import json

import pytest

from lecture4.lesson.exercises.broken import broken_definitions
from lecture4.training.formulas import read

FILES = {
    "decorator": ("@njit\ndef relu(x):\n    return x\n\ntanh = 1\n", {"relu"}),
    "default": ("def tanh(x,\n         y=nothing):\n    return x\n", {"tanh"}),
    "half": ("@njit\ndef conv_backward_naive(dout, cache):\n    return dout\n", {"conv2d"}),
    "class": ("class SGD(Missing):\n    pass\n", {"SGD"}),
    "syntax": ("def relu(x):\n    return x\n\ndef tanh(x)\n    return x\n", {"relu", "tanh"}),
    "import": ("import nothing_there\n\ndef relu(x):\n    return x\n", set()),
    "helper": ("@njit\ndef helper(x):\n    return x\n", set()),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("suffix", [".py", ".ipynb"])
def test_the_formula_of_a_definition_that_failed(tmp_path, name, suffix):
    text, formulas = FILES[name]
    path = tmp_path / f"mine{suffix}"
    cell = {"cell_type": "code", "metadata": {}, "source": text.splitlines(keepends=True)}
    cells = [{"cell_type": "markdown", "metadata": {}, "source": "text"}, cell]
    path.write_text(text if suffix == ".py" else json.dumps({"cells": cells}))
    source = read(path, strict=False)
    assert source.errors
    found = broken_definitions(path, source.errors)
    assert set(found) == formulas
    assert set(found.values()) <= set(source.errors)
