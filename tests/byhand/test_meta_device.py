"""No operation waits for its device: on meta there are shapes and no numbers to read.

``.item()``, ``bool(tensor)``, boolean masks and copies from or to the CPU fail there; on a GPU each
of them would wait for all work so far.
"""

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode, resolve_name

from lecture4.byhand import functional as F
from lecture4.byhand import nn as byhand_nn
from lecture4.byhand import optim
from lecture4.byhand.functional import _torch_options
from lecture4.models import MLP, ConvNet, SoftmaxClassifier

READS = {"item", "tolist", "cpu", "numpy", "nonzero", "new_tensor", "__bool__", "__float__"}


class Watched(TorchFunctionMode):
    """Fail where numbers leave a device or come to it."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        devices = {t.device.type for t in args if isinstance(t, torch.Tensor)}
        name = (resolve_name(function) or function.__name__).rpartition(".")[2]
        assert not (name in READS and "meta" in devices), f"{name} reads or copies numbers"
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            assert devices <= {result.device.type}, f"{name} copies from {devices}"
        return result


def meta(*shape, grad=True, dtype=torch.float32):
    return torch.empty(shape, device="meta", dtype=dtype, requires_grad=grad)


def labels(*shape):
    return meta(*shape, grad=False, dtype=torch.int64)


MAPS = (4, 3, 8, 8)
CALLS = {
    "linear": lambda: F.linear(meta(4, 5), meta(3, 5), meta(3)),
    "flatten": lambda: F.flatten(meta(*MAPS), 1),
    "conv2d": lambda: F.conv2d(meta(*MAPS), meta(5, 3, 3, 3), meta(5), 2, 1),
    "conv2d same": lambda: F.conv2d(meta(*MAPS), meta(5, 3, 2, 2), padding="same"),
    "max_pool2d": lambda: F.max_pool2d(meta(*MAPS), 3, 2, 1),
    "avg_pool2d": lambda: F.avg_pool2d(meta(*MAPS), 3, 2, 1, True, False),
    "avg_pool2d divisor": lambda: F.avg_pool2d(meta(*MAPS), 2, divisor_override=3),
    "batch_norm": lambda: F.batch_norm(
        meta(*MAPS), meta(3, grad=False), meta(3, grad=False), meta(3), meta(3), True
    ),
    "batch_norm evaluation": lambda: F.batch_norm(
        meta(*MAPS), meta(3, grad=False), meta(3, grad=False), meta(3), meta(3)
    ),
    "dropout": lambda: F.dropout(meta(20), 0.3),
    **{
        name: lambda name=name: getattr(F, name)(meta(20))
        for name in ("relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu")
    },
    "softmax": lambda: F.softmax(meta(4, 5), 1),
    "log_softmax": lambda: F.log_softmax(meta(4, 5), 1),
    "cross_entropy": lambda: F.cross_entropy(meta(4, 5), labels(4)),
    "cross_entropy smoothed": lambda: F.cross_entropy(meta(4, 5), labels(4), label_smoothing=0.1),
    "cross_entropy weighted": lambda: F.cross_entropy(
        meta(4, 5), labels(4), meta(5, grad=False), label_smoothing=0.1
    ),
    "cross_entropy of probabilities": lambda: F.cross_entropy(meta(4, 5), meta(4, 5)),
    "nll_loss": lambda: F.nll_loss(meta(4, 5), labels(4), meta(5, grad=False)),
    "entropy": lambda: F.entropy(meta(4, 5)),
    "cross_entropy_of": lambda: F.cross_entropy_of(meta(4, 5), meta(4, 5)),
    "kl_divergence": lambda: F.kl_divergence(meta(4, 5), meta(4, 5)),
    "l1_penalty": lambda: F.l1_penalty([meta(4, 5), meta(3)]),
    "l2_penalty": lambda: F.l2_penalty([meta(4, 5), meta(3)]),
}


@pytest.mark.parametrize("name", CALLS)
def test_forward_and_backward_read_no_number(name):
    with Watched():
        y = CALLS[name]()
        y.sum().backward()
    assert y.device.type == "meta"
    assert y.grad_fn is not None


def test_every_operation_is_called():
    called = {name.split()[0] for name in CALLS}
    assert called == set(F.__all__) - {"output_size"}


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.item(),
        lambda t: bool(t),
        lambda t: t.cpu(),
        lambda t: t.new_tensor(3.0),
        lambda t: torch.zeros(1).to(t),
        lambda t: t.view(1).nonzero(),
        lambda t: t.view(1)[t.view(1) > 0],
    ],
)
def test_reading_or_copying_a_number_is_noticed(read):
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError)), Watched():
        read(meta(grad=False))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("SGD", {"lr": 0.1}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
        ("AdamW", {}),
    ],
    ids=str,
)
def test_an_update_reads_no_number(kind, options):
    weights = [nn.Parameter(meta(4, 5)), nn.Parameter(meta(4))]
    optimizer = getattr(optim, kind)(weights, **options)
    with Watched():
        for _ in range(2):
            for w in weights:
                w.grad = torch.empty_like(w)
            optimizer.step()
    if kind != "SGD":
        assert optimizer.state[weights[0]]["step"].device.type == "cpu"  # as in torch


BLOCKS = [{"channels": 4, "padding": 1, "norm": "batch", "pool": {"kernel_size": 3, "stride": 2}}]


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SoftmaxClassifier, {}),
        (MLP, {"hidden": [6], "dropout": 0.2}),
        (ConvNet, {"blocks": BLOCKS, "dropout": 0.2}),
        (ConvNet, {"blocks": BLOCKS, "head": "flatten"}),
    ],
)
def test_a_step_of_a_whole_model_reads_no_number(kind, options, momentum):
    with torch.device("meta"):
        model = kind((3, 8, 8), 5, **options, layers=byhand_nn)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss = byhand_nn.CrossEntropyLoss(label_smoothing=0.1)
    with Watched():
        for _ in range(2):
            optimizer.zero_grad()
            loss(model(meta(*MAPS, grad=False)), labels(4)).backward()
            optimizer.step()
    assert all(p.grad is not None for p in model.parameters())


def test_numbers_are_checked_on_the_cpu_alone(monkeypatch):
    assert _torch_options.checks_values(torch.ones(2))
    assert not _torch_options.checks_values(meta(2))
    wrong = torch.tensor([0, 5])
    with pytest.raises(IndexError, match="target 5 is not a class"):
        F.cross_entropy(torch.zeros(2, 5), wrong, ignore_index=-1)
    with pytest.raises(ValueError, match="with -0.5"):
        F.entropy(torch.tensor([1.5, -0.5]))
    monkeypatch.setattr(_torch_options, "checks_values", lambda tensor: False)
    assert F.entropy(torch.tensor([1.5, -0.5])).isnan()
    with pytest.raises(RuntimeError, match="out of bounds"):  # torch's, not ours
        F.cross_entropy(torch.zeros(2, 5), wrong, ignore_index=-1)
