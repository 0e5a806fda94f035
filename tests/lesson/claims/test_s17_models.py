"""Softmax, MLP, ConvNet side by side: predictions, counts, pictures, verdicts."""

import json

import pytest
import torch

from lecture4.lesson.claims import s17_models as models
from lecture4.lesson.lab import Gallery, Lab, Plot, Table, verdict

SMALL = {
    "softmax": ("model=softmax",),
    "mlp": ("model=mlp", "model.hidden=[16]"),
    "convnet": (
        "model=convnet",
        "model.blocks=[{channels: 4, stride: 2, pool: {kernel_size: 3}}]",
        "trainer.precision=32-true",
    ),
}
SHORT = ("trainer.max_epochs=1", "data.train_share=0.043")


@pytest.fixture(scope="module")
def lab():
    return Lab(data="shapes")


@pytest.fixture(scope="module")
def measured(lab):
    with pytest.MonkeyPatch.context() as patch:
        words = {name: (*words, *SHORT) for name, words in SMALL.items()}
        patch.setattr(models, "overrides", lambda lab: words)
        return json.loads(json.dumps(models.CLAIM.measure(lab), allow_nan=False))


def with_accuracies(m, **accuracies):
    rows = {name: {**m["models"][name], "accuracy": a} for name, a in accuracies.items()}
    return {**m, "models": rows}


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
        words = quick[name]
        assert words[0] == f"model={name}"
        cfg = lab.compose(*words)
        split = 10_000 - cfg.data.val_size  # shapes has 10,000 training images
        shown = cfg.trainer.max_epochs * cfg.data.train_share * split
        assert shown == pytest.approx(images, rel=1e-3)


def test_the_predictions_of_the_first_seed_are_those_that_its_accuracy_counts(measured):
    for row in measured["models"].values():
        counts = torch.tensor(row["confusion"])
        assert counts.sum() == measured["test_images"] == 2000
        assert counts.diagonal().sum() / 2000 == pytest.approx(row["accuracy"][0], abs=1e-3)


def test_each_image_is_counted_once_by_who_gets_it_right(measured):
    assert sum(row["images"] for row in measured["right"]) == 2000
    for name, row in measured["models"].items():
        known = sum(r["images"] for r in measured["right"] if name in r["models"])
        assert known == sum(row["confusion"][k][k] for k in range(10))


def test_the_pictures_are_images_that_only_the_convnet_gets_right(lab, measured):
    assert 0 < len(measured["pictures"]) <= models.PICTURES
    for p in measured["pictures"]:
        assert p["label"] == lab.dataset.test_labels[p["index"]].item() == p["said"]["convnet"]
        assert p["label"] not in (p["said"]["mlp"], p["said"]["softmax"])


def test_a_confusion_matrix_has_the_true_class_in_its_rows():
    counts = models.confusion(torch.tensor([1, 1, 0, 2]), torch.tensor([0, 1, 0, 2]), 3)
    assert counts == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert models.confused(counts, ["a", "b", "c"])[0] == ("a / b", 1)


def test_a_run_that_diverged_knows_nothing(lab):
    words = (*SMALL["mlp"], "optim.lr=1e39", *SHORT)
    run = lab.train(*words)
    assert run.diverged
    assert models.classify(lab, run, words).sum() == 0


def test_a_difference_counts_where_the_test_set_resolves_it(measured):
    for n, least in ((2_000, 3.099), (10_000, 1.386), (100_000, 1)):
        findings = models.CLAIM.judge({**measured, "test_images": n})
        assert [f.at_least for f in findings] == pytest.approx([least] * 2, abs=1e-3)
        assert {f.unit for f in findings} == {"points"}


def test_runs_that_diverged_are_measured_judged_and_drawn(lab, monkeypatch):
    train = Lab.train
    words = {name: (*words, *SHORT) for name, words in SMALL.items()}
    monkeypatch.setattr(models, "overrides", lambda lab: words)

    def diverging(lab, *overrides, seed):
        broken = overrides == words["convnet"] or seed == 1
        return train(lab, *overrides, *["optim.lr=1e39"] * broken, seed=seed)

    monkeypatch.setattr(Lab, "train", diverging)
    m = json.loads(json.dumps(models.CLAIM.measure(lab), allow_nan=False))
    assert m["models"]["convnet"]["accuracy"] == [0.1] * 3
    assert m["models"]["convnet"]["images_seen"] == [0] * 3
    assert m["models"]["mlp"]["diverged"] == [False, True, False]
    assert models.CLAIM.judge(m)[1].verdict != "holds"
    assert [row[-1] for row in models.CLAIM.draw(m)[1].rows] == [1, 1, 3]


@pytest.mark.parametrize(
    ("convnet", "expected"),
    [([0.7, 0.71, 0.72], "holds"), ([0.5] * 3, "does not hold"), ([0.4, 0.7, 0.6], "undecided")],
)
def test_the_verdict_follows_the_numbers(measured, convnet, expected):
    m = with_accuracies(measured, softmax=[0.3] * 3, mlp=[0.5] * 3, convnet=convnet)
    assert verdict(models.CLAIM.judge(m)) == expected


def test_the_figures_hold_the_numbers(lab, measured):
    m = with_accuracies(measured, softmax=[0.3, 0.32, 0.34], mlp=[0.5] * 3, convnet=[0.7] * 3)
    items = models.CLAIM.draw(m)
    assert [type(item) for item in items] == [Plot, Table, Plot, Table, Table, Gallery]
    bars = [trace.y[0] for trace in items[0].figure.data if trace.type == "bar"]
    assert bars == pytest.approx([32, 50, 70])
    assert "softmax classifier 32.0 %, MLP 50.0 %, ConvNet 70.0 %" in items[0].alt
    assert items[1].rows[0][:2] == ["softmax classifier", "32.0 (30.0–34.0)"]
    seen = items[1].header.index("images seen")
    batch = lab.compose("model=softmax").data.batch_size
    assert "n = 3 seeds" in items[1].caption
    assert items[1].rows[0][seen] == f"{3 * batch:,}"
    heat = [trace for trace in items[2].figure.data if trace.type == "heatmap"]
    assert [list(map(list, h.text)) for h in heat] == [
        row["confusion"] for row in m["models"].values()
    ]
    assert len(items[-1].pictures) == len(m["pictures"])


def test_without_a_picture_there_is_no_gallery(measured):
    assert not any(isinstance(i, Gallery) for i in models.CLAIM.draw({**measured, "pictures": []}))
