"""Functions with the names of byhand."""

import inspect

import pytest
import torch

from lecture4.byhand import functional as F
from lecture4.byhand import numerical

FUNCTION = """
import torch
class {name}(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, slope=0.01):
        ctx.save_for_backward(x)
        ctx.slope = slope
        return torch.where(x > 0, x, slope * x)
    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, dy, ctx.slope * dy), None
"""
APART = """
import torch
class {name}(torch.autograd.Function):
    @staticmethod
    def forward(x, slope):
        return torch.where(x > 0, x, slope * x)
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
        ctx.slope = inputs[1]
    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, dy, ctx.slope * dy), None
"""


@pytest.mark.parametrize(
    "text",
    [
        FUNCTION.format(name="leaky_relu"),
        FUNCTION.format(name="_L") + "leaky_relu = _L.apply",
        APART.format(name="leaky_relu"),
        APART.format(name="_L") + "def leaky_relu(x, alpha=0.01): return _L.apply(x, alpha)",
    ],
)
def test_a_function_of_autograd(entries, text):
    call = entries(text)["leaky_relu"].call
    for options in ((), (0.3,)):
        x = torch.tensor([-1.0, 2.0], requires_grad=True)
        y = call(x, *options)
        assert torch.equal(y, F.leaky_relu(x, *options))
        y.sum().backward()
        assert x.grad.tolist() == pytest.approx([*(options or [0.01]), 1])


def test_numbers_become_tensors_and_sizes_do_not(entries):
    text = """
    import numpy as np, math
    def entropy(p): return float(-(p * np.log(p)).sum())
    def kl_divergence(p, q): return (p * (p / q).log()).sum().item()
    def output_size(n, f, s=1, p=0): return np.int64((n + 2 * p - f) // s + 1)
    """
    found, p = entries(text), torch.tensor([0.5, 0.5])
    h = found["entropy"].call(p)
    assert (h.dtype, h.item()) == (torch.float32, pytest.approx(0.6931, abs=1e-4))
    assert found["kl_divergence"].call(p, p).item() == 0
    assert found["output_size"].call(n=32, kernel_size=5, stride=1, padding=2) == 32
    assert not isinstance(found["output_size"].call(32, 5), torch.Tensor)


@pytest.mark.parametrize(
    "text",
    [
        """
        import numpy as np
        def gradient(f, x, eps=1e-5):
            g = np.zeros_like(x)
            for i in np.ndindex(x.shape):
                old = x[i]
                x[i] = old + eps
                above = f(x)
                x[i] = old - eps
                g[i] = (above - f(x)) / (2 * eps)
                x[i] = old
            return g
        """,
        """
        import torch
        def gradient(f, x, h):
            g = torch.zeros_like(x)
            for i in range(x.numel()):
                e = torch.zeros_like(x)
                e.view(-1)[i] = h
                g.view(-1)[i] = (f(x + e) - f(x - e)) / (2 * h)
            return g
        """,
    ],
)
def test_gradient_takes_functions_of_tensors(entries, text):
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64)

    def f(x):
        return (x.exp() * x).sum()

    found = entries(text)["gradient"].call(f, x, h=1e-4)
    torch.testing.assert_close(found, numerical.gradient(f, x, 1e-4))


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ndef he(w, gain): return w.normal_(std=gain / w[0].numel() ** 0.5)",
        "import numpy as np\ndef he(w, gain=2**0.5):\n"
        "    w[...] = gain * np.random.randn(*w.shape) / np.sqrt(w[0].size)",
        "import numpy as np\ndef he(fan_in, fan_out):\n"
        "    return np.random.randn(fan_in, fan_out) * np.sqrt(2 / fan_in)",
        "import torch\ndef he(shape): return torch.randn(shape) * (2 / shape[1]) ** 0.5",
        "import math\ndef he(fan_in, gain=2**0.5): return gain / math.sqrt(fan_in)",
    ],
)
def test_an_initialiser_in_several_forms(entries, text):
    call = entries(text)["he"].call
    torch.manual_seed(0)
    w = call(torch.zeros(200, 400))
    assert (w.shape, w.dtype) == ((200, 400), torch.float32)
    assert w.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    torch.manual_seed(0)
    assert torch.equal(call(torch.zeros(200, 400)), w)
    assert next(iter(inspect.signature(call).parameters)) == "weight"


def test_an_initialiser_of_fans_fills_filters_and_a_wrong_shape_is_named(entries):
    text = "import numpy as np\ndef xavier(fan_in, fan_out):\n"
    text += "    return np.random.randn(fan_in, fan_out) * (2 / (fan_in + fan_out)) ** 0.5\n"
    text += "def he(weight): return weight[0]"
    w = entries(text)["xavier"].call(torch.zeros(30, 20, 3, 3))
    assert w.shape == (30, 20, 3, 3)
    assert w.std().item() == pytest.approx((2 / (50 * 9)) ** 0.5, rel=0.05)
    with pytest.raises(ValueError, match=r"he returned weights of shape \(2,\), not \(3, 2\)"):
        entries(text)["he"].call(torch.zeros(3, 2))
