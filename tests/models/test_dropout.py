import pytest
import torch
from torch import distributed, nn

from lecture4.byhand import nn as layers
from lecture4.models.dropout import Dropout

KINDS = pytest.mark.parametrize("kind", [nn.Dropout, layers.Dropout])


def as_rank(monkeypatch, rank, ranks):
    monkeypatch.setattr(distributed, "is_available", lambda: True)
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(distributed, "get_world_size", lambda: ranks)


@KINDS
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(12, 7), (12, 3, 4, 5)])
def test_masks_of_ranks_interleave_to_that_of_one_process(monkeypatch, ranks, shape, kind):
    x = torch.rand(shape) + 1
    dropout = Dropout(kind(0.4))
    torch.manual_seed(5)
    alone = dropout(x)
    together = torch.full_like(x, float("nan"))
    for rank in range(ranks):
        as_rank(monkeypatch, rank, ranks)
        torch.manual_seed(5)
        together[rank::ranks] = dropout(x[rank::ranks])
    assert torch.equal(alone, together)
    assert 0 < (alone == 0).sum() < alone.numel()


def test_ranks_leave_the_same_random_state(monkeypatch):
    x = torch.ones(4, 5)
    states = []
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        torch.manual_seed(0)
        Dropout(nn.Dropout(0.5))(x)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_masks_differ_between_ranks_rows_and_calls(monkeypatch):
    x = torch.ones(2, 1000)
    outputs = []
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        torch.manual_seed(0)
        outputs.append(Dropout(nn.Dropout(0.5))(x))
    rows = torch.cat([*outputs, Dropout(nn.Dropout(0.5))(x)])
    assert len(rows.unique(dim=0)) == 6


@KINDS
def test_in_one_process_and_in_evaluation_it_is_its_layer(monkeypatch, kind):
    x = torch.rand(6, 5) + 1
    torch.manual_seed(1)
    expected = kind(0.3)(x)
    torch.manual_seed(1)
    assert torch.equal(Dropout(kind(0.3))(x), expected)
    as_rank(monkeypatch, 1, 2)
    assert torch.equal(Dropout(kind(0.3)).eval()(x), x)
