"""Softmax, MLP, ConvNet side by side: predictions, counts, pictures, verdicts."""

from dataclasses import replace

import pytest
import torch
from claiming import judged, stored

from lecture4.lesson.claims import s17_models as models
from lecture4.lesson.lab import Gallery, Lab, Plot, Table, verdict

SHORT = ("trainer.max_epochs=1", "data.train_share=0.043")
SMALL = {
    "softmax": ("model=softmax", *SHORT),
    "mlp": ("model=mlp", "model.hidden=[16]", *SHORT),
    "convnet": (
        "model=convnet",
        "model.blocks=[{channels: 4, stride: 2, pool: {kernel_size: 3}}]",
        "trainer.precision=32-true",
        *SHORT,
    ),
}


@pytest.fixture(scope="module")
def lab():
    return Lab(data="shapes")


@pytest.fixture(scope="module")
def measured(lab):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "overrides", lambda lab: SMALL)
        return stored(models, models.measure(lab))


def with_accuracies(m, **accuracies):
    return replace(m, models={k: replace(m.models[k], accuracy=a) for k, a in accuracies.items()})


def test_the_models_in_order_each_by_its_own_recipe():
    full = models.overrides(Lab(budget="full"))
    assert list(full) == ["softmax", "mlp", "convnet"]
    for name, words in full.items():
        assert words[0] == f"model={name}"
        assert not any("train_share" in word for word in words)


def test_a_quick_run_sees_about_as_many_images_as_it_should(lab):
    quick = models.overrides(lab)
    assert list(quick) == list(models.overrides(Lab(budget="full")))
    for name, images in (("softmax", 45_000), ("mlp", 18_000), ("convnet", 9_000)):
        cfg = lab.compose(*quick[name])
        split = 10_000 - cfg.data.val_size  # shapes has 10,000 training images
        shown = cfg.trainer.max_epochs * cfg.data.train_share * split
        assert shown == pytest.approx(images, rel=1e-3)


def test_the_predictions_of_the_first_seed_are_those_that_its_accuracy_counts(measured):
    for of in measured.models.values():
        assert sum(map(sum, of.confusion)) == measured.test_images == 2000
        assert of.correct / 2000 == pytest.approx(of.accuracy[0], abs=1e-3)


def test_each_image_is_counted_once_by_the_models_that_classify_it_correctly(measured):
    assert len(measured.correct) == 8
    assert sum(measured.correct.values()) == 2000
    for name, of in measured.models.items():
        known = {k: n for k, n in measured.correct.items() if models.TITLES[name] in k.split(" + ")}
        assert sum(known.values()) == of.correct


def test_the_pictures_are_images_that_only_the_convnet_classifies_correctly(measured):
    assert len(measured.pictures) == min(models.PICTURES, measured.correct["ConvNet"]) > 0
    for picture, label in measured.pictures:
        assert picture.startswith("data:image/png;base64,")
        true, _, others = label.partition(", not ")
        assert true in measured.class_names
        assert true not in others.split(" · ")


def test_a_confusion_matrix_has_the_true_class_in_its_rows():
    counts = models.confusion(torch.tensor([1, 1, 0, 2]), torch.tensor([0, 1, 0, 2]), 3)
    assert counts == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_runs_that_diverged_are_measured_judged_and_drawn(lab, monkeypatch):
    train = Lab.train
    monkeypatch.setattr(models, "overrides", lambda lab: SMALL)

    def diverging(lab, *overrides, seed):
        broken = overrides == SMALL["convnet"] or seed == 1
        return train(lab, *overrides, *["optim.lr=1e39"] * broken, seed=seed)

    monkeypatch.setattr(Lab, "train", diverging)
    m = stored(models, models.measure(lab))
    convnet = m.models["convnet"]
    assert convnet.accuracy == [0.1] * 3
    assert convnet.images_seen == [0] * 3
    assert [row[0] for row in convnet.confusion] == [sum(row) for row in convnet.confusion]
    assert m.models["mlp"].diverged == [False, True, False]
    assert judged(models, m)["the ConvNet better than MLP"].verdict != "holds"
    _, costs, *_ = models.draw(m)
    assert [row[-1] for row in costs.rows] == [1, 1, 3]


@pytest.mark.parametrize(
    ("convnet", "expected"),
    [([0.7, 0.71, 0.72], "holds"), ([0.5] * 3, "does not hold"), ([0.4, 0.7, 0.6], "undecided")],
)
def test_the_verdict_follows_the_numbers(measured, convnet, expected):
    m = with_accuracies(measured, softmax=[0.3] * 3, mlp=[0.5] * 3, convnet=convnet)
    assert verdict(judged(models, m).values()) == expected


def test_the_figures_hold_the_numbers(lab, measured):
    m = with_accuracies(measured, softmax=[0.3, 0.32, 0.34], mlp=[0.5] * 3, convnet=[0.7] * 3)
    items = list(models.draw(m))
    assert [type(item) for item in items] == [Plot, Table, Plot, Table, Gallery]
    bars = [trace.y[0] for trace in items[0].figure.data if trace.type == "bar"]
    assert bars == pytest.approx([32, 50, 70])
    assert "softmax classifier 32.0 %, MLP 50.0 %, ConvNet 70.0 %" in items[0].alt
    assert items[1].rows[0][:2] == ["softmax classifier", "32.0 (30.0–34.0)"]
    seen = items[1].header.index("images seen")
    batch = lab.compose("model=softmax").data.batch_size
    assert items[1].rows[0][seen] == f"{3 * batch:,}"
    heat = [trace for trace in items[2].figure.data if trace.type == "heatmap"]
    assert [list(map(list, h.text)) for h in heat] == [of.confusion for of in m.models.values()]
    assert not any(isinstance(item, Gallery) for item in models.draw(replace(m, pictures=[])))
