import pytest
import torch
from torch import distributed, nn

from lecture4.layers import Dropout


def as_rank(monkeypatch, rank, ranks):
    monkeypatch.setattr(distributed, "is_available", lambda: True)
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(distributed, "get_world_size", lambda: ranks)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(12, 7), (12, 3, 4, 5)])
def test_masks_of_ranks_interleave_to_that_of_one_process(monkeypatch, ranks, shape):
    x = torch.rand(shape) + 1
    dropout = Dropout(0.4)
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
        Dropout(0.5)(x)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_masks_differ_between_ranks_rows_and_calls(monkeypatch):
    x = torch.ones(2, 1000)
    outputs = []
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        torch.manual_seed(0)
        outputs.append(Dropout(0.5)(x))
    rows = torch.cat([*outputs, Dropout(0.5)(x)])
    assert len(rows.unique(dim=0)) == 6


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_units_are_dropped_with_probability_p_and_the_mean_is_kept(p):
    torch.manual_seed(0)
    x = torch.full((1000, 400), 2.0)
    y = Dropout(p)(x)
    assert (y == 0).double().mean().item() == pytest.approx(p, abs=0.004)
    assert y[y != 0].allclose(torch.tensor(2.0 / (1 - p)))
    assert y.double().mean().item() == pytest.approx(2, rel=0.02)


def test_evaluation_and_p_zero_are_the_identity():
    x = torch.randn(10, 10)
    assert torch.equal(Dropout(0.9).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_p_one_drops_everything_as_in_torch():
    x = torch.randn(3, 4)
    assert torch.equal(Dropout(1.0)(x), nn.Dropout(1.0)(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_keeps_the_dtype(dtype):
    assert Dropout(0.5)(torch.ones(3, 4, dtype=dtype)).dtype == dtype


def test_gradient_is_the_scaled_mask():
    torch.manual_seed(0)
    x = torch.randn(6, 8, requires_grad=True)
    y = Dropout(0.25)(x)
    y.sum().backward()
    assert torch.allclose(x.grad, (y != 0) / 0.75)


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match="probability"):
        Dropout(p)
