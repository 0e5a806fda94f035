"""The state of an optimizer of a file is in its state_dict, as tensors and plain values."""

import io

import pytest
import torch

ATTRIBUTES = """
import collections, numpy as np, torch
class SGD(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1, momentum=0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.t, self._count = 0, np.int64(0)
        self.history, self.pair = [], (1, [torch.ones(2)])
        self.v = collections.defaultdict(float)
    @torch.no_grad()
    def step(self):
        self.t += 1
        self._count += 1
        for group in self.param_groups:
            for w in group["params"]:
                array = self.state[w].get("array", np.zeros(w.shape))
                self.state[w]["array"] = array + w.grad.numpy()
                self.history.append(array.sum())
                self.v[w] = 0.9 * self.v[w] + w.grad / self.t
                w -= group["lr"] * self.v[w] + 0.01 * torch.from_numpy(array)
"""
PLAIN = """
class Adam:
    def __init__(self, params, lr):
        self.params, self.lr, self.m, self.t = list(params), lr, {}, 0
    def step(self):
        self.t += 1
        for i, w in enumerate(self.params):
            self.m[i] = 0.9 * self.m.get(i, 0) + w.grad
            w -= self.lr * self.m[i] / self.t
"""


@pytest.fixture(params=["attributes", "plain", "by id", "solved Adam", "course SGD", "course Adam"])
def kind(request, entries, solved):
    return {
        "attributes": lambda: entries(ATTRIBUTES)["SGD"],
        "plain": lambda: entries(PLAIN)["Adam"],
        "by id": lambda: entries(PLAIN.replace("[i]", "[id(w)]").replace("(i,", "(id(w),"))["Adam"],
        "solved Adam": lambda: solved["torch_style"]["Adam"],
        "course SGD": lambda: solved["course"]["SGD"],
        "course Adam": lambda: solved["course"]["Adam"],
    }[request.param]().call


def test_a_reloaded_optimizer_takes_the_same_steps(kind):
    settings = {"momentum": 0.9} if kind.__name__ == "SGD" else {}

    def made(weights):
        optimizer = kind(weights, lr=0.1, **settings)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 / (1 + t))

    def step(weights, optimizer, schedule, t):
        for i, w in enumerate(weights):
            w.grad = torch.full_like(w, 0.3 * t + i)
        optimizer.step()
        schedule.step()

    weights = [torch.nn.Parameter(torch.ones(s).double()) for s in ((2, 3), (3,))]
    optimizer, schedule = made(weights)
    for t in range(3):
        step(weights, optimizer, schedule, t)
    file = io.BytesIO()
    torch.save((optimizer.state_dict(), schedule.state_dict(), [w.data for w in weights]), file)
    file.seek(0)
    state, of_schedule, values = torch.load(file, weights_only=True)
    again = [torch.nn.Parameter(v) for v in values]
    other, other_schedule = made(again)
    other_schedule.load_state_dict(of_schedule)
    other.load_state_dict(state)
    for t in range(3, 6):
        step(weights, optimizer, schedule, t)
        step(again, other, other_schedule, t)
    for one, two in zip(weights, again, strict=True):
        assert torch.equal(one, two)


def test_the_state_of_another_optimizer_is_refused(solved):
    w = [torch.zeros(1)]
    optimizer = solved["torch_style"]["SGD"].call(w, lr=0.1)
    with pytest.raises(ValueError, match="is not one of the file's SGD"):
        optimizer.load_state_dict(torch.optim.SGD(w, lr=0.1).state_dict())


def test_a_group_may_set_what_a_class_lacks_to_zero(entries):
    groups = [{"params": [torch.zeros(1)], "weight_decay": 0.0}]  # torch's default is 0
    entries(PLAIN)["Adam"].call(groups, lr=0.1)
    with pytest.raises(ValueError, match="Adam takes no weight_decay, which is 0.1 here"):
        entries(PLAIN)["Adam"].call([groups[0] | {"weight_decay": 0.1}], lr=0.1)


def test_what_a_checkpoint_does_not_hold_is_named(entries):
    kind = entries(ATTRIBUTES.replace("np.int64(0)", "object()"))["SGD"].call
    with pytest.raises(ValueError, match="SGD keeps a object in _count, which a checkpoint"):
        kind([torch.zeros(1)], lr=0.1).state_dict()
