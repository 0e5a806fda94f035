"""Parameters by kind, each with its own rate and decay."""

import pytest
import torch

from lecture4.models import MLP, ConvNet, SoftmaxClassifier
from lecture4.training.formulas import find
from lecture4.training.parameter_groups import parameter_groups, weights


def net():
    return ConvNet((3, 8, 8), 3, [{"channels": 4, "norm": "batch"}, {"channels": 5}])


def names(model, group):
    of = {id(p): name for name, p in model.named_parameters()}
    return [of[id(p)] for p in group["params"]]


WEIGHTS = ["blocks.0.conv.weight", "blocks.1.conv.weight"]
OTHERS = ["blocks.0.norm.weight", "blocks.0.norm.bias", "blocks.1.conv.bias", "scores.bias"]


def test_weights_are_neither_biases_nor_norm_parameters():
    shapes = [tuple(w.shape) for w in weights(net())]
    assert shapes == [(4, 3, 3, 3), (5, 4, 3, 3), (3, 5)]


def test_biases_and_norms_are_not_decayed():
    model = net()
    groups = torch.optim.SGD(parameter_groups(model), lr=0.1, weight_decay=0.5).param_groups
    assert [names(model, g) for g in groups] == [[*WEIGHTS, "scores.weight"], OTHERS]
    assert [g["weight_decay"] for g in groups] == [0.5, 0.0]
    assert [g["lr"] for g in groups] == [0.1, 0.1]


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "Muon"])
@pytest.mark.parametrize("name", ["torch", "byhand"])
def test_each_kind_has_its_rate_with_each_optimizer(name, kind):
    model = net()
    groups = parameter_groups(model, head_lr=0.3, bias_lr=6.4, bias_weight_decay=0.2)
    optimizer = find(name).optimizer(kind, lr=0.1, weight_decay=0.5)(groups)
    groups = optimizer.param_groups
    assert [names(model, g) for g in groups] == [WEIGHTS, ["scores.weight"], OTHERS]
    assert [g["lr"] for g in groups] == [0.1, 0.3, 6.4]
    assert [g["weight_decay"] for g in groups] == [0.5, 0.5, 0.2]
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()


def test_frozen_parameters_are_in_no_group():
    model = net()
    model.blocks[0].requires_grad_(False)
    groups = parameter_groups(model, head_lr=0.3)
    assert [names(model, g) for g in groups] == [
        ["blocks.1.conv.weight"],
        ["scores.weight"],
        ["blocks.1.conv.bias", "scores.bias"],
    ]
    model.scores.requires_grad_(False)
    model.blocks.requires_grad_(False)
    assert parameter_groups(model, head_lr=0.3) == [{"params": []}]


def test_the_head_of_a_linear_classifier_is_its_only_weight():
    """The first group, whose rate is optim.lr, stays there."""
    model = SoftmaxClassifier((4,), 3)
    groups = torch.optim.SGD(parameter_groups(model, head_lr=0.3), lr=0.1).param_groups
    assert [names(model, g) for g in groups] == [[], ["scores.weight"], ["scores.bias"]]
    assert [g["lr"] for g in groups] == [0.1, 0.3, 0.1]


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "Muon"])
@pytest.mark.parametrize("name", ["torch", "byhand"])
def test_a_scaled_rate_moves_its_kind_alone(name, kind):
    ends = []
    for settings in ({}, {"bias_lr": 0.2}):
        torch.manual_seed(0)
        model = MLP((4,), 3, hidden=[5])
        optimizer = find(name).optimizer(kind, lr=0.1)(parameter_groups(model, **settings))
        start = {n: p.detach().clone() for n, p in model.named_parameters()}
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
        ends.append({n: p.detach() - start[n] for n, p in model.named_parameters()})
    for n, step in ends[0].items():
        torch.testing.assert_close(ends[1][n], 2 * step if n.endswith("bias") else step)
