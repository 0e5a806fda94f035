"""The real command line: bad input, reruns, Ctrl-C, two processes, sweeps."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from running import ROOT, SMALL, clean_environment, command, weights_of


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 16), "red").save(path)


def folder_of_images(root: Path, train=("cat", "dog"), test=("cat", "dog")) -> Path:
    for split, classes in (("train", train), ("test", test)):
        for name in classes:
            for number in range(8):
                picture(root / split / name / f"{number}.png")
    return root


def broken_image(root: Path) -> Path:
    (folder_of_images(root) / "test" / "dog" / "3.png").write_bytes(b"\x89PNG, or so it says")
    return root


def empty(root: Path) -> Path:
    (root / "train").mkdir(parents=True)
    (root / "test").mkdir()
    return root


def damaged_cifar10(root: Path) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "data_batch_1").write_bytes(b"truncated")
    return root


FOLDER = ["data=image_folder", "model=softmax"]
SHAPES = [*SMALL, "model=softmax"]
TINY = "channels: 4, padding: 1"

# name: (arguments, given a folder of its own; what stderr must contain)
BAD_INPUT = {
    "no CIFAR-10, no network": (lambda d: [f"data.root={d}"], ["data.root=", "data=shapes"]),
    "CIFAR-10 damaged": (
        lambda d: [f"data.root={damaged_cifar10(d)}"],
        ["data_batch_1", "damaged", "delete"],
    ),
    "no image folder": (lambda d: [*FOLDER, f"data.root={d / 'no'}"], ["no/train is not there"]),
    "empty folder": (lambda d: [*FOLDER, f"data.root={empty(d)}"], ["train is empty"]),
    "one class": (
        lambda d: [*FOLDER, f"data.root={folder_of_images(d, ['cat'], ['cat'])}"],
        ["one class, cat"],
    ),
    "other classes": (
        lambda d: [*FOLDER, f"data.root={folder_of_images(d, test=['cat', 'cow'])}"],
        ["cow", "dog"],
    ),
    "broken image": (lambda d: [*FOLDER, f"data.root={broken_image(d)}"], ["test/dog/3.png"]),
    "unknown model": (lambda d: ["model=resnet"], ["model=resnet", "convnet, mlp, softmax"]),
    "unknown optim": (lambda d: ["optim=sdg"], ["optim=sdg", "adam, adamw, byhand_adam"]),
    "unknown init": (lambda d: [*SHAPES, "model.init=foo"], ["init=foo", "xavier, he, small"]),
    "unknown activation": (
        lambda d: [*SMALL, "model=mlp", "model.activation=swish"],
        ["activation=swish", "relu, sigmoid, tanh, leaky_relu, gelu"],
    ),
    "unknown key": (lambda d: ["optim.learning_rate=1"], ["optim.learning_rate"]),
    "unknown group": (lambda d: ["modle=mlp"], ["did you mean model?"]),
    "lr no number": (lambda d: ["optim.lr=fast"], ["optim.lr=fast"]),
    "batch size zero": (lambda d: ["data.batch_size=0"], ["data.batch_size=0"]),
    "epochs negative": (lambda d: ["trainer.max_epochs=-3"], ["trainer.max_epochs=-3"]),
    "kernel too large": (
        lambda d: [*SMALL, "model.blocks=[{channels: 4},{channels: 4, kernel_size: 40}]"],
        ["blocks[1]", "kernel_size=40", "30", "padding ≥ 5"],
    ),
    "size not whole": (
        lambda d: [*SMALL, "model.strict_sizes=true", f"model.blocks=[{{{TINY}, stride: 3}}]"],
        ["blocks[0]", "= 11.3333", "stride="],
    ),
    "polar on images": (
        lambda d: [*SHAPES, "preprocess=polar"],
        ["preprocess=polar", "data=shapes"],
    ),
    "flip on points": (
        lambda d: ["data=rings", "model=softmax", "augment=flip"],
        ["augment=flip", "data=rings"],
    ),
    "convnet on points": (
        lambda d: ["data=rings", "model=convnet"],
        ["model=convnet", "data=rings"],
    ),
    "mean image on points": (
        lambda d: ["data=rings", "model=mlp", "preprocess=mean_image"],
        ["preprocess=mean_image", "data=rings"],
    ),
    "directory not writable": (lambda d: ["hydra.run.dir=/proc/nowhere"], ["/proc/nowhere"]),
    "diverged": (lambda d: [*SHAPES, "optim.lr=1e38"], ["step", "optim.lr"]),
    "search with clipped gradients": (
        lambda d: [*SHAPES, "optim=random_search", "+trainer.gradient_clip_val=1"],
        ["gradient clipping"],
    ),
    "search in several processes": (
        lambda d: [*SHAPES, "optim=random_search", "trainer=cpu", "trainer.devices=2"],
        ["optim=random_search", "one process"],
    ),
    "unknown layers": (lambda d: [*SHAPES, "model.layers=foo"], ["layers=foo", "torch, byhand"]),
    "fused by hand": (
        lambda d: [*SHAPES, "optim=byhand_adam", "optim.fused=true"],
        ["Adam by hand", "fused=True"],
    ),
    "unknown flag": (lambda d: ["--fast"], ["--fast"]),
    "full batch too large": (
        lambda d: ["data=shapes", "data.train_size=10000", "data.batch_size=null",
                   "model.blocks=[{channels: 9000, padding: 1}]"],
        ["GiB", "data.batch_size"],
    ),
}  # fmt: skip
if importlib.util.find_spec("wandb") is None:
    BAD_INPUT["no wandb"] = (lambda d: [*SHAPES, "logger=wandb"], ["logger=wandb", "[wandb]"])
if not torch.cuda.is_available():
    BAD_INPUT["no GPU"] = (lambda d: [*SHAPES, "trainer=gpu"], ["GPU", "trainer=cpu"])


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """All of the bad input at once: what takes long is starting Python."""

    def run(name: str):
        arguments, _ = BAD_INPUT[name]
        there = tmp_path_factory.mktemp("bad")
        start = time.monotonic()
        done = command(*arguments(there / "input"), cwd=there, OMP_NUM_THREADS="1")
        return done, there, time.monotonic() - start

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(BAD_INPUT, pool.map(run, BAD_INPUT), strict=True))


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_a_sentence_and_code_1(reports, name):
    done, there, seconds = reports[name]
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) <= 2
    assert "Traceback" not in done.stdout + done.stderr
    for part in BAD_INPUT[name][1]:
        assert part in done.stderr
    written = [p for p in there.rglob("*") if p.name in ("results.json", "best.ckpt", "last.ckpt")]
    assert written == []
    if name == "no CIFAR-10, no network":
        assert seconds < 15


BLOCKS = "model.blocks=[{channels: 8, padding: 1, norm: batch, pool: {}},{channels: 8}]"


def test_the_same_command_twice_gives_the_same_bits(tmp_path):
    arguments = [*SMALL, "model=convnet", BLOCKS, "model.dropout=0.2", "trainer.max_epochs=2"]
    first, second, other = (
        command(*arguments, f"hydra.run.dir={tmp_path / name}", f"seed={seed}")
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert [run.returncode for run in (first, second, other)] == [0, 0, 0], first.stderr
    assert first.stderr == ""
    a, b, c = (weights_of(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_reloading_the_best_checkpoint_gives_the_same_test_results(job):
    from functools import partial

    from lecture4 import models
    from lecture4.data import augment, preprocess, shapes
    from lecture4.training import schedule
    from lecture4.training.classifier import Classifier
    from lecture4.training.datamodule import DataModule

    _, folder = job("model=mlp", "trainer.max_epochs=2")
    dataset = shapes(train_size=300, test_size=60)
    module = Classifier(
        models.MLP(dataset.input_shape, 10),
        preprocess.ChannelStandardize(dataset.input_shape),
        augment.NoAugment(dataset.input_shape),
        dataset.class_names,
        partial(torch.optim.SGD, lr=1.0),
        schedule.constant,
    )
    checkpoint = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
    module.on_load_checkpoint(checkpoint)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.test(module, DataModule(dataset, 60), verbose=False)
    results = json.loads((folder / "results.json").read_text())
    assert module.metrics["test/accuracy"] == results["test_accuracy"]
    assert module.metrics["test/loss"] == results["test_loss"]
    assert module.metrics["val/loss"] == results["val_loss"]


def test_preprocessing_is_fitted_on_the_training_split_alone(job):
    from lecture4.data import shapes
    from lecture4.training.datamodule import DataModule

    _, folder = job("model=softmax", "trainer.max_epochs=1", "preprocess=mean_image")
    data = DataModule(shapes(train_size=300, test_size=60), val_size=60)
    train, val = (
        data.dataset.train_inputs[index].double().mean(0) / 255
        for index in (data.train_index, data.val_index)
    )
    fitted = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(fitted["preprocess.mean"], train.float())
    assert not torch.allclose(fitted["preprocess.mean"], val.float(), atol=0.01)


def test_the_test_set_is_touched_once_at_the_end(job, monkeypatch):
    from lecture4.training.classifier import Classifier

    order = []
    step = Classifier.step
    monkeypatch.setattr(
        Classifier,
        "step",
        lambda self, b, split: order.append((split, b[2])) or step(self, b, split),
    )
    job("model=softmax", "trainer.max_epochs=3", "data.eval_batch_size=25")
    splits = [split for split, _ in order]
    assert splits[-3:] == ["test"] * 3
    assert "test" not in splits[:-3]
    assert torch.cat([index for split, index in order if split == "test"]).tolist() == list(
        range(60)
    )


def start_and_interrupt(
    tmp_path: Path, *arguments: str, after: str, by: signal.Signals = signal.SIGINT
) -> tuple[int, str, str]:
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "train.py"), *arguments, *SMALL, "model=softmax"],
        cwd=tmp_path, env=clean_environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # off in the background
    )  # fmt: skip
    shown = ""
    for line in process.stdout:
        shown += line
        if after in line:
            process.send_signal(by)
            break
    out, err = process.communicate(timeout=60)
    return process.returncode, shown + out, err


def test_ctrl_c_keeps_checkpoint_and_metrics_and_says_so(tmp_path):
    code, _, err = start_and_interrupt(
        tmp_path, "trainer.max_epochs=100000", f"hydra.run.dir={tmp_path}", after="epoch   3/"
    )
    assert code == 130
    assert err.startswith("interrupted in epoch ")
    assert "last.ckpt" in err
    assert len(err.splitlines()) == 1
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    rows = (tmp_path / "metrics.csv").read_text().splitlines()[1:]
    assert len(rows) >= checkpoint["epoch"] + 1 >= 2
    assert not (tmp_path / "results.json").exists()


def test_ctrl_c_ends_a_sweep(tmp_path):
    code, out, err = start_and_interrupt(
        tmp_path, "-m", "seed=1,2,3", "trainer.max_epochs=100000", after="epoch   3/"
    )
    assert code == 130
    assert "interrupted" in err
    assert "seed=1" in out
    assert "seed=2" not in out


@pytest.mark.slow
def test_two_processes_train_as_one_and_count_each_test_image_once(tmp_path):
    arguments = [
        *SMALL,
        "data.test_size=61",
        "data.batch_size=60",
        "data.eval_batch_size=25",
        "model=mlp",
        "model.dropout=0.3",
        "augment=flip_crop",
        "trainer.precision=64-true",
        "trainer.max_epochs=2",
    ]
    one = command(*arguments, "trainer=cpu", f"hydra.run.dir={tmp_path / 'one'}")
    two = command(
        *arguments,
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        f"hydra.run.dir={tmp_path / 'two'}",
    )
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    assert two.stderr == ""
    a, b = (weights_of(tmp_path / name) for name in ("one", "two"))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-9, atol=1e-12)
    results = [
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two")
    ]
    for key in ("test_accuracy", "val_accuracy"):
        assert results[0][key] == results[1][key]
    assert results[0]["test_loss"] == pytest.approx(results[1]["test_loss"], rel=1e-9)
    assert two.stdout.count("multiply-adds") == 1
    assert two.stdout.count("epoch   1/2") == 1


def test_a_request_to_terminate_ends_with_code_143(tmp_path):
    code, _, err = start_and_interrupt(
        tmp_path,
        "trainer.max_epochs=100000",
        f"hydra.run.dir={tmp_path}",
        after="epoch   3/",
        by=signal.SIGTERM,
    )
    assert code == 143
    assert err.startswith("interrupted in epoch ")


def test_models_and_data_do_without_lightning_and_hydra():
    code = (
        "import sys, lecture4.byhand.nn, lecture4.byhand.optim, lecture4.data, lecture4.models\n"
        "print([name for name in ('pytorch_lightning', 'hydra') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.skipif("CIFAR10_ROOT" not in os.environ, reason="CIFAR10_ROOT names no CIFAR-10")
def test_softmax_reaches_what_the_readme_says_on_real_cifar10(tmp_path):
    done = command("model=softmax", f"hydra.run.dir={tmp_path}",
                   CIFAR10_ROOT=os.environ["CIFAR10_ROOT"])  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "results.json").read_text())["test_accuracy"] > 0.405
