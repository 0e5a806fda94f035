import math

import pytest
import torch

from lecture4.data import make_rings
from lecture4.data.preprocess import Polar


def test_shapes_and_types():
    dataset = make_rings(201, 101)
    assert dataset.class_names == ["inside", "around"]
    assert dataset.input_shape == (2,)
    assert dataset.train_inputs.shape == (201, 2)
    assert dataset.test_inputs.shape == (101, 2)
    assert dataset.train_inputs.dtype == dataset.test_inputs.dtype == torch.float32
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == torch.int64
    assert torch.bincount(dataset.train_labels).tolist() == [101, 100]


def test_r_equal_1_separates_the_classes():
    dataset = make_rings()
    for inputs, labels in (
        (dataset.train_inputs, dataset.train_labels),
        (dataset.test_inputs, dataset.test_labels),
    ):
        r = inputs.double().norm(dim=1)
        assert torch.equal((r > 1).long(), labels)
        assert 0.7 < r[labels == 0].max() <= 0.8 + 1e-6
        assert 1.2 - 1e-6 <= r[labels == 1].min() < 1.3
        assert 1.9 < r.max() <= 2 + 1e-6
        assert r[labels == 0].min() < 0.05


def ridge_accuracy(dataset, transform):
    def features(inputs):
        return torch.cat([transform(inputs).double(), torch.ones(len(inputs), 1)], 1)

    x, target = features(dataset.train_inputs), 2.0 * dataset.train_labels - 1
    eye = torch.eye(3, dtype=torch.float64)
    w = torch.linalg.solve(x.T @ x + 1e-6 * eye, x.T @ target.double())
    said = features(dataset.test_inputs) @ w > 0
    return (said.long() == dataset.test_labels).double().mean().item()


def test_no_line_separates_the_points_and_one_does_in_polar_coordinates():
    dataset = make_rings()
    assert 0.35 < ridge_accuracy(dataset, lambda points: points) < 0.65
    assert ridge_accuracy(dataset, Polar((2,))) == 1


def test_angles_are_uniform():
    x, y = make_rings(20_000, 10).train_inputs.double().T
    counts = torch.histc(torch.atan2(y, x), 20, -math.pi, math.pi)
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # 19 degrees of freedom


def test_the_seed_decides():
    first, again, other = make_rings(50, 20, 1), make_rings(50, 20, 1), make_rings(50, 20, 2)
    assert torch.equal(first.train_inputs, again.train_inputs)
    assert torch.equal(first.test_inputs, again.test_inputs)
    assert not torch.equal(first.train_inputs, other.train_inputs)
    assert not torch.equal(first.test_inputs, other.test_inputs)


def test_train_and_test_are_different_points():
    dataset = make_rings(1000, 1000)
    train = set(map(tuple, dataset.train_inputs.tolist()))
    assert not train & set(map(tuple, dataset.test_inputs.tolist()))


@pytest.mark.parametrize("sizes", [(1, 10), (10, 1), (0, 0), (-5, 10)])
def test_refuses_too_few(sizes):
    with pytest.raises(ValueError, match="must each be at least 2") as caught:
        make_rings(*sizes)
    assert f"train_size={sizes[0]} and test_size={sizes[1]}" in str(caught.value)
