"""From a checkpoint alone: the same numbers as the run's test."""

import copy
import dataclasses
import hashlib
import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from running import SMALL, call

from lecture4.data import cifar
from lecture4.runs.predictor import dataset_of, load

BLOCKS = "model.blocks=[{channels: 4, padding: 1, norm: batch, pool: {}},{channels: 4}]"
BY_HAND = "formulas=byhand"
CONVNET = ["model=convnet", BLOCKS, "data.eval_batch_size=25"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's directory."""
    folder = tmp_path_factory.mktemp("run")
    done = call(*SMALL, "model=softmax", "trainer.max_epochs=2", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def checkpoint(trained):
    return torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)


def some_images(root):
    draw = np.random.default_rng(0)
    for split, n in (("train", 12), ("test", 9)):
        for name in ("cat", "dog"):
            for i in range(n):
                path = root / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw.integers(0, 256, (8, 9, 3), dtype=np.uint8)).save(path)
    return root


def some_cifar10(root, monkeypatch):
    published = cifar.PUBLISHED["cifar10"]
    folder = root / published.folder
    folder.mkdir(parents=True)
    draw, sums = np.random.default_rng(0), {}
    for name in published.files:
        n = 30 if name == "test_batch" else 20
        images = draw.integers(0, 256, (n, 3072), dtype=np.uint8)
        content = {"data": images, "labels": (np.arange(n) % 10).tolist()}
        if name == "batches.meta":
            content = {"label_names": [f"class {k}" for k in range(10)]}
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setitem(cifar.PUBLISHED, "cifar10", dataclasses.replace(published, files=sums))
    return root


SOURCES = {
    "shapes": SMALL,
    "rings": ["data=rings", "preprocess=polar"],
    "image_folder": ["data=image_folder", "data.image_size=12"],
    "cifar10": ["data=cifar10", "data.val_size=20"],
}
SAME = {
    "shapes, float32": ("shapes", [*CONVNET, "trainer.precision=32-true", "data.test_size=70"]),
    "shapes, bfloat16": ("shapes", [*CONVNET, "trainer.precision=bf16-mixed"]),
    "shapes, float64": ("shapes", [*CONVNET, "trainer.precision=64-true", BY_HAND]),
    "shapes, all of it in bfloat16": ("shapes", ["model=mlp", "trainer.precision=bf16-true"]),
    "shapes, a mean of weights": ("shapes", [*CONVNET, "optim=muon", "average=ema"]),
    "rings, float32": ("rings", ["model=softmax", BY_HAND]),
    "rings, float64": ("rings", ["model=mlp", "trainer.precision=64-true"]),
    "rings, bfloat16": ("rings", ["model=mlp", "trainer.precision=bf16-mixed"]),
    "views, bfloat16": ("shapes", [*CONVNET, "test_time=crops", "trainer.precision=bf16-mixed"]),
    "views, by hand": ("shapes", [*CONVNET, "test_time=mirror", BY_HAND]),
    "image folder": ("image_folder", CONVNET),
    "cifar10": ("cifar10", ["model=mlp", "preprocess=mean_image", "data.eval_batch_size=7"]),
}


@pytest.mark.parametrize("name", SAME)
def test_evaluation_gives_the_run_s_numbers_bit_for_bit(job, tmp_path, monkeypatch, name):
    source, choices = SAME[name]
    root = {
        "image_folder": lambda: some_images(tmp_path / "data"),
        "cifar10": lambda: some_cifar10(tmp_path / "data", monkeypatch),
    }.get(source, lambda: None)()
    data = SOURCES[source] + ([f"data.root={root}"] if root else [])
    _, folder = job(*choices, "trainer.max_epochs=1", data=data)
    lone = shutil.copy(folder / "checkpoints" / "best.ckpt", tmp_path / "lone.ckpt")

    predictor = load(lone)
    results = predictor.evaluate(dataset_of(predictor))
    recorded = json.loads((folder / "results.json").read_text())
    asked = [c.partition("=")[2] for c in choices if c.startswith("data.eval_batch_size=")]
    assert predictor.eval_batch_size == int((asked or [500])[0])
    keys = ("test_accuracy", "test_loss", "test_time", "test_time_accuracy")
    assert results == {key: recorded[key] for key in keys}
    assert (results["test_time_accuracy"] is None) == (not name.startswith("views"))


def test_probabilities_are_those_of_the_model(trained, checkpoint):
    predictor = load(trained)
    dataset = dataset_of(predictor)
    state = checkpoint["state_dict"]
    x = (dataset.test_inputs / 255 - state["preprocess.mean"]) / state["preprocess.std"]
    scores = x.flatten(1) @ state["model.scores.weight"].T + state["model.scores.bias"]
    probabilities = predictor.probabilities(dataset.test_inputs)
    torch.testing.assert_close(probabilities, scores.double().softmax(1), atol=1e-6, rtol=1e-5)
    assert probabilities.dtype == torch.float64
    assert predictor.class_names == dataset.class_names


def test_scores_that_are_not_numbers_are_not_probabilities(checkpoint, tmp_path):
    broken = copy.deepcopy(checkpoint)
    broken["state_dict"]["model.scores.bias"][3] = torch.nan
    torch.save(broken, tmp_path / "nan.ckpt")
    with pytest.raises(ValueError, match="not finite"):
        load(tmp_path / "nan.ckpt").probabilities(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def source(name="shapes", train_size=300, test_size=60, seed=0, **more):
    return {"name": name, "train_size": train_size, "test_size": test_size, "seed": seed, **more}


BAD_SOURCES = {
    "none": ({}, "source is None; known are cifar10"),
    "unknown": (source("os"), "source is 'os'; known are cifar10"),
    "a path for a name": (source("torch.hub.load"), "source is 'torch.hub.load'"),
    "another argument": (source(_target_="os.system"), "data=shapes has no setting _target_"),
    "images gone": ({"name": "image_folder", "root": "/nowhere", "image_size": 32}, "/nowhere"),
    "other classes": ({**source("rings")}, "the data has the classes inside, around"),
}


@pytest.mark.parametrize("name", BAD_SOURCES)
def test_a_source_that_does_not_fit_is_refused(trained, name):
    predictor = load(trained)
    predictor.source, part = BAD_SOURCES[name]
    with pytest.raises(ValueError, match=part):
        dataset_of(predictor)


def test_a_checkpoint_s_root_is_read_but_never_downloaded_to(trained, tmp_path, monkeypatch):
    from lecture4.data import make_shapes
    from lecture4.runs import predictor as module

    asked = []

    def cifar10(root):
        asked.append(str(root))
        return make_shapes(train_size=10, test_size=10)

    monkeypatch.setitem(module.SOURCES, "cifar10", cifar10)
    monkeypatch.delenv("CIFAR10_ROOT", raising=False)
    there, gone = some_cifar10(tmp_path / "there", monkeypatch), tmp_path / "gone"
    predictor = load(trained)
    predictor.source = {"name": "cifar10", "root": str(gone)}
    dataset_of(predictor)
    monkeypatch.setenv("CIFAR10_ROOT", "/datasets")
    dataset_of(predictor)
    dataset_of(predictor, "/typed")
    predictor.source["root"] = str(there)
    dataset_of(predictor)
    dataset_of(predictor, "/typed")
    assert asked == ["data", "/datasets", "/typed", str(there), "/typed"]
    assert not gone.exists()
