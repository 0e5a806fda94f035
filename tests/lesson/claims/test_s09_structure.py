import copy

import pytest
import torch
from claiming import SmallLab, judged, stored

from lecture4.data.shapes import make_shapes
from lecture4.lesson.claims import s09_structure as structure

IMAGES = ("data=shapes", "data.train_size=1200", "data.test_size=60")


@pytest.fixture(scope="module")
def trained():
    lab = SmallLab({13_500: 200}, images=IMAGES)
    return stored(structure, structure.measure(lab))


@pytest.fixture
def measured(trained):
    """As on many images, where only the ConvNet needs the order of pixels."""
    m = copy.deepcopy(trained)
    m.costs = dict(zip(("convolution", "connected"), m.costs.values(), strict=True))
    for net, accuracies in {"MLP": (0.5, 0.5), "ConvNet": (0.6, 0.4)}.items():
        m.nets[net].tested = 10_000
        for variant, accuracy in zip(m.nets[net].variants.values(), accuracies, strict=True):
            variant.accuracy = [accuracy, accuracy + 0.01, accuracy + 0.02]
    return m


def test_the_claim_runs_on_a_few_shapes(trained):
    findings = judged(structure, trained)
    exact = "3072 inputs", "convolution as matrix", "permuted columns"
    for name in ("parameters", "multiply-adds", *exact):
        assert findings[name].verdict == "holds"
    for compared in trained.nets.values():
        assert [len(variant.accuracy) for variant in compared.variants.values()] == [3, 3]
        assert compared.images == 128  # of 200, in whole batches
    assert [type(item).__name__ for item in structure.draw(trained)] == [
        "Gallery",
        "Plot",
        "Table",
        "Table",
    ]


def test_costs_are_those_of_the_lecture(trained):
    assert list(trained.costs.values()) == [
        (6 * 76, 28 * 28 * 6 * 75),
        (4704 * 3073, 4704 * 3072),
    ]


def test_a_convolution_as_a_matrix(trained):
    assert trained.matrix.shape == [6 * 8 * 8, 3 * 12 * 12]
    assert trained.matrix.zeros == pytest.approx(1 - 75 / 432)
    assert trained.matrix.distinct == 450


def test_pixels_are_put_into_one_order():
    images = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4)
    other = structure.shuffled(images)
    assert not torch.equal(other, images)
    assert torch.equal(other.flatten(2).sort(2).values, images.flatten(2))
    moved = other.flatten(2) - 16 * torch.arange(6).view(2, 3, 1)
    assert torch.equal(moved, moved[:1, :1].expand(2, 3, 16))
    assert torch.equal(other, structure.shuffled(images))


def test_training_and_test_images_are_shuffled_alike(monkeypatch):
    dataset, plain = structure.shuffled_shapes(20, 10, 4), make_shapes(20, 10, 4)
    assert torch.equal(dataset.train_inputs, structure.shuffled(plain.train_inputs))
    assert torch.equal(dataset.test_inputs, structure.shuffled(plain.test_inputs))
    assert torch.equal(dataset.train_labels, plain.train_labels)
    assert torch.equal(dataset.test_labels, plain.test_labels)
    monkeypatch.setattr(
        structure, "load_cifar10", lambda root, urls: make_shapes(20, 10, len(root))
    )
    assert torch.equal(structure.shuffled_cifar10("here").test_inputs, dataset.test_inputs)


def test_both_orders_are_trained_alike():
    lab = SmallLab(script=lambda words, seed: 0.5, images=IMAGES, budget="full")
    structure.compare(lab, "ConvNet", *structure.NETS["ConvNet"])
    tried = ["0.0333 seed=0", "0.1 seed=0", "0.3 seed=0"] + [
        f"0.0333 seed={i}" for i in range(1, 5)
    ]
    assert [command.split("optim.lr=")[1] for command in lab.commands] == tried * 2
    for i, command in enumerate(lab.commands):
        assert ("shuffled_shapes" in command) == (i >= len(tried))
        assert "augment=none data.val_size=1000 trainer.max_epochs=225 " in command  # of 200 images


def change_accuracy(net, order, *accuracies):
    return lambda m: setattr(
        m.nets[net].variants[f"{net} on {order} pixels"], "accuracy", accuracies
    )


@pytest.mark.parametrize(
    ("finding", "change"),
    [
        ("3072 inputs", lambda m: setattr(m, "inputs", 1024)),
        ("parameters", lambda m: m.costs.update(connected=(4000, 10**7))),
        ("multiply-adds", lambda m: m.costs.update(connected=(10**7, 3_000_000))),
        ("convolution as matrix", lambda m: setattr(m.matrix, "difference", 0.1)),
        ("permuted columns", lambda m: setattr(m, "permuted", 0.1)),
        ("MLP on ordered pixels learned", lambda m: setattr(m.nets["MLP"], "chance", 0.6)),
        (
            "MLP on ordered pixels as good as MLP on shuffled pixels",
            change_accuracy("MLP", "shuffled", 0.46, 0.47, 0.48),
        ),
        ("ConvNet needs the order", change_accuracy("ConvNet", "shuffled", 0.56, 0.57, 0.58)),
        ("ConvNet needs the order", lambda m: setattr(m.nets["ConvNet"], "tested", 100)),
    ],
)
def test_a_contradiction_is_judged_so(measured, finding, change):
    assert {found.verdict for found in judged(structure, measured).values()} == {"holds"}
    change(measured)
    verdicts = {name: found.verdict for name, found in judged(structure, measured).items()}
    assert verdicts.pop(finding) == "does not hold"
    assert set(verdicts.values()) == {"holds"}


def test_drawn(measured):
    pictures, plot, nets, costs = structure.draw(measured)
    assert [label for _, label in pictures.pictures] == ["in order"] * 4 + ["shuffled"] * 4
    assert all(picture.startswith("data:image/png;base64,") for picture, _ in pictures.pictures)
    drawn = {trace.name: list(trace.y) for trace in plot.figure.data if trace.name}
    assert drawn["MLP"] == pytest.approx([51, 51])
    assert drawn["ConvNet"] == pytest.approx([61, 41])
    assert nets.rows[3][0] == "ConvNet on shuffled pixels"
    assert nets.rows[3][2:] == ["0.1", "40.0, 41.0, 42.0"]
    assert "ConvNet: 128 training images. Learning rate 0.1 only" in nets.caption
    assert [row[1:] for row in costs.rows] == [["456", "352,800"], ["14,455,392", "14,450,688"]]
