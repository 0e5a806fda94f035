"""What a run leaves."""

import functools
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from running import ROOT, SMALL, call, clean_environment

from lecture4.data.views import score_views
from lecture4.runs.predictor import dataset_of, load
from lecture4.support.files import write_atomically
from lecture4.training import trainer
from lecture4.training.callbacks import Records, Results
from lecture4.training.callbacks.results import shown
from lecture4.training.classifier import Classifier

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
    "precision",
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


@pytest.mark.parametrize(("tiles", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_results_say_what_precision_auto_became(job, monkeypatch, tiles, precision):
    monkeypatch.setattr(trainer, "has_amx_tiles", lambda: tiles)
    _, folder = job("model=softmax", "trainer.max_epochs=1", "trainer.precision=auto")
    assert json.loads((folder / "results.json").read_text())["precision"] == precision


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


SHORT = [*SMALL, "model=softmax", "trainer.max_epochs=1"]
FIGURES = "figures/curves.png, figures/confusion.png, figures/first_layer.png, figures/mistakes.png"


def before(monkeypatch, owner: type, method: str, spoil) -> None:
    """Call ``spoil`` before a method does its work."""
    work = getattr(owner, method)

    @functools.wraps(work)
    def spoil_and_work(self, *arguments):
        spoil()
        return work(self, *arguments)

    monkeypatch.setattr(owner, method, spoil_and_work)


@pytest.fixture
def limit():
    """Let files grow to 4096 bytes at most from the call on, as on a full disk."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, usual[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def assert_complete(done, folder: Path, *told: str) -> None:
    """The run is a success that tells its results, and what it could not write."""
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "results.json").read_text())
    assert results["status"] == "completed"
    assert f"{results['test_accuracy']:.2%}" in done.stdout
    assert f"{folder}: checkpoints/best.ckpt, checkpoints/last.ckpt, metrics.csv" in done.stdout
    assert done.stderr.splitlines() == [f"{folder}: {line}" for line in told]


def test_a_disk_that_is_full_after_the_results(tmp_path, monkeypatch, limit):
    before(monkeypatch, Results, "_draw", limit)
    folder = tmp_path / "run"
    done = call(*SHORT, f"hydra.run.dir={folder}")
    assert_complete(done, folder, f"{FIGURES} could not be written: File too large")
    assert done.stdout.splitlines()[-1].endswith("metrics.csv, results.json")
    assert list((folder / "figures").iterdir()) == []
    again = call(f"resume={folder}")
    assert again.stdout.startswith(f"{folder} is complete: 1 epochs, test accuracy ")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_disk_that_is_full_when_the_loggers_end(tmp_path, monkeypatch, limit):
    before(monkeypatch, Records, "on_test_end", limit)
    folder = tmp_path / "run"
    done = call(*SHORT, f"hydra.run.dir={folder}")
    told = "the record of TensorBoard could not be written: File too large"
    assert_complete(done, folder, told)


def test_a_figure_that_cannot_be_drawn_leaves_the_others(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no such font")

    monkeypatch.setattr("lecture4.training.figures.curves", fail)
    folder = tmp_path / "run"
    done = call(*SHORT, f"hydra.run.dir={folder}")
    assert_complete(done, folder, "figures/curves.png could not be written: no such font")
    assert sorted(p.name for p in (folder / "figures").iterdir()) == [
        "confusion.png",
        "first_layer.png",
        "mistakes.png",
    ]


def test_a_row_that_cannot_be_written_after_the_test(tmp_path, monkeypatch):
    folder = tmp_path / "run"

    def spoil():
        if (folder / "metrics.csv").is_file():
            (folder / "metrics.csv").unlink()
            (folder / "metrics.csv").mkdir()

    before(monkeypatch, Classifier, "test_step", spoil)
    done = call(*SHORT, f"hydra.run.dir={folder}")
    row, record = (
        f"the {name} of CSVLogger could not be written: Is a directory"
        for name in ("test's row", "record")
    )
    assert done.stderr.splitlines()[0] == row
    done.stderr = done.stderr.partition("\n")[2]
    assert_complete(done, folder, record)


def test_results_that_cannot_be_written_are_told_and_make_the_run_fail(
    tmp_path, monkeypatch, limit
):
    monkeypatch.setattr(
        "lecture4.training.callbacks.results.platform.python_version", lambda: "3" * 5000
    )
    before(monkeypatch, Results, "on_test_end", limit)
    folder = tmp_path / "run"
    done = call(*SHORT, f"hydra.run.dir={folder}")
    assert done.returncode == 1
    assert "best epoch" in done.stdout
    assert f"error: {folder / 'results.json'} could not be saved: File too large" in done.stderr
    assert not (folder / "results.json").exists()
    monkeypatch.undo()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
    assert_complete(call(f"resume={folder}"), folder)


def test_any_other_error_after_the_results_is_told(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("the GPU has gone")

    folder = tmp_path / "run"
    monkeypatch.setattr(
        Classifier, "teardown", lambda self, stage: fail() if stage == "test" else None
    )
    done = call(*SHORT, f"hydra.run.dir={folder}")
    assert done.returncode == 0
    assert done.stderr == f"{folder} is complete, but the GPU has gone\n"


FULL = """
import runpy, sys
sys.path.insert(0, {root!r})
from lecture4.training.callbacks import Records

def fill_and_work(self, *arguments, work=Records.on_test_end):
    with open({filler!r}, "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            work(self, *arguments)

Records.on_test_end = fill_and_work
runpy.run_path({root!r} + "/train.py", run_name="__main__")
"""


@pytest.mark.slow
def test_a_disk_that_is_really_full(tmp_path):
    """TensorBoard's thread prints nothing of its own."""
    disk, script = tmp_path / "disk", tmp_path / "full.py"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=False)
    if made.returncode:
        pytest.skip("no disk can be made here; that takes root")
    try:
        script.write_text(FULL.format(root=str(ROOT), filler=str(disk / "filler")))
        done = subprocess.run(
            [sys.executable, script, *SHORT, f"hydra.run.dir={disk / 'run'}"],
            env=clean_environment(), capture_output=True, text=True,
        )  # fmt: skip
        told = "the record of TensorBoard could not be written: No space left on device"
        assert_complete(done, disk / "run", told)
    finally:
        subprocess.run(["umount", disk], check=True)
