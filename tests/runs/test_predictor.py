"""From a checkpoint alone: the same numbers as the run's test; and nothing of a stranger's runs."""

import copy
import hashlib
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from running import SMALL, command
from torchvision.datasets import CIFAR10

from lecture4.runs.predictor import dataset_of, find_checkpoint, load

BLOCKS = "model.blocks=[{channels: 4, padding: 1, norm: batch, pool: {}},{channels: 4}]"
CONVNET = ["model=convnet", BLOCKS, "data.eval_batch_size=25"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's directory."""
    folder = tmp_path_factory.mktemp("run")
    done = command(*SMALL, "model=softmax", "trainer.max_epochs=2", f"hydra.run.dir={folder}")
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
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return name, hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(name, n=20):
        images = draw.integers(0, 256, (n, 3072), dtype=np.uint8)
        return write(name, {"data": images, "labels": (np.arange(n) % 10).tolist()})

    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{i}") for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch", 30)])
    name, md5 = write("batches.meta", {"label_names": [f"class {k}" for k in range(10)]})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
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
    "shapes, float64": ("shapes", [*CONVNET, "trainer.precision=64-true", "model.layers=byhand"]),
    "shapes, all of it in bfloat16": ("shapes", ["model=mlp", "trainer.precision=bf16-true"]),
    "rings, float32": ("rings", ["model=softmax", "model.layers=byhand"]),
    "rings, float64": ("rings", ["model=mlp", "trainer.precision=64-true"]),
    "rings, bfloat16": ("rings", ["model=mlp", "trainer.precision=bf16-mixed"]),
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
    assert results == {key: recorded[key] for key in ("test_accuracy", "test_loss")}


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


def test_a_run_is_its_best_epoch_or_else_its_last(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "sweep" / "0")
    best, last = (run / "checkpoints" / name for name in ("best.ckpt", "last.ckpt"))
    assert find_checkpoint(run) == find_checkpoint(run / "checkpoints") == best
    with pytest.raises(ValueError, match="holds the runs 0: give one of them"):
        find_checkpoint(tmp_path / "sweep")
    best.unlink()
    assert find_checkpoint(run) == last == find_checkpoint(last)
    last.unlink()
    with pytest.raises(ValueError, match="holds no checkpoints/best.ckpt"):
        find_checkpoint(run)
    with pytest.raises(ValueError, match="is not there"):
        find_checkpoint(tmp_path / "no")


def test_an_older_checkpoint_predicts_and_says_what_it_lacks(checkpoint, tmp_path):
    older = copy.deepcopy(checkpoint)
    for key in ("precision", "device", "eval_batch_size", "source"):
        del older["classifier"][key]
    torch.save(older, tmp_path / "older.ckpt")
    predictor = load(tmp_path / "older.ckpt")
    assert predictor.precision == "32-true"
    assert predictor.probabilities(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 10)
    with pytest.raises(ValueError, match="does not say on which data"):
        dataset_of(predictor)


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def as_pickle(thing, path):
    path.write_bytes(pickle.dumps(thing))


def as_old_pickle(thing, path):
    path.write_bytes(pickle.dumps(thing, protocol=2))


def as_torch_zip(thing, path):
    torch.save(thing, path)


def as_old_torch_file(thing, path):
    torch.save(thing, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [as_pickle, as_old_pickle, as_torch_zip, as_old_torch_file])
@pytest.mark.parametrize("hidden", [False, True])
def test_code_in_a_checkpoint_does_not_run(checkpoint, tmp_path, write, hidden):
    touched, path = tmp_path / "touched", tmp_path / "bad.ckpt"
    malice = Malice(f"touch {touched}")
    write({**checkpoint, "more": [malice]} if hidden else malice, path)
    with pytest.raises(ValueError, match="bad.ckpt: ") as caught:
        load(path)
    if write in (as_torch_zip, as_old_torch_file):
        assert "(posix.system), which could run code" in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert not touched.exists()
    try:  # the test is one only if it does run where nobody forbids it
        torch.load(path, weights_only=False)
    except Exception:
        pickle.loads(path.read_bytes())
    assert touched.exists()


def truncated(path, checkpoint):
    torch.save(checkpoint, path)
    path.write_bytes(path.read_bytes()[:-1000])


def foreign_zip(path, checkpoint):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", "nothing")


FOREIGN = {
    "text": (lambda path, c: path.write_text("accuracy: 99%\n"), "damaged"),
    "empty": (lambda path, c: path.write_bytes(b""), "damaged"),
    "bytes": (lambda path, c: path.write_bytes(bytes(range(256)) * 9), "damaged"),
    "truncated": (truncated, "damaged"),
    "another zip": (foreign_zip, "damaged"),
    "a tensor": (lambda path, c: torch.save(torch.ones(3), path), "does not say which model"),
    "a state_dict": (lambda path, c: torch.save(c["state_dict"], path), "does not say which model"),
    "of another project": (
        lambda path, c: torch.save({k: v for k, v in c.items() if k != "classifier"}, path),
        "does not say which model",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused_in_a_sentence(checkpoint, tmp_path, name):
    write, part = FOREIGN[name]
    path = tmp_path / "other.ckpt"
    write(path, checkpoint)
    with pytest.raises(ValueError, match=part) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def model(**settings):
    return lambda c: c["classifier"]["model"].update(settings)


def card(**values):
    return lambda c: c["classifier"].update(values)


def state(**tensors):
    return lambda c: c["state_dict"].update(
        {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    )


def lose(c):
    del c["state_dict"]["preprocess.mean"]


def mlp(*hidden):
    return model(
        name="MLP", hidden=list(hidden), activation="relu", dropout=0.0, init="he", layers="torch"
    )


def convnet(**block):
    settings = {"name": "ConvNet", "blocks": [{"channels": 4, **block}], "init": "he"}
    return model(**settings)


W = torch.zeros(10, 3072)
# name: (what is changed in a good checkpoint, what the sentence must contain)
WRONG = {
    "unknown model": (model(name="Sequential"), "model is 'Sequential'; known are Softmax"),
    "a module for a model": (model(name="torch"), "model is 'torch'"),
    "an attribute for a model": (model(name="layer_table"), "model is 'layer_table'"),
    "no name": (model(name=["MLP"]), r"model is \['MLP'\]"),
    "no model": (card(model="MLP"), "model is 'MLP', not a mapping"),
    "unknown preprocess": (card(preprocess="nn"), "preprocess is 'nn'; known are Preprocess"),
    "private preprocess": (card(preprocess="_ImagePreprocess"), "preprocess is '_ImageP"),
    "unknown precision": (card(precision="8-true"), "precision is '8-true'; known are 32-true"),
    "unknown device": (card(device="mps:0"), "device is 'mps:0'"),
    "batches of zero": (card(eval_batch_size=0), "eval_batch_size is 0"),
    "batches of true": (card(eval_batch_size=True), "eval_batch_size is True"),
    "source no mapping": (card(source=["shapes"]), "source is"),
    "class names missing": (card(class_names=None), "class_names is None"),
    "class names no names": (card(class_names=[1] * 10), "class_names"),
    "class names twice": (card(class_names=["a"] * 10), "twice"),
    "too few class names": (card(class_names=["a", "b"]), "num_classes=10, and class_names are 2"),
    "unknown setting": (model(depth=3), "cannot be built: .*depth"),
    "unknown layers": (model(layers="os"), "cannot be built: layers=os is unknown"),
    "layers no name": (model(layers=["torch"]), "cannot be built"),
    "unknown init": (model(init="\x1b[2J"), r"cannot be built: init=\\x1b\[2J is unknown"),
    "input shape no sizes": (model(input_shape=[3, "32", 32]), "input_shape"),
    "input shape negative": (model(input_shape=[3, -32, -32]), "input_shape"),
    "input shape of two": (model(input_shape=[32, 32]), "input_shape"),
    "another input shape": (model(input_shape=[3, 33, 32]), r"weight has the shape \(10, 3072\)"),
    "enormous input": (model(input_shape=[3, 10**6, 10**6]), "GiB|shape|cannot be built"),
    "more classes than memory": (model(num_classes=10**12), "num_classes=1000000000000"),
    "an enormous layer": (mlp(10**12), "GiB|weights are not those"),
    "a layer beyond all numbers": (mlp(10**30), "cannot be built"),
    "an enormous kernel": (convnet(kernel_size=10**9, padding=10**9), "cannot be built|GiB"),
    "an enormous map": (convnet(padding=10**6), "GiB"),
    "a mapping for a width": (mlp({"a": 1}), "cannot be built"),
    "a weight is missing": (lose, "preprocess.mean is missing"),
    "a weight too many": (state(model__extra=W), "model.extra is not in the model"),
    "a weight of another shape": (state(model__scores__weight=W[:, 1:]), r"\(10, 3071\)"),
    "a weight that is text": (state(model__scores__weight="W"), "no tensor"),
    "a weight of whole numbers": (state(model__scores__weight=W.long()), "no tensor"),
    "a complex weight": (state(model__scores__weight=W.cfloat()), "no tensor"),
    "a sparse weight": (state(model__scores__weight=W.to_sparse()), "no tensor"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_in_a_sentence(checkpoint, tmp_path, name):
    change, part = WRONG[name]
    wrong = copy.deepcopy(checkpoint)
    change(wrong)
    path = tmp_path / "wrong.ckpt"
    torch.save(wrong, path)
    with pytest.raises(ValueError, match=part) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_one_number_that_says_it_is_many_takes_no_memory(checkpoint, tmp_path):
    large = copy.deepcopy(checkpoint)
    mlp(1_000_000)(large)
    first = torch.zeros(1)
    large["state_dict"] = {
        "preprocess.mean": large["state_dict"]["preprocess.mean"],
        "preprocess.std": large["state_dict"]["preprocess.std"],
        "model.hidden.0.weight": first.expand(1_000_000, 3072),  # 12 GB
        "model.hidden.0.bias": first.expand(1_000_000),
        "model.scores.weight": first.expand(10, 1_000_000),
        "model.scores.bias": first.expand(10),
    }
    path = tmp_path / "large.ckpt"
    torch.save(large, path)
    assert path.stat().st_size < 200_000
    with pytest.raises(ValueError, match="larger than the file"):
        load(path)


def test_scores_that_are_no_numbers_are_no_probabilities(checkpoint, tmp_path):
    broken = copy.deepcopy(checkpoint)
    broken["state_dict"]["model.scores.bias"][3] = torch.nan
    torch.save(broken, tmp_path / "nan.ckpt")
    with pytest.raises(ValueError, match="not finite"):
        load(tmp_path / "nan.ckpt").probabilities(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def source(name="shapes", train_size=300, test_size=60, seed=0, **more):
    return {"name": name, "train_size": train_size, "test_size": test_size, "seed": seed, **more}


BAD_SOURCES = {
    "none": ({}, "does not say on which data"),
    "unknown": (source("os"), "source is 'os'; known are cifar10"),
    "a path for a name": (source("torch.hub.load"), "source is 'torch.hub.load'"),
    "more than memory": (source(test_size=10**12), "too large"),
    "no number": (source(seed="0"), "seed is '0'"),
    "negative": (source(seed=-1), "seed is -1"),
    "another argument": (source(_target_="os.system"), "'_target_'"),
    "no root": ({"name": "cifar10"}, "root is None"),
    "images gone": ({"name": "image_folder", "root": "/nowhere", "image_size": 32}, "/nowhere"),
    "other classes": ({**source("rings")}, "the data has the classes inside, around"),
}


@pytest.mark.parametrize("name", BAD_SOURCES)
def test_a_source_that_cannot_be_is_refused(trained, name):
    predictor = load(trained)
    predictor.source, part = BAD_SOURCES[name]
    with pytest.raises(ValueError, match=part):
        dataset_of(predictor)


def test_a_checkpoint_s_root_is_read_but_never_downloaded_to(trained, tmp_path, monkeypatch):
    from lecture4.data import shapes
    from lecture4.runs import predictor as module

    asked = []

    def cifar10(root):
        asked.append(str(root))
        return shapes(train_size=10, test_size=10)

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
