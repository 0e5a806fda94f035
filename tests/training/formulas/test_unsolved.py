"""Which functions are begun."""

import ast

import pytest

from lecture4.training.formulas.unsolved import is_begun

UNSOLVED = [
    "def f(x):\n    'doc'",
    "def f(x):\n    pass",
    "def f(x): ...",
    "def f(x):\n    'doc'\n    raise NotImplementedError",
    "def f(x):\n    raise NotImplementedError('later')",
    "def f(x):\n    return None",
    "def f(x):\n    out = None\n    # here\n    cache = (x,)\n    return out, cache",
    "def f(x):\n    dx, dw = None, None\n    return dx, dw",
    "def f(x):\n    loss, dx = 0.0, None\n    dx = None\n    return dx",
    "class A:\n    'doc'",
    "class A(B):\n    def __init__(self, lr):\n        self.lr = lr\n    def step(self): ...",
    "class A:\n    def forward(x): ...\n    def backward(x): pass",
]
BEGUN = [
    "def f(x):\n    return x",
    "def f(x):\n    out = None\n    out = x + 1\n    return out, x",
    "def f(x):\n    out = None\n    for out in x: pass\n    return out",
    "def f(x):\n    out = None\n    if x is None:\n        return out\n    return x * 2",
    "def f(x):\n    raise ValueError",
    "def f(x=None):\n    return x",
    "class A(B):\n    def __init__(self): ...\n    def step(self):\n        self.t += 1",
    "class A(B):\n    forward = staticmethod(f)",
]


@pytest.mark.parametrize(
    ("code", "begun"), [*((code, False) for code in UNSOLVED), *((code, True) for code in BEGUN)]
)
def test_a_function_is_begun(code, begun):
    assert is_begun(ast.parse(code).body[0]) is begun
