"""NumPy or torch?"""

import functools

import numpy as np
import pytest
import torch

from lecture4.training.formulas import arrays

HALVES = {
    "import numpy as np\ndef f(x): return np.exp(x)": True,
    "from numpy import exp\ndef f(x): return exp(x)": True,
    "def f(x):\n    import numpy\n    return numpy.exp(x)": True,
    "import numpy as np\ndef g(x): return np.exp(x)\ndef f(x): return [g(a) for a in x]": True,
    "import torch\ndef f(x): return torch.exp(x)": False,
    "import torch, numpy as np\ndef f(x): return torch.exp(x) * np.pi": False,
    "import torch, numpy as np\ndef f(x): return x * (x > 0)": True,
    "import torch, numpy as np\ndef f(x): return x.clone()": False,
    "import torch, numpy as np\ndef f(x): return x.sum(0, keepdims=True)": True,
    "import torch, numpy as np\ndef f(x): return x.sum(0, keepdim=True)": False,
    "import torch\ndef f(x): return x * (x > 0)": False,
    "import numpy\ndef f(x): return x * (x > 0)": True,
    "def f(x): return x * (x > 0)": True,
    "import torch\ndef f(x: torch.Tensor): return x": False,
    "import numpy as np\nclass A:\n    def f(self, x): return np.exp(x)\nf = A().f": True,
    "import torch\ndef deco(g):\n    def inner(*a): return g(*a)\n    return inner\n"
    "@deco\ndef f(x): return torch.exp(x)": False,
}  # fmt: skip


def function(code):
    names = {"__name__": "of a file"}
    exec(code, names)
    return names["f"]


@pytest.mark.parametrize(("code", "numpy"), HALVES.items())
def test_what_halves_compute_with(code, numpy):
    f = function(code)
    assert arrays.uses_numpy([f], in_halves=True) is numpy
    assert arrays.uses_numpy([functools.partial(f)], in_halves=True) is numpy


def test_a_whole_function_gets_tensors_unless_it_names_numpy():
    assert not arrays.uses_numpy([function("def f(x): return x.sum(axis=0)")], in_halves=False)
    assert arrays.uses_numpy([function(next(iter(HALVES)))], in_halves=False)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(3.0)[::-1],
        np.broadcast_to(np.float64(2), 3),
        [2, 1, 0],
        torch.arange(3.0),
        np.float64(2),
        2,
        np.array(2.0),
    ],
)
def test_a_result_becomes_a_tensor(value):
    like = torch.zeros(1, dtype=torch.float32)
    found = arrays.Native("f", numpy=True).leave(value, like)
    assert found.tolist() == np.asarray(value).tolist()
    if np.ndim(value) == 0:
        assert found.dtype == torch.float32


def test_what_is_no_result_is_named():
    with pytest.raises(TypeError, match="f returned NoneType, not an array"):
        arrays.Native("f", numpy=True).leave(None, torch.zeros(1))


def test_an_array_shares_the_memory_of_its_tensor():
    x = torch.zeros(2, requires_grad=True)
    arrays.Native("f", numpy=True).enter(x)[0] = 1
    assert x.tolist() == [1, 0]


def test_numpy_needs_the_cpu():
    with pytest.raises(ValueError, match="f computes with NumPy, which needs the CPU"):
        arrays.Native("f", numpy=True).enter(torch.zeros(1, device="meta"))
