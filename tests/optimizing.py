"""Train a small net with an optimizer by hand, or with one of torch's implementations."""

import io
import itertools
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lecture4.byhand import optim
from lecture4.models import ConvNet

STEPS = 200

BATCHES = 4

NAMES = ["SGD", "Adam", "AdamW"]

BLOCKS = [
    {"channels": 3, "padding": 1, "norm": "batch", "pool": {"kernel_size": 2}},
    {"channels": 2, "kernel_size": 2},
]


def grid(**values):
    return [
        dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())
    ]


def title(value):
    return value if isinstance(value, str) else ",".join(f"{k}={v}" for k, v in value.items())


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ConvNet((2, 5, 5), 3, BLOCKS, activation="tanh").double()


@cache
def batches():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(BATCHES, 6, 2, 5, 5, generator=generator, dtype=torch.float64)
    return list(zip(inputs, torch.randint(3, (BATCHES, 6), generator=generator), strict=True))


def backward(model, step):
    inputs, labels = batches()[step % BATCHES]
    model.zero_grad()
    loss = cross_entropy(model(inputs), labels)
    loss.backward()
    return loss


def train(model, optimizer, first=0, last=STEPS):
    for step in range(first, last):
        backward(model, step)
        optimizer.step()


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


def make(name, maker, parameters, options):
    """An optimizer: ours, or torch's of one of its three implementations."""
    if maker == "ours":
        return getattr(optim, name)(parameters, **options)
    kind = {"foreach": maker == "foreach", "fused": maker == "fused"}
    return getattr(torch.optim, name)(parameters, **options, **kind)


def trained(name, maker, options, last=STEPS):
    model = network()
    optimizer = make(name, maker, model.parameters(), options)
    train(model, optimizer, last=last)
    return model, optimizer


def assert_near(ours, theirs, tolerance=1e-12):
    """max|a − b| ≤ tolerance · max|b| for each pair."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype == torch.float64
        assert (a - b).abs().max().item() <= tolerance * b.abs().max().item()


def saved(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def parameter(values):
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def with_gradient(values, gradient):
    w = parameter(values)
    w.grad = torch.tensor(gradient, dtype=torch.float64)
    return w


def near(values):
    return pytest.approx(values, rel=1e-12)
