import math
from itertools import pairwise

import pytest
import torch
from torch.optim import lr_scheduler

from lecture4.training import schedule


def optimizer(*rates):
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups, lr=1.0)


def rates(make, total_steps, lr=0.4):
    """The rate at steps 0, 1, …, total_steps."""
    optimizer_ = optimizer(lr)
    scheduler = make(optimizer_)
    seen = [optimizer_.param_groups[0]["lr"]]
    for _ in range(total_steps):
        optimizer_.step()
        scheduler.step()
        seen.append(optimizer_.param_groups[0]["lr"])
    return seen


def ours(name, total_steps, **settings):
    return rates(lambda o: getattr(schedule, name)(o, total_steps, **settings), total_steps)


def test_constant():
    assert ours("constant", 10) == [0.4] * 11


@pytest.mark.parametrize("total_steps", [1, 7, 100])
def test_cosine_is_that_of_torch(total_steps):
    torchs = rates(lambda o: lr_scheduler.CosineAnnealingLR(o, total_steps), total_steps)
    assert ours("cosine", total_steps) == pytest.approx(torchs, abs=1e-12)


def test_cosine_at_start_middle_and_end():
    eta = ours("cosine", 100)
    assert (eta[0], eta[50], eta[100]) == pytest.approx((0.4, 0.2, 0.0), abs=1e-12)
    assert eta[25] == pytest.approx(0.4 * (1 + math.sqrt(0.5)) / 2)
    assert all(a > b for a, b in pairwise(eta))


@pytest.mark.parametrize(
    ("total_steps", "settings", "milestones", "gamma"),
    [
        (100, {}, [50, 75], 0.1),
        (100, {"gamma": 0.5, "milestones": [0.2, 0.6, 0.8]}, [20, 60, 80], 0.5),
        (10, {}, [5, 8], 0.1),
    ],
)
def test_step_is_that_of_torch(total_steps, settings, milestones, gamma):
    torchs = rates(lambda o: lr_scheduler.MultiStepLR(o, milestones, gamma), total_steps)
    assert ours("step", total_steps, **settings) == pytest.approx(torchs)


def test_onecycle_goes_up_and_down_in_straight_lines():
    eta = ours("onecycle", 200, warmup=0.25, start=0.1)
    assert (eta[0], eta[50], eta[200]) == pytest.approx((0.04, 0.4, 0.0), abs=1e-12)
    assert eta[25] == pytest.approx((0.04 + 0.4) / 2)
    assert eta[125] == pytest.approx(0.2)
    slopes = [b - a for a, b in pairwise(eta)]
    assert slopes[:50] == pytest.approx([0.36 / 50] * 50)
    assert slopes[50:] == pytest.approx([-0.4 / 150] * 150)
    assert max(eta) == pytest.approx(0.4)


def test_onecycle_whose_peak_is_between_two_steps():
    eta = ours("onecycle", 10, warmup=0.25, start=0.5)
    assert eta[0] == pytest.approx(0.2)
    assert eta[2] == pytest.approx(0.4 * (0.5 + 0.5 * 2 / 2.5))
    assert eta[3] == pytest.approx(0.4 * 7 / 7.5)
    assert eta[10] == 0


def test_onecycle_without_warmup_is_a_straight_line_down():
    assert ours("onecycle", 8, warmup=0.0) == pytest.approx([0.4 * (1 - t / 8) for t in range(9)])


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_onecycle_without_one_of_its_sides(warmup):
    eta = ours("onecycle", 20, warmup=warmup)
    assert eta[0] == pytest.approx(0.04 if warmup else 0.4)
    rising = [b > a for a, b in pairwise(eta[:-1])]
    assert rising == [bool(warmup)] * 19


@pytest.mark.parametrize("name", ["constant", "step", "cosine", "onecycle"])
def test_no_rate_is_negative_and_one_step_is_enough(name):
    assert all(rate >= 0 for rate in ours(name, 1))
    assert ours(name, 1)[0] > 0


@pytest.mark.parametrize("name", ["constant", "step", "cosine", "onecycle"])
def test_each_parameter_group_keeps_its_own_rate(name):
    optimizer_ = optimizer(0.1, 0.001)
    scheduler = getattr(schedule, name)(optimizer_, 20)
    for _ in range(20):
        first, second = (group["lr"] for group in optimizer_.param_groups)
        assert first == pytest.approx(100 * second)
        optimizer_.step()
        scheduler.step()


@pytest.mark.parametrize("name", ["step", "cosine", "onecycle"])
def test_a_loaded_schedule_goes_on_where_it_was(name):
    optimizer_ = optimizer(0.4)
    scheduler = getattr(schedule, name)(optimizer_, 20)
    for _ in range(13):
        optimizer_.step()
        scheduler.step()
    resumed = optimizer(0.4)
    again = getattr(schedule, name)(resumed, 20)
    resumed.load_state_dict(optimizer_.state_dict())
    again.load_state_dict(scheduler.state_dict())
    for o, s in ((optimizer_, scheduler), (resumed, again)):
        o.step()
        s.step()
    assert resumed.param_groups[0]["lr"] == optimizer_.param_groups[0]["lr"]
