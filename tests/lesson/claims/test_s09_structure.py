"""Tests of the claim ``structure``."""

import copy
import json

import plotly.graph_objects as go
import pytest
import torch

from lecture4.data import Dataset
from lecture4.lesson.claims import s09_structure as structure
from lecture4.lesson.lab import Gallery, Lab, Plot, Run, Table


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
        for runs in sides.values():
            assert len(runs["accuracy"]) == 3
            assert all(0 <= accuracy <= 1 for accuracy in runs["accuracy"])
            assert runs["rates"] == [structure.NETS[net][1]]
            assert not runs["at_edge"]
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
    plain = structure.make_shapes(20, 10, 3)
    assert isinstance(dataset, Dataset)
    assert torch.equal(dataset.train_inputs, structure.shuffled(plain.train_inputs))
    assert torch.equal(dataset.test_inputs, structure.shuffled(plain.test_inputs))
    assert torch.equal(dataset.train_labels, plain.train_labels)
    assert torch.equal(dataset.test_labels, plain.test_labels)


def test_cifar10_is_shuffled_likewise(monkeypatch):
    monkeypatch.setattr(
        structure, "load_cifar10", lambda root, urls: structure.make_shapes(20, 10, len(root))
    )
    expected = structure.shuffled_shapes(20, 10, 4)
    assert torch.equal(structure.shuffled_cifar10("here").test_inputs, expected.test_inputs)


class Scripted(Small):
    """Trains nothing, in the full budget: 0.4 on test; best at ``best``, diverged at ``lost``."""

    best, lost = "0.1", "none"

    def pick(self, quick, full):
        return full

    def train(self, *overrides, seed):
        rate = overrides[-1].removeprefix("optim.lr=")
        self.commands.append(" ".join([*overrides, f"seed={seed}"]))
        if self.lost in (rate, "all"):
            return Run("", seed, [], 0.1, 0.0, 1, True, {})
        history = [{"val/accuracy": 0.5 if rate == self.best else 0.4}]
        return Run("", seed, history, 0.4, 0.0, 1, False, {})


def test_every_seed_trains_at_the_best_rate_of_the_first():
    lab = Scripted()
    runs = structure._train_both(lab, *structure.NETS["ConvNet"], [0, 1, 2])
    tried = ["0.0333 seed=0", "0.1 seed=0", "0.3 seed=0", "0.1 seed=1", "0.1 seed=2"]
    assert [command.split("optim.lr=")[1] for command in lab.commands] == tried * 2
    for i, command in enumerate(lab.commands):
        assert ("shuffled_shapes" in command) == (i >= 5)
        assert "model=convnet" in command
        assert "augment=none data.val_size=1000 trainer.max_epochs=75 " in command  # of 600 images
    assert all(of["rate"] == 0.1 and not of["at_edge"] for of in runs.values())


def test_a_best_rate_at_the_edge_is_said_to_be_so(measured):
    lab = Scripted()
    lab.best, lab.lost = "0.3", "0.1"
    made = copy.deepcopy(measured)
    made["nets"]["ConvNet"] = structure._train_both(lab, *structure.NETS["ConvNet"], [0, 1, 2])
    _, accuracies, _ = structure.draw(made)
    assert "the best of 0.0333, 0.1, 0.3 by the first seed's" in accuracies.caption
    assert "0.3 (at the edge) in order" in accuracies.caption
    assert "learning rate 0.05, the only one tried" in accuracies.caption  # of the MLP


def test_nets_that_diverge_have_nothing_to_lose():
    lab = Scripted()
    lab.lost = "all"
    made = json.loads(json.dumps(structure.measure(lab), allow_nan=False))
    assert [f.verdict for f in structure.judge(made)][4:] == [
        "does not hold",
        "holds",
        "does not hold",
    ]
    assert len(structure.draw(made)) == 3


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (0, lambda m: m["cost"][1].update(parameters=2000)),
        (1, lambda m: m["cost"][1].update(multiply_adds=352_800)),
        (2, lambda m: m["same_function"].update(difference=0.1)),
        (3, lambda m: m.update(same_scores=0.1)),
        (4, lambda m: m.update(chance=0.6)),
        (5, lambda m: m["nets"]["MLP"]["shuffled"].update(accuracy=[0.3, 0.31, 0.29])),
        (6, lambda m: m["nets"]["ConvNet"]["shuffled"].update(accuracy=[0.6, 0.61, 0.62])),
    ],
)
def test_a_contradiction_is_judged_so(measured, index, change):
    other = copy.deepcopy(measured) | {"tested": 10_000}
    other["nets"]["MLP"]["in order"]["accuracy"] = [0.5, 0.51, 0.5]
    other["nets"]["MLP"]["shuffled"]["accuracy"] = [0.5, 0.505, 0.505]
    other["nets"]["ConvNet"]["in order"]["accuracy"] = [0.6, 0.61, 0.62]
    other["nets"]["ConvNet"]["shuffled"]["accuracy"] = [0.4, 0.41, 0.42]
    assert {finding.verdict for finding in structure.judge(other)} == {"holds"}
    few = structure.judge(other | {"tested": 100})  # where 20 points are within twice luck
    assert [finding.verdict for finding in few][4:] == ["holds", "holds", "does not hold"]
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
    assert len(accuracies.figure.layout.shapes) == 2  # chance, in each panel
    assert len(lines) == 6
    sides = measured["nets"]["ConvNet"]
    assert lines["x2", "seed 1"] == [
        100 * sides[side]["accuracy"][1] for side in ("in order", "shuffled")
    ]
    of_seeds = [100 * a for a in measured["nets"]["MLP"]["shuffled"]["accuracy"]]
    told = f"{sum(of_seeds) / 3:.1f} ({min(of_seeds):.1f}–{max(of_seeds):.1f}) % shuffled"
    assert told in accuracies.alt
    assert isinstance(bill, Table)
    assert [row[1:] for row in bill.rows] == [["456", "352,800"], ["14,455,392", "14,450,688"]]
