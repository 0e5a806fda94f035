"""The real command line: bad input, reruns, Ctrl-C, two processes, sweeps."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from running import ROOT, SMALL, call, clean_environment, command, weights_of


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

# name: (settings, given a folder of its own; what the error must contain)
BAD_INPUT = {
    "no CIFAR-10, no source": (
        lambda d: [f"data.root={d}", "data.urls=[http://127.0.0.1:9/x,http://127.0.0.1:9/y]"],
        ["data.root=", "(127.0.0.1:9: Connection refused; ", "place cifar-10", "use data=shapes"],
    ),
    "CIFAR-10 damaged": (
        lambda d: [f"data.root={damaged_cifar10(d)}"],
        ["data_batch_1", "damaged", "delete"],
    ),
    "no image folder": (lambda d: [*FOLDER, f"data.root={d / 'no'}"], ["no/train is not there"]),
    "no validation folder": (
        lambda d: [*FOLDER, f"data.root={folder_of_images(d)}", "data.val_root=/no"],
        ["/no is not there"],
    ),
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
    "unknown model": (
        lambda d: ["model=resnet"],
        ["model=resnet is unknown; choose one of convnet, mlp, softmax"],
    ),
    "unknown optim": (
        lambda d: ["optim=sdg"],
        ["optim=sdg is unknown; choose one of adam, adamw, muon, random_local_search"],
    ),
    "unknown formulas": (
        lambda d: [*SHAPES, "formulas=foo"],
        ["formulas=foo is unknown; choose one of torch, byhand"],
    ),
    "unknown init": (lambda d: [*SHAPES, "model.init=foo"], ["init=foo is unknown", "xavier"]),
    "unknown activation": (
        lambda d: [*SMALL, "model=mlp", "model.activation=swish"],
        ["model=mlp with data=shapes: activation=swish is unknown", "relu, sigmoid, tanh"],
    ),
    "unknown key": (
        lambda d: ["optim.learning_rate=1"],
        ["optim.learning_rate is not a setting"],
    ),
    "lr no number": (
        lambda d: ["optim.lr=fast"],
        ["optim.lr=fast is not accepted; it must be a number > 0"],
    ),
    "batch size zero": (
        lambda d: ["data.batch_size=0"],
        ["data.batch_size=0 is not accepted", "null for the full batch"],
    ),
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
        ["preprocess=polar with data=shapes: ", "use it with data=rings"],
    ),
    "flip on points": (
        lambda d: ["data=rings", "model=softmax", "augment=flip"],
        ["augment=flip with data=rings: ", "use augment=none"],
    ),
    "convnet on points": (
        lambda d: ["data=rings", "model=convnet"],
        ["model=convnet with data=rings: ", "use model=softmax or model=mlp"],
    ),
    "mean image on points": (
        lambda d: ["data=rings", "model=mlp", "preprocess=mean_image"],
        ["preprocess=mean_image with data=rings: ", "preprocess=none takes any"],
    ),
    "search with clipped gradients": (
        lambda d: [*SHAPES, "optim=random_search", "trainer.gradient_clip_val=1"],
        ["optim=random_search has no gradient to clip"],
    ),
    "search with a mean of weights": (
        lambda d: [*SHAPES, "optim=random_search", "average=ema"],
        ["optim=random_search keeps the best weights", "use average=none"],
    ),
    "search in several processes": (
        lambda d: [*SHAPES, "optim=random_search", "trainer.devices=2"],
        ["optim=random_search runs in one process"],
    ),
    "fused by hand": (
        lambda d: [*SHAPES, "optim=adam", "optim.fused=true", "formulas=byhand"],
        ["optim.fused=true", "formulas=byhand accepts"],
    ),
    "directory not writable": (lambda d: ["hydra.run.dir=/proc/nowhere"], ["/proc/nowhere"]),
    "diverged": (lambda d: [*SHAPES, "optim.lr=1e38"], ["at step ", "try a smaller optim.lr"]),
    "diverged by its head": (
        lambda d: [*SHAPES, "optim.head_lr=1e38"],
        ["at step ", "than 0.003, or smaller rates of head and biases than 1e+38"],
    ),
}  # fmt: skip
BY_PROCESS = ("no CIFAR-10, no source", "unknown model")
if importlib.util.find_spec("wandb") is None:
    BAD_INPUT["no wandb"] = (lambda d: [*SHAPES, "logger=wandb"], ["logger=wandb", "[wandb]"])


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_a_sentence_and_code_1(tmp_path, name):
    arguments, parts = BAD_INPUT[name]
    start = command if name in BY_PROCESS else call
    done = start(*arguments(tmp_path / "input"), cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) <= 2
    assert "Traceback" not in done.stdout + done.stderr
    for part in parts:
        assert part in done.stderr
    written = {path.name for path in tmp_path.rglob("*")}
    assert not written & {"results.json", "best.ckpt", "last.ckpt"}


BLOCKS = "model.blocks=[{channels: 8, padding: 1, norm: batch, pool: {}},{channels: 8}]"


@pytest.mark.slow
def test_the_same_command_twice_gives_the_same_bits(tmp_path):
    arguments = [*SMALL, "model=convnet", BLOCKS, "model.dropout=0.2", "trainer.max_epochs=2"]
    first, second, other = (
        start(*arguments, f"hydra.run.dir={tmp_path / name}", f"seed={seed}")
        for name, seed, start in (("a", 0, command), ("b", 0, call), ("c", 1, call))
    )
    assert [run.returncode for run in (first, second, other)] == [0, 0, 0], first.stderr
    assert first.stderr == ""
    a, b, c = (weights_of(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_reloading_the_best_checkpoint_gives_the_same_test_results(job):
    from functools import partial

    from lecture4 import models
    from lecture4.data import augment, make_shapes, preprocess
    from lecture4.training import schedule
    from lecture4.training.classifier import Classifier
    from lecture4.training.datamodule import DataModule
    from lecture4.training.formulas import find

    formulas = find("torch")
    _, folder = job("model=mlp", "trainer.max_epochs=2")
    dataset = make_shapes(train_size=300, test_size=60)
    module = Classifier(
        model=models.MLP(dataset.input_shape, 10),
        preprocess=preprocess.ChannelStandardize(dataset.input_shape),
        augment=augment.NoAugment(dataset.input_shape),
        class_names=dataset.class_names,
        optimizer=partial(torch.optim.SGD, lr=1.0),
        schedule=schedule.constant,
        formulas=formulas,
        penalty=formulas.penalty("none"),
        penalty_strength=0.0,
        label_smoothing=0.0,
        gradient_clip_val=None,
        seed=0,
    )
    checkpoint = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
    module.on_load_checkpoint(checkpoint)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.test(module, DataModule(dataset=dataset, val_size=60), verbose=False)
    results = json.loads((folder / "results.json").read_text())
    assert module.metrics["test/accuracy"] == results["test_accuracy"]
    assert module.metrics["test/loss"] == results["test_loss"]
    assert module.metrics["val/loss"] == results["val_loss"]


def test_preprocessing_is_fitted_on_the_training_split_alone(job):
    from lecture4.data import make_shapes
    from lecture4.training.datamodule import DataModule

    _, folder = job("model=softmax", "trainer.max_epochs=1", "preprocess=mean_image")
    data = DataModule(dataset=make_shapes(train_size=300, test_size=60), val_size=60)
    train, val = (
        data.dataset.train_inputs[index].double().mean(0) / 255
        for index in (data.train_index, data.val_index)
    )
    fitted = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(fitted["preprocess.mean"], train.float())
    assert not torch.allclose(fitted["preprocess.mean"], val.float(), atol=0.01)


def test_the_test_set_is_touched_once_at_the_end(job, monkeypatch):
    from lecture4.training.classifier import Classifier

    order, indices = [], []

    def watch(split: str) -> None:
        step = getattr(Classifier, f"{split}_step")

        def recorded(self, batch):
            order.append(split)
            if split == "test":
                indices.append(batch[2])
            return step(self, batch)

        monkeypatch.setattr(Classifier, f"{split}_step", recorded)

    for split in ("training", "validation", "test"):
        watch(split)
    job("model=softmax", "trainer.max_epochs=3", "data.eval_batch_size=25")
    assert order[-3:] == ["test"] * 3
    assert "test" not in order[:-3]
    assert {"training", "validation"} == set(order[:-3])
    assert torch.cat(indices).tolist() == list(range(60))


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
    out, err = process.communicate(timeout=200)
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.skipif("CIFAR10_ROOT" not in os.environ, reason="CIFAR10_ROOT names no CIFAR-10")
def test_softmax_reaches_what_the_readme_says_on_real_cifar10(tmp_path):
    done = command("model=softmax", f"hydra.run.dir={tmp_path}",
                   CIFAR10_ROOT=os.environ["CIFAR10_ROOT"])  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "results.json").read_text())["test_accuracy"] > 0.405


@pytest.mark.slow
@pytest.mark.parametrize("redirect", ["| head -1", ">/dev/full", "<&- >&- 2>&-"])
def test_a_run_completes_whoever_reads_what_it_prints(tmp_path, redirect):
    words = [*SMALL, "model=softmax", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path / 'run'}"]
    script = f'set -o pipefail; "$0" {ROOT}/train.py "$@" {redirect}'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, *words],
        cwd=tmp_path, env=clean_environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["status"] == "completed"
