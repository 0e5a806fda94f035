"""Tests of the claim ``structure``."""

import copy
import json

import plotly.graph_objects as go
import pytest
import torch

from lecture4.claims import structure
from lecture4.data import Dataset
from lecture4.lab import Gallery, Lab, Plot, Table


class Small(Lab):
    """A Lab of few images and short trainings."""

    def pick(self, quick, full):
        return quick // 25 if isinstance(quick, int) and quick > 1000 else quick

    def _data(self, overrides):
        return [*super()._data(overrides), "data.train_size=1600", "data.test_size=100"]


@pytest.fixture(scope="module")
def measured():
    return json.loads(json.dumps(structure.measure(Small()), allow_nan=False))


def test_measured(measured):
    assert measured["seeds"] == [0, 1, 2]
    for net, sides in measured["nets"].items():
        assert list(sides) == ["in order", "shuffled"]
        for side, runs in sides.items():
            assert len(runs["accuracy"]) == 3
            assert all(0 <= accuracy <= 1 for accuracy in runs["accuracy"])
            for command in runs["commands"]:
                assert ("shuffled_shapes" in command) == (side == "shuffled")
                assert net.lower() in command
                assert "augment=none" in command
    assert [f.verdict for f in structure.judge(measured)][:4] == ["holds"] * 4


def test_costs_are_those_of_the_lecture(measured):
    convolution, full = measured["cost"]
    assert (convolution["parameters"], convolution["multiply_adds"]) == (6 * 76, 28 * 28 * 6 * 75)
    assert (full["parameters"], full["multiply_adds"]) == (4704 * 3073, 4704 * 3072)


def test_a_convolution_as_a_matrix(measured):
    same = measured["same_function"]
    assert same["shape"] == [6 * 8 * 8, 3 * 12 * 12]
    assert same["zeros"] == pytest.approx(1 - 75 / 432)
    assert same["distinct"] == 450


def test_pixels_are_put_into_one_order():
    images = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4)
    other = structure.shuffled(images)
    assert not torch.equal(other, images)
    assert torch.equal(other.flatten(2).sort(2).values, images.flatten(2))
    moved = other.flatten(2) - 16 * torch.arange(6).view(2, 3, 1)
    assert torch.equal(moved, moved[:1, :1].expand(2, 3, 16))
    assert torch.equal(other, structure.shuffled(images))


def test_training_and_test_images_are_shuffled_alike():
    dataset = structure.shuffled_shapes(20, 10, 3)
    plain = structure.shapes(20, 10, 3)
    assert isinstance(dataset, Dataset)
    assert torch.equal(dataset.train_inputs, structure.shuffled(plain.train_inputs))
    assert torch.equal(dataset.test_inputs, structure.shuffled(plain.test_inputs))
    assert torch.equal(dataset.train_labels, plain.train_labels)
    assert torch.equal(dataset.test_labels, plain.test_labels)


def test_cifar10_is_shuffled_likewise(monkeypatch):
    monkeypatch.setattr(structure, "cifar10", lambda root: structure.shapes(20, 10, len(root)))
    expected = structure.shuffled_shapes(20, 10, 4)
    assert torch.equal(structure.shuffled_cifar10("here").test_inputs, expected.test_inputs)


@pytest.mark.parametrize("images", [1, 300, 1200, 5000])
def test_as_many_images_as_asked_for(images):
    lab = Small()
    lab.pick = lambda quick, full: images
    epochs, share = (float(word.split("=")[1]) for word in structure._length(lab))
    assert "." in structure._length(lab)[1].split("=")[1]  # a fraction, not a number of batches
    assert epochs * share * 600 == pytest.approx(images, abs=0.001 * epochs * 600)
    assert share <= 1


def test_the_best_rate_is_chosen_by_validation(monkeypatch):
    lab = Small()
    lab.pick = lambda quick, full: full

    class Run:
        def __init__(self, rate, seed):
            good = rate == "0.0333" if seed else rate == "0.1"
            self.diverged = rate == "0.1" and seed == 1
            self.accuracy, self.parameters, self.command = float(rate), 1, rate
            self.validation = [0.9] if self.diverged else [0.5 if good else 0.4, 0.3]

        def curve(self, metric):
            assert metric == "val/accuracy"
            return self.validation

    lab.train = lambda *overrides, seed: Run(overrides[-1].removeprefix("optim.lr="), seed)
    runs = structure._train_both(lab, *structure.NETS["ConvNet"])
    assert runs["in order"]["commands"] == ["0.1", "0.0333", "0.0333", "0.0333", "0.0333"]


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (0, lambda m: m["cost"][1].update(parameters=2000)),
        (1, lambda m: m["cost"][1].update(multiply_adds=352_800)),
        (2, lambda m: m["same_function"].update(difference=0.1)),
        (3, lambda m: m.update(same_scores=0.1)),
        (4, lambda m: m["nets"]["MLP"]["shuffled"].update(accuracy=[0.3, 0.31, 0.29])),
        (5, lambda m: m["nets"]["ConvNet"]["shuffled"].update(accuracy=[0.6, 0.61, 0.62])),
    ],
)
def test_a_contradiction_is_judged_so(measured, index, change):
    other = copy.deepcopy(measured)
    other["nets"]["MLP"]["in order"]["accuracy"] = [0.5, 0.51, 0.5]
    other["nets"]["MLP"]["shuffled"]["accuracy"] = [0.5, 0.505, 0.505]
    other["nets"]["ConvNet"]["in order"]["accuracy"] = [0.6, 0.61, 0.62]
    other["nets"]["ConvNet"]["shuffled"]["accuracy"] = [0.4, 0.41, 0.42]
    assert {finding.verdict for finding in structure.judge(other)} == {"holds"}
    change(other)
    verdicts = [finding.verdict for finding in structure.judge(other)]
    assert verdicts.pop(index) == "does not hold"
    assert set(verdicts) == {"holds"}


def test_drawn(measured):
    pictures, accuracies, bill = structure.draw(measured)
    assert isinstance(pictures, Gallery)
    assert [label for _, label in pictures.pictures] == ["in order"] * 4 + ["shuffled"] * 4
    assert all(picture.startswith("data:image/png;base64,") for picture, _ in pictures.pictures)
    assert isinstance(accuracies, Plot)
    assert isinstance(accuracies.figure, go.Figure)
    lines = {(trace.xaxis, trace.name): list(trace.y) for trace in accuracies.figure.data}
    assert len(lines) == 6
    sides = measured["nets"]["ConvNet"]
    assert lines["x2", "seed 1"] == [
        round(100 * sides[side]["accuracy"][1], 2) for side in ("in order", "shuffled")
    ]
    mean = sum(measured["nets"]["MLP"]["shuffled"]["accuracy"]) / 3
    assert f"{100 * mean:.1f} % shuffled" in accuracies.alt
    assert isinstance(bill, Table)
    assert [row[1:] for row in bill.rows] == [["456", "352,800"], ["14,455,392", "14,450,688"]]
