"""Dropout of several processes draws the mask of one."""

import pytest
import torch
from torch import distributed, nn

from lecture4.byhand import nn as byhand_nn
from lecture4.training.dropout import GlobalDropout, convert_dropout

KINDS = pytest.mark.parametrize("kind", [nn.Dropout, byhand_nn.Dropout])


def as_rank(monkeypatch, rank, ranks):
    monkeypatch.setattr(distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(distributed, "get_world_size", lambda: ranks)


def converted(layer):
    model = nn.Sequential(layer)
    convert_dropout(model)
    return model


@KINDS
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(12, 7), (12, 3, 4, 5)])
def test_masks_of_ranks_interleave_to_the_mask_of_one_process(monkeypatch, ranks, shape, kind):
    x = torch.rand(shape) + 1
    torch.manual_seed(5)
    alone = kind(0.4)(x)
    together = torch.full_like(x, float("nan"))
    for rank in range(ranks):
        as_rank(monkeypatch, rank, ranks)
        torch.manual_seed(5)
        together[rank::ranks] = converted(kind(0.4))(x[rank::ranks])
    assert torch.equal(alone, together)
    assert 0 < (alone == 0).sum() < alone.numel()


def test_ranks_leave_the_same_random_state(monkeypatch):
    states = []
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        torch.manual_seed(0)
        converted(nn.Dropout(0.5))(torch.ones(4, 5))
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_masks_differ_between_ranks_rows_and_calls(monkeypatch):
    x = torch.ones(2, 1000)
    outputs = []
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        torch.manual_seed(0)
        outputs.append(converted(nn.Dropout(0.5))(x))
    rows = torch.cat([*outputs, converted(nn.Dropout(0.5))(x)])
    assert len(rows.unique(dim=0)) == 6


@KINDS
def test_in_evaluation_nothing_is_dropped(monkeypatch, kind):
    x = torch.rand(6, 5) + 1
    as_rank(monkeypatch, 1, 2)
    assert torch.equal(converted(kind(0.3)).eval()(x), x)


def test_every_dropout_is_converted_once_and_no_weight_is_renamed():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.1), nn.Sequential(nn.Dropout(0.2)))
    names = list(model.state_dict())
    convert_dropout(model)
    convert_dropout(model)
    found = [module for module in model.modules() if isinstance(module, GlobalDropout)]
    assert [module.layer.p for module in found] == [0.1, 0.2]
    assert all(type(module.layer) is nn.Dropout for module in found)
    assert list(model.state_dict()) == names
