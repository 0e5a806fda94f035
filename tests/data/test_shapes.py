import math

import pytest
import torch

from lecture4.data import make_shapes
from lecture4.data.shapes import SHAPES

NAMES = [
    "disc",
    "ring",
    "crescent",
    "half disc",
    "triangle",
    "square",
    "frame",
    "bar",
    "cross",
    "star",
]


@pytest.fixture(scope="module")
def dataset():
    return make_shapes(5000, 1500)


def test_shapes_types_and_names(dataset):
    assert dataset.class_names == NAMES
    assert dataset.input_shape == (3, 32, 32)
    assert dataset.train_inputs.shape == (5000, 3, 32, 32)
    assert dataset.test_inputs.shape == (1500, 3, 32, 32)
    assert dataset.train_inputs.dtype == dataset.test_inputs.dtype == torch.uint8
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == torch.int64


def test_as_many_of_every_class(dataset):
    assert torch.bincount(dataset.train_labels).tolist() == [500] * 10
    assert torch.bincount(dataset.test_labels).tolist() == [150] * 10
    uneven = torch.bincount(make_shapes(23, 10).train_labels)
    assert uneven.max() - uneven.min() <= 1


def test_the_seed_decides():
    first, again, other = make_shapes(30, 20, 4), make_shapes(30, 20, 4), make_shapes(30, 20, 5)
    torch.rand(1)
    assert torch.equal(first.train_inputs, again.train_inputs)
    assert torch.equal(first.test_inputs, again.test_inputs)
    same = (first.train_inputs == other.train_inputs).flatten(1).all(1)
    assert not same.any()
    assert not torch.equal(first.test_inputs, other.test_inputs)


def test_the_test_images_do_not_depend_on_the_number_of_training_images():
    assert torch.equal(make_shapes(30, 20).test_inputs, make_shapes(50, 20).test_inputs)


def test_no_image_occurs_twice(dataset):
    every = torch.cat([dataset.train_inputs, dataset.test_inputs]).flatten(1)
    assert len(every.unique(dim=0)) == 6500


def test_splits_of_one_size_are_different_images():
    dataset = make_shapes(50, 50)
    assert not (dataset.train_inputs == dataset.test_inputs).flatten(1).all(1).any()


def test_images_of_a_class_vary(dataset):
    """No class has its own colour, brightness or place."""
    x = dataset.train_inputs.double() / 255
    of_class = torch.stack([x[dataset.train_labels == k] for k in range(10)])
    colour = of_class.mean((3, 4))  # (K, n, C)
    between = colour.mean(1).std(0)
    within = colour.std(1).mean(0)
    assert (between < 0.5 * within).all()
    assert (within > 0.05).all()


def test_the_whole_range_is_used_and_little_is_clipped(dataset):
    images = dataset.train_inputs
    assert (images.min(), images.max()) == (0, 255)
    assert ((images == 0) | (images == 255)).double().mean() < 0.1


def test_a_linear_classifier_cannot_solve_it(dataset):
    """Ridge regression onto one-hot targets: above chance, which is 10 %, but not above 50 %."""

    def features(images):
        return images.flatten(1).float() / 255

    x, y = features(dataset.train_inputs), features(dataset.test_inputs)
    mean, std = x.mean(0), x.std(0)
    x, y = (x - mean) / std, (y - mean) / std
    target = torch.nn.functional.one_hot(dataset.train_labels, 10).float() - 0.1
    gram = x.T @ x
    gram.diagonal().add_(2000)
    w = torch.linalg.solve(gram, x.T @ target)
    accuracy = ((y @ w).argmax(1) == dataset.test_labels).double().mean().item()
    assert 0.15 < accuracy <= 0.5


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("disc", [(0, 0), (0.6, 0.6), (0, -0.85)], [(0.95, 0), (0.7, 0.7)]),
        ("ring", [(0.75, 0), (0, -0.9), (-0.5, 0.5)], [(0, 0), (0.5, 0), (1, 0)]),
        ("crescent", [(-0.6, 0), (0, 0.85)], [(0, 0), (0.9, 0), (-1, 0)]),
        ("half disc", [(-0.5, 0), (-0.1, 0.9)], [(0.1, 0), (-0.9, 0.5)]),
        ("triangle", [(0, 0), (-0.9, 0), (0.45, 0.7)], [(0.6, 0), (-0.4, 0.6), (1, 0)]),
        ("square", [(0, 0), (0.65, 0.65), (-0.65, 0.65)], [(0.75, 0), (0, -0.75)]),
        ("frame", [(0.6, 0), (0.7, 0.7), (0, -0.5)], [(0, 0), (0.3, 0.3), (0.8, 0)]),
        ("bar", [(0.95, 0), (-0.9, 0.2)], [(0, 0.3), (0.3, -0.5)]),
        ("cross", [(0.9, 0), (0, -0.9), (0.2, 0.2)], [(0.5, 0.5), (-0.4, 0.4)]),
        ("star", [(0, 0), (0.9, 0), (-0.35, 0)], [(-0.5, 0), (-0.95, 0), (0.9, 0.35)]),
    ],
)
def test_geometry(name, inside, outside):
    depth = SHAPES[name]
    for points, sign in ((inside, 1), (outside, -1)):
        for u, v in points:
            assert depth(torch.tensor(float(u)), torch.tensor(float(v))) * sign > 0, (u, v)


def test_a_star_has_five_tips_and_five_notches():
    angle = torch.arange(360) * 2 * math.pi / 360
    inside = SHAPES["star"](0.7 * angle.cos(), 0.7 * angle.sin()) > 0
    changes = (inside != inside.roll(1)).sum().item()
    assert changes == 10


@pytest.mark.parametrize("sizes", [(9, 100), (100, 9), (0, 0), (-1, 50)])
def test_refuses_too_few(sizes):
    with pytest.raises(ValueError, match="must each be at least 10") as caught:
        make_shapes(*sizes)
    assert f"train_size={sizes[0]} and test_size={sizes[1]}" in str(caught.value)
