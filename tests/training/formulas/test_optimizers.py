"""Optimizers of a file take the steps of torch's."""

import pytest
import torch

SETTINGS = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}],
    "RMSprop": [{}, {"alpha": 0.9, "eps": 0.1, "weight_decay": 0.1}],
    "Adam": [{}, {"betas": (0.8, 0.9), "eps": 1e-3}],
}
ONLY_COURSE = {
    "SGD": {"momentum": 0.8, "dampening": 0.4, "maximize": True},
    "Adam": {"weight_decay": 0.2, "maximize": True},
}


def path(kind, settings, steps=12):
    """Weights after each step; two groups, the rate falls, and rises once."""
    draw = torch.Generator().manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(s, generator=draw).double()) for s in ((3, 4), (4,))]
    still = torch.nn.Parameter(torch.ones(2).double())
    groups = [{"params": [weights[0], still]}, {"params": weights[1:], "lr": 0.01}]
    optimizer = kind(groups, lr=0.1, **settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: (1 - t / steps) * (1 + (t == 5))
    )
    found = []
    for _ in range(steps):
        for w in weights:
            w.grad = torch.randn(w.shape, generator=draw).double()
            if optimizer.param_groups[0].get("maximize") and settings.get("maximize"):
                w.grad = -w.grad
        optimizer.step()
        schedule.step()
        found.append(torch.cat([w.detach().flatten() for w in weights]))
    return torch.stack(found)


CASES = [("course", name, s) for name, several in SETTINGS.items() for s in several]
CASES += [("course", *pair) for pair in ONLY_COURSE.items()]
CASES += [("torch_style", name, s) for name in ("SGD", "Adam") for s in SETTINGS[name]]


@pytest.mark.parametrize(("style", "name", "settings"), CASES)
def test_the_path_is_torchs(solved, style, name, settings):
    kind = solved[style][name].call
    assert issubclass(kind, torch.optim.Optimizer)
    ours, theirs = (path(k, settings) for k in (kind, getattr(torch.optim, name)))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_sgd_alone_takes_no_momentum(entries):
    text = "def sgd(w, dw, config):\n    return w - config['learning_rate'] * dw, config"
    kind = entries(text)["SGD"].call
    torch.testing.assert_close(path(kind, {}), path(torch.optim.SGD, {}))
    with pytest.raises(TypeError, match="momentum"):
        kind([torch.zeros(1)], momentum=0.9)


def test_momentum_alone_also_takes_steps_without(entries, solved):
    text = "import numpy as np\ndef sgd_momentum(w, dw, config):\n"
    text += "    v = config.get('velocity', np.zeros_like(w))\n"
    text += "    v = config['velocity'] = config['momentum'] * v - config['learning_rate'] * dw\n"
    kind = entries(text + "    return w + v, config")["SGD"].call
    for settings in SETTINGS["SGD"][:2]:
        torch.testing.assert_close(path(kind, settings), path(torch.optim.SGD, settings))


def test_a_class_must_keep_a_rate_that_changes(entries):
    text = """
    class SGD:
        def __init__(self, params, lr):
            self.params, self.rate = list(params), lr
        def step(self):
            for w in self.params:
                w -= self.rate * w.grad
    """
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = entries(text)["SGD"].call([w], lr=0.5)
    w.grad = torch.ones(2)
    optimizer.step()
    assert w.tolist() == [0.5, 0.5]
    optimizer.param_groups[0]["lr"] = 0.1
    with pytest.raises(ValueError, match=r"SGD keeps no attribute lr, .* set self.lr"):
        optimizer.step()


def test_the_parameter_for_the_rate_may_have_another_name(entries):
    text = """
    class SGD:
        def __init__(self, params, eta=1.0):
            self.params, self.eta = list(params), eta
        def step(self):
            for w in self.params:
                w.data = w.data - self.eta * w.grad
    """
    assert entries(text)["SGD"].names == ("SGD",)
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = entries(text)["SGD"].call([w], lr=0.5)
    optimizer.param_groups[0]["lr"] = 0.25
    w.grad = torch.ones(2)
    optimizer.step()
    assert w.tolist() == [0.75, 0.75]


def test_a_closure_is_evaluated_once_with_gradients(solved):
    torchs, course = solved["torch_style"], solved["course"]
    for kind in (torchs["SGD"], torchs["Adam"], course["SGD"]):
        w = torch.nn.Parameter(torch.ones(2))
        optimizer = kind.call([w], lr=0.5)

        def closure(w=w):
            loss = w.sum()
            loss.backward()
            return loss

        assert optimizer.step(closure).item() == 2
        assert w.grad.tolist() == [1, 1]
