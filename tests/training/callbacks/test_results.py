"""What a run leaves."""

import json

import pytest
import torch

from lecture4.data.views import score_views
from lecture4.runs.predictor import dataset_of, load
from lecture4.support.files import write_atomically
from lecture4.training.callbacks.results import shown

KEYS = [
    "status",
    "test_accuracy",
    "test_loss",
    "test_time",
    "test_time_accuracy",
    "val_accuracy",
    "val_loss",
    "train_seconds",
    "train_flops",
    "images_per_second",
    "parameters",
    "epochs",
    "seed",
    "versions",
]


def test_results_hold_every_key(job):
    metric, folder = job("model=softmax", "trainer.max_epochs=2", "seed=0")
    results = json.loads((folder / "results.json").read_text())
    assert list(results) == KEYS
    assert results["status"] == "completed"
    assert results["val_accuracy"] == metric
    assert 0 <= results["test_accuracy"] <= 1
    assert results["parameters"] == 30_730
    assert results["epochs"] == 2
    assert results["seed"] == 0
    assert results["versions"]["torch"] == torch.__version__
    assert results["train_seconds"] > 0
    assert results["images_per_second"] > 0


@pytest.mark.parametrize("model", ["softmax", "mlp", "convnet"])
def test_figures_are_there_for_every_model(job, model):
    blocks = ["model.blocks=[{channels: 4, pool: {}}]"] if model == "convnet" else []
    _, folder = job(f"model={model}", "trainer.max_epochs=1", *blocks)
    names = sorted(path.name for path in (folder / "figures").iterdir())
    assert names == ["confusion.png", "curves.png", "first_layer.png", "mistakes.png"]
    assert all((folder / "figures" / name).stat().st_size > 5_000 for name in names)


def test_the_end_tells_where_everything_lies(job, capsys):
    _, folder = job("model=softmax", "trainer.max_epochs=1")
    text = capsys.readouterr().out
    assert f"{folder}: checkpoints/best.ckpt" in text
    assert "results.json" in text
    assert "test" in text


def test_logs_lie_in_the_run_directory(job):
    _, folder = job("model=softmax", "trainer.max_epochs=1")
    assert (folder / "metrics.csv").exists()
    assert list((folder / "tensorboard").glob("events.out.*"))


def test_text_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_atomically(path, "first")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("choices", "flops"),
    [
        (["model=softmax"], 6 * 3072 * 10),
        (["model=softmax", "formulas=byhand"], 6 * 3072 * 10),
        (["model=softmax", "optim=random_search"], 4 * 3072 * 10),  # two forward passes, no other
        (["model=mlp", "model.hidden=[7]"], 6 * (3072 * 7 + 7 * 10)),
    ],
)
def test_flops_of_training(job, choices, flops):
    steps = ["trainer.max_epochs=3", "data.batch_size=50", "data.train_share=0.5"]
    _, folder = job(*choices, *steps)  # 2 of 4 batches
    results = json.loads((folder / "results.json").read_text())
    assert results["train_flops"] == flops * 3 * 2 * 50


@pytest.mark.parametrize(
    ("flops", "text"),
    [(75.3e12, "0.0753 PFLOP"), (2.9e17, "290 PFLOP"), (1.84e12, "1.84 TFLOP")],
)
def test_flops_are_printed_short(flops, text):
    assert shown(flops) == text


@pytest.mark.parametrize("test_time", ["none", "mirror", "crops"])
def test_plain_accuracy_stands_beside_the_views(job, capsys, test_time):
    _, folder = job("model=mlp", "trainer.max_epochs=2", f"test_time={test_time}")
    results = json.loads((folder / "results.json").read_text())
    predictor = load(folder)
    images, labels = (getattr(dataset_of(predictor), f"test_{n}") for n in ("inputs", "labels"))
    assert results["test_time"] == test_time
    assert results["test_accuracy"] == accuracy(predictor.scores(images), labels)
    rows = [line for line in capsys.readouterr().out.splitlines() if "accuracy, " in line]
    if test_time == "none":
        assert results["test_time_accuracy"] is None
        assert not rows
        return
    _, mean = score_views(predictor.scores, images, test_time)
    assert results["test_time_accuracy"] == accuracy(mean, labels)
    assert f"{accuracy(mean, labels):.2%}" in rows[0]
    assert f",{accuracy(mean, labels)}" in (folder / "metrics.csv").read_text()


def accuracy(scores, labels) -> float:
    return (scores.argmax(1) == labels).double().mean().item()


def test_views_need_images(job):
    points = ["data=rings", "data.train_size=300", "data.test_size=60", "data.val_size=60"]
    with pytest.raises(ValueError, match="test_time=crops needs images .* use test_time=none"):
        job("model=softmax", "test_time=crops", data=points)
