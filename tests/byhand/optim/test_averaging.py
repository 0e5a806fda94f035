"""EMA and Lookahead against plain loops and torch's AveragedModel."""

import copy

import pytest
import torch
from optimizing import backward, network, saved
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lecture4.byhand.optim import EMA, Lookahead, NoAverage

T = 13


def numbers(model):
    """Parameters and running statistics, without counters."""
    return {k: v.clone() for k, v in model.state_dict().items() if v.is_floating_point()}


def path(model, after_step):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for t in range(1, T + 1):
        backward(model, t)
        optimizer.step()
        after_step(t)
    return model


def averaged(kind, **settings):
    """The model after T steps, and its average."""
    model = network()
    average = kind(model, **settings)
    average.total_steps = T
    return path(model, lambda t: average.step(model, t)), average


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [EMA, Lookahead])
@pytest.mark.parametrize("settings", [{}, {"decay": 0.8, "every": 3, "power": 1.0}])
def test_average_of_a_plain_loop(kind, settings):
    model, average = averaged(kind, **settings)
    beta, k, p = settings.get("decay", 0.95), settings.get("every", 5), settings.get("power", 3.0)
    twin = network()
    mean = numbers(twin)

    def after_step(t):
        if t % k:
            return
        d = beta**k * (t / T) ** p
        for name, w in twin.state_dict().items():
            if w.is_floating_point():
                mean[name] = d * mean[name] + (1 - d) * w
                if kind is Lookahead:
                    w.copy_(mean[name])

    path(twin, after_step)
    assert_equal(numbers(model), numbers(twin))
    average.show(model, mean=True)
    assert_equal(numbers(model), mean)
    assert any(not torch.equal(mean[name], w) for name, w in numbers(twin).items())


def test_a_constant_average_after_each_step_is_torchs():
    twin = network()
    torchs = AveragedModel(twin, multi_avg_fn=get_ema_multi_avg_fn(0.7), use_buffers=True)
    torchs.update_parameters(twin)  # the first one copies
    path(twin, lambda t: torchs.update_parameters(twin))
    model, average = averaged(EMA, decay=0.7, every=1, power=0.0)
    average.show(model, mean=True)
    assert_equal(numbers(model), numbers(torchs.module))


def test_the_mean_is_shown_and_put_back():
    model, average = averaged(EMA)
    before, counter = numbers(model), model.blocks[0].norm.num_batches_tracked.item()
    average.show(model, mean=True)
    shown = numbers(model)
    average.show(model, mean=True)
    assert all(torch.equal(shown[name], w) for name, w in numbers(model).items())
    assert any(not torch.equal(shown[name], w) for name, w in before.items())
    average.show(model, mean=False)
    assert all(torch.equal(before[name], w) for name, w in numbers(model).items())
    assert model.blocks[0].norm.num_batches_tracked.item() == counter == T


def test_names_in_a_state_dict_are_exchanged():
    model, average = averaged(EMA)
    parts = torch.nn.ModuleDict({"model": model, "average": average})
    state = saved(parts.state_dict())
    average.exchange(state, "model.", "average.")
    average.show(model, mean=True)
    assert all(torch.equal(state[name], w) for name, w in parts.state_dict().items())


def test_frozen_parameters_are_left_out():
    model = network()
    model.blocks[0].conv.weight.requires_grad_(False)
    kept = {name for name, _ in EMA(model).named_buffers()}
    assert kept == {n.replace(".", "/") for n in numbers(model)} - {"blocks/0/conv/weight"}


def test_without_an_average_nothing_changes():
    model, average = averaged(NoAverage)
    before = copy.deepcopy(model.state_dict())
    average.show(model, mean=True)
    assert all(torch.equal(before[name], w) for name, w in model.state_dict().items())
    assert average.state_dict() == {}
