import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lecture4.data import Dataset, stratified_split

seeds = st.integers(0, 10_000)


def labels_of(counts, seed=0):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return labels[order]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.data(), seeds)
def test_splits_are_disjoint_complete_ascending_and_leave_each_class_one(counts, data, seed):
    labels = labels_of(counts)
    assume(len(labels) > len(counts))
    val_size = data.draw(st.integers(1, len(labels) - len(counts)))
    train, val = stratified_split(labels, val_size, seed)
    assert len(val) == val_size
    assert torch.cat([train, val]).sort().values.tolist() == list(range(len(labels)))
    assert train.tolist() == sorted(train.tolist())
    assert val.tolist() == sorted(val.tolist())
    assert torch.bincount(labels[train], minlength=len(counts)).min() >= 1


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(3, 60), min_size=1, max_size=10), st.floats(0.05, 0.5), seeds)
def test_each_class_gives_its_share_to_within_one(counts, fraction, seed):
    labels = labels_of(counts)
    val_size = max(1, int(fraction * len(labels)))
    _, val = stratified_split(labels, val_size, seed)
    taken = torch.bincount(labels[val], minlength=len(counts))
    share = torch.tensor(counts, dtype=torch.float64) * val_size / len(labels)
    assert (taken - share).abs().max() < 1


def test_balanced_classes_give_the_same_number():
    labels = torch.arange(50_000) % 10
    train, val = stratified_split(labels, 5000, 0)
    assert torch.bincount(labels[val]).tolist() == [500] * 10
    assert torch.bincount(labels[train]).tolist() == [4500] * 10


@pytest.mark.parametrize(("fraction", "number"), [(0.1, 20), (0.25, 50), (0.999 / 2, 100)])
def test_a_fraction_is_that_part_of_all(fraction, number):
    labels = torch.arange(200) % 4
    by_fraction, by_number = (stratified_split(labels, size, 3) for size in (fraction, number))
    assert all(map(torch.equal, by_fraction, by_number))
    assert len(by_fraction[1]) == number


def test_the_seed_decides_and_nothing_else():
    labels = torch.arange(100) % 5
    first = stratified_split(labels, 20, 0)[1]
    torch.rand(3)
    assert torch.equal(stratified_split(labels, 20, 0)[1], first)
    others = [stratified_split(labels, 20, seed)[1].tolist() for seed in range(1, 5)]
    assert all(other != first.tolist() for other in others)


def test_each_example_is_as_likely_to_be_chosen():
    labels = torch.arange(20) % 2
    times = torch.zeros(20)
    for seed in range(1000):
        times[stratified_split(labels, 4, seed)[1]] += 1
    assert times.min() > 145
    assert times.max() < 255


def test_a_label_without_examples():
    labels = torch.tensor([0, 0, 0, 0, 2, 2, 2, 2])
    train, val = stratified_split(labels, 2, 0)
    assert labels[val].tolist().count(0) == 1
    assert len(train) == 6


@pytest.mark.parametrize("val_size", [0, -1, 0.0, -0.5, 0.001, 97, 100, 1000, 0.98])
def test_refuses_what_leaves_a_split_empty(val_size):
    labels = torch.arange(100) % 4
    with pytest.raises(ValueError, match="must be at least 1 and leave one of each class") as error:
        stratified_split(labels, val_size, 0)
    assert f"val_size={val_size} " in str(error.value)
    assert "of 100" in str(error.value)


def test_the_largest_validation_split_leaves_one_of_each_class():
    labels = torch.arange(100) % 4
    train, _ = stratified_split(labels, 96, 0)
    assert sorted(labels[train].tolist()) == [0, 1, 2, 3]


def test_input_shape_is_that_of_one_input():
    labels = torch.zeros(5, dtype=torch.int64)
    images, points = torch.zeros(5, 3, 8, 6, dtype=torch.uint8), torch.zeros(5, 2)
    assert Dataset(["a"], images, labels, images, labels).input_shape == (3, 8, 6)
    assert Dataset(["a"], points, labels, points, labels).input_shape == (2,)


def test_without_validation_every_example_is_for_training():
    labels = torch.tensor([0, 0, 1])
    dataset = Dataset(["a", "b"], torch.zeros(3, 1), labels, torch.zeros(1, 1), torch.tensor([0]))
    train, val = dataset.split(0, seed=3)
    assert (train.tolist(), val.tolist()) == ([0, 1, 2], [])


def test_own_validation_examples_are_the_validation_split():
    labels = torch.tensor([0, 0, 1, 1, 0, 1])
    parts = torch.arange(6.0)[:, None], labels, torch.zeros(1, 1), torch.tensor([0])
    train, val = Dataset(["a", "b"], *parts, val_count=2).split(0.5, seed=3)
    assert (train.tolist(), val.tolist()) == ([0, 1, 2, 3], [4, 5])
    split, expected = Dataset(["a", "b"], *parts).split(2, 3), stratified_split(labels, 2, 3)
    assert all(map(torch.equal, split, expected))


def test_a_difference_is_said_in_words():
    labels = torch.tensor([0, 1, 1])
    parts = torch.zeros(3, 1), labels, torch.zeros(3, 1), labels

    def data(names=("a", "b"), val_count=0, **fingerprints):
        return Dataset(list(names), *parts, val_count=val_count, fingerprints=fingerprints)

    was = data(train="0", test="0").description
    assert data(train="0", test="0").difference(was) == ""
    told = "the class names are a, c, and were a, b"
    assert data(("a", "c"), train="0", test="0").difference(was) == told
    told = "the training examples are 2, and were 3"
    assert data(val_count=1, train="0", test="0").difference(was) == told
    told = "names or sizes of the training files differ"
    assert data(train="1", test="1").difference(was) == told
    told = "names or sizes of the test files differ"
    assert data(train="1", test="1").difference(was, "test") == told
    for odd in (None, 7, {}, {**was, "test_files": 3}):
        with pytest.raises(ValueError, match="the description of the run's data cannot be read"):
            data().difference(odd)


@pytest.mark.parametrize("wrong", [-1, 2, 255])
@pytest.mark.parametrize("part", ["train", "test"])
def test_a_label_that_is_no_class_is_refused_when_the_data_are_read(part, wrong):
    labels = {"train": torch.tensor([0, 1, 1]), "test": torch.tensor([1])}
    Dataset(["a", "b"], torch.zeros(3, 2), labels["train"], torch.zeros(1, 2), labels["test"])
    labels[part][0] = wrong
    with pytest.raises(ValueError, match=f"{part}_labels contain {wrong}; .* between 0 and 1"):
        Dataset(["a", "b"], torch.zeros(3, 2), labels["train"], torch.zeros(1, 2), labels["test"])
