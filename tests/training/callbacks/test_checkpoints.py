"""Checkpoints: which epochs, what they hold, whole or not there."""

import csv
from pathlib import Path

import pytest
import torch

from lecture4 import models
from lecture4.data import preprocess
from lecture4.training.callbacks import AtomicCheckpointIO


def plain(value) -> bool:
    if isinstance(value, dict):
        return all(plain(k) and plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    return value is None or isinstance(value, str | int | float | bool)


def test_best_is_the_highest_validation_accuracy_and_last_the_last(job):
    metric, folder = job("model=softmax", "trainer.max_epochs=6", "optim.lr=0.05")
    with open(folder / "metrics.csv", newline="") as lines:
        accuracies = [float(r["val/accuracy"]) for r in csv.DictReader(lines) if r["val/accuracy"]]
    best, last = (
        torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        for name in ("best", "last")
    )
    assert len(accuracies) == 6
    assert best["epoch"] == accuracies.index(max(accuracies))
    assert best["classifier"]["metrics"]["val/accuracy"] == max(accuracies) == metric
    assert last["epoch"] == 5
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize("model", ["softmax", "mlp", "convnet"])
def test_a_lone_checkpoint_is_enough_to_predict(job, tmp_path, model):
    blocks = ["model.blocks=[{channels: 4, norm: batch, pool: {}}]"] if model == "convnet" else []
    _, folder = job(f"model={model}", "trainer.max_epochs=1", "trainer.precision=32-true", *blocks)
    lone = (folder / "checkpoints" / "best.ckpt").rename(tmp_path / "lone.ckpt")

    checkpoint = torch.load(lone, weights_only=True)
    card = checkpoint["classifier"]
    assert plain(card)
    settings = dict(card["model"])
    net = getattr(models, settings.pop("name"))(**settings)
    prepare = getattr(preprocess, card["preprocess"])(settings["input_shape"])
    whole = torch.nn.ModuleDict({"model": net, "preprocess": prepare})
    whole.load_state_dict(checkpoint["state_dict"])

    from lecture4.data import make_shapes

    dataset = make_shapes(train_size=300, test_size=60)
    with torch.no_grad():
        scores = net.eval()(prepare(dataset.test_inputs))
    accuracy = (scores.argmax(1) == dataset.test_labels).double().mean().item()
    import json

    assert accuracy == json.loads((folder / "results.json").read_text())["test_accuracy"]
    assert card["class_names"] == dataset.class_names


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "last.ckpt"
    files = AtomicCheckpointIO()
    files.save_checkpoint({"epoch": 1}, path)
    with pytest.raises(AttributeError, match="pickle|local"):
        files.save_checkpoint({"epoch": lambda: None}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_lies_beside_its_place(tmp_path, monkeypatch):
    seen = []
    write = Path.write_bytes
    monkeypatch.setattr(
        Path, "write_bytes", lambda path, content: seen.append(path) or write(path, content)
    )
    AtomicCheckpointIO().save_checkpoint({}, tmp_path / "deep" / "last.ckpt")
    assert [path.parent for path in seen] == [tmp_path / "deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["last.ckpt"]
