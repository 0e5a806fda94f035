"""What a run leaves."""

import json

import pytest
import torch

from lecture4.support.files import write_atomically

KEYS = [
    "status",
    "test_accuracy",
    "test_loss",
    "val_accuracy",
    "val_loss",
    "train_seconds",
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
