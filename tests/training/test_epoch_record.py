"""Losses, correct predictions and scores of an epoch's batches."""

import weakref

import pytest
import torch

from lecture4.training.epoch_record import EvaluationRecord, TrainingRecord


def batch(loss: float, hits: int, n: int = 4, objective: float | None = None):
    labels = torch.zeros(n, dtype=torch.int64)
    predicted = (torch.arange(n) >= hits).long()
    tensors = (torch.tensor(loss if objective is None else objective), torch.tensor(loss))
    return *tensors, predicted, labels


def test_means_are_over_batches_and_over_examples():
    record = TrainingRecord()
    record.add(*batch(1.0, 4))
    record.add(*batch(2.0, 1))
    assert record.end_chunk() is None
    record.add(*batch(6.0, 0))
    assert record.steps == 3
    record.end_chunk()
    assert record.means() == (3.0, 5 / 12)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_first_objective_that_is_not_finite_is_found_with_its_step(value):
    record = TrainingRecord()
    record.add(*batch(1.0, 4))
    record.end_chunk()
    record.add(*batch(1.0, 4))
    record.add(*batch(1.0, 4, objective=value))
    record.add(*batch(1.0, 4, objective=float("nan")))
    step, found = record.end_chunk()
    assert step == 2
    assert found == value or (found != found and value != value)


def test_an_epoch_continues_from_its_state():
    whole, begun, resumed = TrainingRecord(), TrainingRecord(), TrainingRecord()
    for record in (whole, begun):
        record.add(*batch(1 / 3, 2))
        record.end_chunk()
    resumed.load_state_dict(begun.state_dict())
    for record in (whole, resumed):
        record.add(*batch(0.7, 3))
        record.end_chunk()
    assert resumed.means() == whole.means()
    assert resumed.steps == whole.steps == 2


def test_scores_are_gathered_batch_by_batch_in_float32_at_least():
    record = EvaluationRecord()
    record.add(torch.tensor([3, 1]), torch.tensor([0, 1]), torch.ones(2, 3, dtype=torch.bfloat16))
    record.add(torch.tensor([2]), torch.tensor([2]), torch.zeros(1, 3, dtype=torch.bfloat16))
    index, labels, scores = record.gather()
    assert index.tolist() == [3, 1, 2]
    assert labels.tolist() == [0, 1, 2]
    assert scores.dtype == torch.float32
    assert scores.shape == (3, 3)


def test_scores_of_many_batches_are_copied_in_order():
    record, given = EvaluationRecord(), torch.arange(300).split([1, 7, 100, 3, 150, 39])
    freed = []
    for index in given:
        scores = torch.stack([index, -index], 1).float()
        record.add(index, index % 5, scores)
        freed.append(weakref.ref(scores))
    del scores
    assert all(reference() is None for reference in freed)
    index, labels, scores = record.gather()
    assert torch.equal(index, torch.arange(300))
    assert torch.equal(labels, index % 5)
    assert torch.equal(scores, torch.stack([index, -index], 1).float())
