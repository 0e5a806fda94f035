"""A killed run ends like one that was not; an untrusted run runs no code of its own."""

import json
import math
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from PIL import Image
from running import ROOT, SMALL, assert_same, call, clean_environment, command, compose

from lecture4.commands.notebook import as_job
from lecture4.runs import recorded, resume
from lecture4.runs.recorded import quoted
from lecture4.support.console import command_line
from lecture4.training.classifier import Classifier

# dropout, augmentation, momentum and a schedule: all that a step may depend on
RUN = [
    *SMALL, "data.batch_size=20", "model=mlp", "model.hidden=[16]", "model.dropout=0.3",
    "augment=flip_crop", "schedule=cosine", "trainer=cpu", "trainer.max_epochs=3",
    "checkpoint.every_n_steps=5",
]  # fmt: skip
STEPS = 12  # of an epoch


def kill(place: str, number: int, folder: Path, *arguments: str) -> None:
    """Train in a process that is killed at one place, see tests/killing.py."""
    script = str(ROOT / "tests" / "killing.py")
    done = subprocess.run(
        [sys.executable, script, place, str(number), *arguments, f"hydra.run.dir={folder}"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def hydra_record(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / ".hydra").iterdir()}


def assert_same_end(one: Path, other: Path) -> None:
    """Weights and optimizer bit for bit, every row, every result except times."""
    for name in ("best", "last"):
        a, b = (
            torch.load(f / "checkpoints" / f"{name}.ckpt", weights_only=True) for f in (one, other)
        )
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "classifier"):
            assert_same(a[part], b[part])
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
    assert results(one) == results(other)
    assert sorted(p.name for p in (one / "figures").iterdir()) == sorted(
        p.name for p in (other / "figures").iterdir()
    )


def results(folder: Path) -> dict:
    found = json.loads((folder / "results.json").read_text())
    return {k: v for k, v in found.items() if k not in ("train_seconds", "images_per_second")}


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("never") / "killed"
    done = call(*RUN, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


PLACES = {  # and the epochs that the resumed run prints
    ("step", 0): "123",  # no checkpoint yet
    ("step", 8): "123",  # within the first epoch
    ("step", STEPS): "23",  # between two epochs
    ("step", STEPS + 10): "23",  # the step after a checkpoint
    ("validation", 1): "23",
    ("row", 1): "23",  # a row of metrics.csv without its checkpoint
    ("checkpoint", 3): "123",  # half of it is written: the epoch's first, after two within it
    ("test", 0): "",
}


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0]}-{place[1]}")
def test_a_killed_run_ends_as_if_it_had_not_been(never_killed, tmp_path, place):
    folder = tmp_path / "killed"
    kill(*place, folder, *RUN)
    record = hydra_record(folder)
    done = command(f"resume={folder}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "".join(re.findall(r"^epoch +(\d)/3", done.stdout, re.MULTILINE)) == PLACES[place]
    assert_same_end(never_killed, folder)
    steps = [row.split(",")[2] for row in (folder / "metrics.csv").read_text().splitlines()[1:]]
    assert steps == ["12", "24", "36", "36"]  # three epochs and the test
    assert hydra_record(folder) == record
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.slow
def test_a_run_killed_before_its_figures_is_complete(never_killed, tmp_path):
    folder = tmp_path / "run"
    kill("figures", 0, folder, *RUN)
    assert results(folder) == results(never_killed)
    assert (folder / "metrics.csv").read_text() == (never_killed / "metrics.csv").read_text()
    done = call(f"resume={folder}")
    assert done.returncode == 0
    assert "is complete: 3 epochs" in done.stdout
    assert not (folder / "figures").exists()
    (folder / "results.json").unlink()  # as docs/resume.md says
    assert call(f"resume={folder}").returncode == 0
    assert_same_end(never_killed, folder)


@pytest.mark.parametrize(
    "choice",
    [
        ["optim=adam"],
        ["optim=random_local_search"],
        ["optim=muon", "average=lookahead"],
        ["trainer.precision=bf16-mixed"],
        ["trainer.precision=64-true"],
        ["data.num_workers=1"],
        ["formulas=byhand", "penalty=l2", "penalty.strength=1e-3"],
        ["data.batch_size=null", "checkpoint.every_n_steps=2"],
    ],
    ids=lambda choice: choice[0],
)
@pytest.mark.slow
def test_other_choices_resume_exactly(tmp_path, choice):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    done = command(*RUN, *choice, f"hydra.run.dir={tmp_path / 'whole'}")
    assert done.returncode == 0, done.stderr
    steps = 2 if "data.batch_size=null" in choice else 20
    kill("step", steps, tmp_path / "killed", *RUN, *choice)
    done = command(f"resume={tmp_path / 'killed'}")
    assert done.returncode == 0, done.stderr
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_convnet_with_batch_norm_within_an_epoch(tmp_path):
    net = [*SMALL, "data.batch_size=40", "model=convnet", "trainer.max_epochs=2",
           "model.blocks=[{channels: 4, norm: batch, pool: {}, init: whiten}]",
           "checkpoint.every_n_steps=2"]  # fmt: skip
    assert call(*net, f"hydra.run.dir={tmp_path / 'whole'}").returncode == 0
    kill("step", 9, tmp_path / "killed", *net)
    moved = (tmp_path / "killed").rename(tmp_path / "moved, and named = otherwise")
    done = command(f"resume={moved}")
    assert done.returncode == 0, done.stderr
    assert_same_end(tmp_path / "whole", moved)


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(["average=ema", "average.every=2"], marks=pytest.mark.slow),
        ["average=lookahead", "average.every=3", "optim=muon", "optim.bias_lr_scale=4"],
        pytest.param(
            ["optim=muon", "optim.normalize=false", "optim.weight_decay=0.1", "optim.head_lr=null"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda choice: choice[0],
)
def test_means_and_muon_within_an_epoch(tmp_path, monkeypatch, choice):
    """Stopped in this process by an error, in place of a kill, which would start another."""
    net = [*SMALL, "data.batch_size=40", "model.blocks=[{channels: 4, norm: batch, pool: {}}]",
           "model=convnet", "trainer.max_epochs=3", "checkpoint.every_n_steps=2",
           "trainer=cpu", "trainer.precision=32-true", *choice]  # fmt: skip
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert call(*net, f"hydra.run.dir={whole}").returncode == 0
    seed_step = Classifier.seed_step

    def stop(self, epoch):
        if self.global_step == 11:
            raise RuntimeError("stopped")
        seed_step(self, epoch)

    with monkeypatch.context() as stopping:
        stopping.setattr(Classifier, "seed_step", stop)
        assert call(*net, f"hydra.run.dir={stopped}").returncode == 1
    last = torch.load(stopped / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 10  # of 6 in an epoch
    done = call(f"resume={stopped}")
    assert done.returncode == 0, done.stderr
    assert_same_end(whole, stopped)


@pytest.mark.slow
def test_kills_at_random_moments(tmp_path):
    """A run that saves after every step is killed 12 times."""
    long = [word for word in RUN if "max_epochs" not in word and "every_n_steps" not in word]
    long += ["trainer.max_epochs=120", "checkpoint.every_n_steps=1"]
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    assert command(*long, f"hydra.run.dir={whole}").returncode == 0
    draw, reached = random.Random(0), set()
    for _ in range(12):
        begun = (folder / ".hydra" / "config.yaml").exists()
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"),
             *([f"resume={folder}"] if begun else [*long, f"hydra.run.dir={folder}"])],
            env=clean_environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if draw.random() < 0.8:  # or while it starts
            process.stdout.readline()
        time.sleep(draw.uniform(0, 0.6))
        process.kill()
        _, errors = process.communicate()
        if process.returncode == 0:  # a fast machine is at the end by now
            break
        assert process.returncode == -signal.SIGKILL, errors
        if (last := folder / "checkpoints" / "last.ckpt").exists():
            reached.add(torch.load(last, weights_only=True)["global_step"])
    assert reached  # it was killed after a checkpoint, too
    done = command(f"resume={folder}")
    assert done.returncode == 0, done.stderr
    if "is complete" in done.stdout:  # killed among its figures; as docs/resume.md says
        (folder / "results.json").unlink()
        assert call(f"resume={folder}").returncode == 0
    assert_same_end(whole, folder)


def test_a_larger_number_of_epochs_trains_on(never_killed, tmp_path):
    folder = Path(shutil.copytree(never_killed, tmp_path / "run"))
    record = hydra_record(folder)
    done = call(f"resume={folder}", "trainer.max_epochs=4")
    assert done.returncode == 0, done.stderr
    assert results(folder)["epochs"] == 4
    rows = (folder / "metrics.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["0", "1", "2", "3", ""]
    assert hydra_record(folder) == record
    again = call(f"resume={folder}")  # it remembers
    assert again.returncode == 0
    assert again.stdout.startswith(f"{folder} is complete: 4 epochs, test accuracy ")
    fewer = call(f"resume={folder}", "trainer.max_epochs=3")
    assert fewer.returncode == 1
    assert "a whole number ≥ 4" in fewer.stderr


def test_a_longer_run_follows_its_own_schedule_from_there_on(never_killed, tmp_path):
    folder = Path(shutil.copytree(never_killed, tmp_path / "run"))  # its rate has fallen to 0
    assert call(f"resume={folder}", "trainer.max_epochs=6").returncode == 0
    rows = [row.split(",") for row in (folder / "metrics.csv").read_text().splitlines()]
    rates = [float(row[rows[0].index("lr")]) for row in rows[1:-1]]
    whole = [(1 + math.cos(math.pi * epoch / 6)) / 2 for epoch in (3, 4, 5)]
    assert rates[3:] == pytest.approx([rates[0] * factor for factor in whole])


def test_a_run_that_begins_in_the_directory_of_another_deletes_its_results(
    run, never_killed, monkeypatch
):
    def stop(self, *_):
        raise RuntimeError("stopped in the first step")

    with monkeypatch.context() as stopping:
        stopping.setattr(Classifier, "seed_step", stop)
        told = refusal(*RUN, "optim=adam", f"hydra.run.dir={run}")
    assert told == "error: stopped in the first step\n"
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == []
    assert not (run / "results.json").exists()
    done = call(f"resume={run}")
    assert done.returncode == 0, done.stderr
    assert results(run) != results(never_killed)


def test_a_complete_run_is_left_as_it_is(never_killed, tmp_path):
    before = {p: p.read_bytes() for p in never_killed.rglob("*") if p.is_file()}
    done = call(f"resume={never_killed}", cwd=tmp_path)
    assert done.returncode == 0
    assert "is complete: 3 epochs" in done.stdout
    assert {p: p.read_bytes() for p in never_killed.rglob("*") if p.is_file()} == before
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def run(never_killed, tmp_path) -> Path:
    """A copy of a run, to be changed."""
    return Path(shutil.copytree(never_killed, tmp_path / "run"))


def spoil(run: Path, **changes) -> None:
    """Change settings of the recorded configuration."""
    path = run / ".hydra" / "config.yaml"
    recorded = OmegaConf.load(path)
    for key, value in changes.items():
        OmegaConf.update(recorded, key.replace("__", "."), value, force_add=True)
    OmegaConf.save(recorded, path)
    (run / "results.json").unlink()


def refusal(*arguments: str) -> str:
    done = call(*arguments)
    assert done.returncode == 1
    told = done.stderr[done.stderr.index("error: ") :]
    assert len(told.splitlines()) <= 2
    assert "Traceback" not in done.stderr
    return told


def test_other_settings_are_refused(run):
    told = refusal(f"resume={run}", "optim.lr=0.5")
    assert f"resume={run} takes its configuration from there; leave out optim.lr=0.5" in told


def test_a_place_without_a_run(tmp_path):
    assert "is not a run's directory" in refusal(f"resume={tmp_path / 'typo'}")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text("[what: is this")
    assert "overrides.yaml cannot be read (" in refusal(f"resume={tmp_path}")
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- model=mlp\n")
    assert "config.yaml cannot be read (" in refusal(f"resume={tmp_path}")
    (tmp_path / ".hydra" / "config.yaml").write_text("seed: 0\n")
    assert "is not what its overrides.yaml gives with conf/" in refusal(f"resume={tmp_path}")


def test_in_a_sweep(run):
    done = call("-m", f"resume={run}", "trainer.max_epochs=3,4")
    assert done.returncode == 1
    assert "sweep_resume=true" in done.stderr


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_text("not a checkpoint"),
        lambda path: path.write_bytes(b""),
        lambda path: torch.save({"state_dict": {}}, path),
    ],
    ids=["truncated", "text", "empty", "foreign"],
)
@pytest.mark.parametrize("name", ["last", "best"])
def test_a_damaged_checkpoint_is_named_before_anything_is_trained(run, damage, name):
    damage(run / "checkpoints" / f"{name}.ckpt")
    (run / "results.json").unlink()
    before = (run / "metrics.csv").read_text(), hydra_record(run), written(run)
    assert f"checkpoints/{name}.ckpt" in refusal(f"resume={run}", "trainer.max_epochs=9")
    assert before == ((run / "metrics.csv").read_text(), hydra_record(run), written(run))


def written(folder: Path) -> list[int]:
    return [path.stat().st_mtime_ns for path in sorted((folder / "checkpoints").iterdir())]


class Trap:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, touched: Path):
        self.touched = touched

    def __reduce__(self):
        return os.system, (f"touch '{self.touched}'",)


def test_a_pickle_that_runs_a_command_does_not(run, tmp_path):
    touched = tmp_path / "touched"
    last = run / "checkpoints" / "last.ckpt"
    torch.save({**torch.load(last, weights_only=True), "more": Trap(touched)}, last)
    torch.load(last, weights_only=False)
    assert touched.exists()  # the trap works
    touched.unlink()
    (run / "results.json").unlink()
    assert "holds more than tensors and plain values" in refusal(f"resume={run}")
    assert not touched.exists()


def change(checkpoint: Path, **changes) -> None:
    """Change the state of the callback that keeps the best epoch."""
    content = torch.load(checkpoint, weights_only=True)
    for name, state in content["callbacks"].items():
        if "val/accuracy" in name:
            state.update(changes)
    torch.save(content, checkpoint)


def words_of(command: str) -> list[str]:
    """The arguments of the script in a command that is pasted into bash."""
    shell = f"python() {{ printf '%s\\0' \"$@\"; }}\n{command}\n"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[1:-1]]


@pytest.fixture
def interrupted_at_once(monkeypatch):
    def interrupt(self, *_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "seed_step", interrupt)
        yield patch


@pytest.mark.parametrize(
    "name", ['-a [te] rm [/x] it\'s "$HOME" = {x: 1}! é漢', "new\nline\t\x07\\"]
)
def test_the_command_that_resumes_can_be_pasted(tmp_path, interrupted_at_once, name):
    softmax = [*SMALL, "model=softmax", "trainer.max_epochs=1", "trainer=cpu"]
    done = call(*softmax, f"hydra.run.dir={quoted(name)}", cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    command = done.stderr.partition("continue with ")[2].removesuffix("interrupted\n")
    interrupted_at_once.undo()
    resumed = call(*words_of(command), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert results(tmp_path / name)["epochs"] == 1


NAMES = [
    *("-a b", "[te] rm", "[/x]", "it's", '"q"', "$HOME", "a=b!", "é漢", "a,b", "{x: 1}", "a\\"),
    *("a\\'b", '\\"', "~t", "null", "'q'", "#a;b&c", "`id`", "*?", "new\nline", "tab\t\x07"),
]  # fmt: skip


def test_a_run_s_directory_may_have_any_name(tmp_path):
    """From the command that is printed, through bash and hydra_arguments, to what Hydra reads."""
    folders = [tmp_path / name for name in NAMES]
    for folder in folders:
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "config.yaml").touch()
    pasted = words_of(command_line("python", "train.py", *(f"resume={f}" for f in folders)))
    for folder, word in zip(folders, pasted, strict=True):
        cfg = compose(*resume.hydra_arguments([word]))
        assert (cfg.resume, cfg.hydra.run.dir) == (str(folder), str(folder))


@pytest.mark.slow
def test_ctrl_c_prints_a_command_that_bash_runs(tmp_path):
    folder = tmp_path / "it's [b] $HOME = \" !"
    process = subprocess.Popen(
        [sys.executable, "-u", os.path.relpath(ROOT / "train.py", tmp_path), *SMALL,
         "model=softmax", "trainer=cpu", "trainer.max_epochs=100000",
         f"hydra.run.dir={quoted(folder.name)}"],
        cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # off in the background
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("epoch "):
            break
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130
    command = told.partition("continue with ")[2].removesuffix("interrupted\n").strip()
    shell = f'python() {{ {shlex.quote(sys.executable)} "$@"; }}\n{command} data.root=x optim.lr=1'
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True
    )
    assert f"resume={folder} takes its configuration from there" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["+foo=1"], "foo is not a setting"),
        (["seed=${oc.env:SEED,3}"], "seed=${oc.env:SEED,3} is not accepted; a run that can be"),
        (["hydra.output_subdir=.h"], "hydra.output_subdir is not accepted"),
        (["--config-dir=mine", "optim=mine"], "optim=mine is unknown; choose one of adam"),
        (["--config-dir=mine", "--config-name=other"], "seed is not what conf/ gives"),
        (["-m", "+foo=1", "seed=1,2"], "foo is not a setting"),
    ],
)
def test_what_could_not_be_resumed_is_refused_at_once(run, tmp_path, words, told):
    (tmp_path / "mine" / "optim").mkdir(parents=True)
    (tmp_path / "mine" / "optim" / "mine.yaml").write_text("name: SGD\nlr: 1\n")
    (tmp_path / "mine" / "other.yaml").write_text("defaults: [train, _self_]\nseed: 7\n")
    before = (run / "results.json").read_bytes()
    places = [f"hydra.run.dir={run}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    flags = [word for word in words if word.startswith("-")]
    others = [word for word in words if word not in flags]
    done = call(*flags, *SMALL, "model=softmax", *others, *places, cwd=tmp_path)
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert (run / "results.json").read_bytes() == before
    assert not list((tmp_path / "sweep").glob("*"))


@pytest.mark.parametrize("words", [["~logger"], ["~logger.tensorboard", "++seed=3"]])
def test_what_is_accepted_at_the_start_is_resumed(tmp_path, words):
    softmax = [*SMALL, "model=softmax", "trainer.max_epochs=1", "trainer=cpu"]
    done = call(*softmax, *words, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    done = call(f"resume={tmp_path}", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    assert results(tmp_path)["epochs"] == 2


@pytest.mark.parametrize("name", ["x/..", "figures"])
def test_a_checkpoint_that_names_other_files_deletes_none(run, name):
    path = str(run / name)
    zero = torch.tensor(0.0)
    change(run / "checkpoints" / "last.ckpt", best_model_path=path, kth_best_model_path=path,
           best_k_models={path: zero}, kth_value=zero, best_model_score=zero)  # fmt: skip
    before = {p for p in run.rglob("*") if p.is_file()}
    done = call(f"resume={run}", "trainer.max_epochs=4")
    assert done.returncode == 0, done.stderr
    assert before <= {p for p in run.rglob("*") if p.is_file()}


@pytest.mark.parametrize("place", ["figures", "checkpoints", "figures/curves.png", "metrics.csv"])
def test_a_link_out_of_the_directory_is_refused(run, tmp_path, place):
    target = tmp_path / "elsewhere"
    (run / place).rename(target)
    (run / place).symlink_to(target)
    (run / "results.json").unlink()
    assert "is a symbolic link" in refusal(f"resume={run}")


def test_aliases_that_grow_without_end_are_refused(run):
    bomb = ["a0: &a0 [x, x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)
    ]
    path = run / ".hydra" / "config.yaml"
    path.write_text("\n".join([path.read_text(), *bomb]))
    (run / "results.json").unlink()
    assert "a0 is not what its overrides.yaml gives" in refusal(f"resume={run}")


def test_a_file_s_text_cannot_steer_the_terminal(run):
    spoil(run, **{"\x1b[31mx": 1})
    assert "\x1b" not in refusal(f"resume={run}")


MLFLOW = {"_target_": "lecture4.training.loggers.MLflow", "tracking_uri": "http://x"}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"label_smoothing": "${oc.env:SECRET}"}, "label_smoothing"),
        ({"logger__csv__save_dir": "/tmp"}, "logger.csv.save_dir"),
        ({"logger__mlflow": MLFLOW}, "logger.mlflow"),
        ({"trainer": None}, "trainer"),
        ({"optim__lr": 0.5}, "optim.lr"),
        ({"trainer__max_epochs": 7}, "trainer.max_epochs"),
        ({"hydra": {"callbacks": {}}}, "hydra"),
        ({"model__hidden": [{"_target_": "torch.hub.load"}]}, "model.hidden"),
    ],
)
def test_a_record_that_its_overrides_do_not_give_is_refused(run, changes, key):
    spoil(run, **changes)
    assert f"config.yaml: {key} is not what its overrides.yaml gives" in refusal(f"resume={run}")


@pytest.mark.parametrize("text", ["", "max_epochs: many", "- optim.lr=1"])
def test_an_odd_extension_is_named(run, text):
    (run / "resumed.yaml").write_text(text)
    (run / "results.json").unlink()
    assert "resumed.yaml" in refusal(f"resume={run}")


@pytest.mark.parametrize("form", ["+resume={}", "++resume={}", "resume='{}'", 'resume="{}"'])
def test_other_spellings_of_resume(never_killed, tmp_path, form):
    done = call(form.format(never_killed), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "is complete: 3 epochs" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_in_place_of_the_run(run):
    told = refusal(f"resume={run / 'checkpoints' / 'last.ckpt'}")
    assert "is a file; name the run's directory" in told


RUNS_A_COMMAND = "{_target_: torch.utils.collect_env.run, command: touch TOUCHED}"


@pytest.mark.parametrize(
    "word",
    [
        f"augment._target_={RUNS_A_COMMAND}",
        f"model.hidden=[{RUNS_A_COMMAND}]",
        "augment=../../evil/conf",
    ],
)
def test_overrides_that_run_code_do_not(run, tmp_path, word):
    """Both files of the record agree, as an attacker would write them."""
    touched, evil = tmp_path / "touched", tmp_path / "evil"
    evil.mkdir()
    (evil / "conf.yaml").write_text(RUNS_A_COMMAND.replace("TOUCHED", str(touched)))
    word = word.replace("TOUCHED", str(touched))
    word = word.replace("../../evil", os.path.relpath(evil, ROOT / "conf" / "augment"))
    overrides = run / ".hydra" / "overrides.yaml"
    overrides.write_text(yaml.safe_dump([*yaml.safe_load(overrides.read_text()), word]))
    (run / "results.json").unlink()
    error = refusal(f"resume={run}")
    assert f"{overrides}: " in error
    assert "is not accepted" in error
    assert not touched.exists()


def test_yaml_that_builds_objects_does_not(run, tmp_path):
    path = run / ".hydra" / "config.yaml"
    path.write_text(f"seed: !!python/object/apply:os.system ['touch {tmp_path / 'touched'}']\n")
    assert "cannot be read" in refusal(f"resume={run}")
    assert not (tmp_path / "touched").exists()


COLOURS = {"cat": (255, 0, 0), "dog": (0, 0, 255)}
PETS = ["data=image_folder", "data.image_size=8", "model=softmax", "trainer=cpu"]


def draw_pets(folder: Path, shade: int = 0, number: int = 6) -> Path:
    """Images of two classes, for training and test."""
    for split in ("train", "test"):
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for i in range(number):
                image = Image.new("RGB", (8, 8), tuple(max(c - 8 * i - shade, 0) for c in colour))
                image.save(folder / split / name / f"{i}.png")
    return folder


def card(run: Path) -> dict:
    """The description of the classifier in a run's last checkpoint."""
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["classifier"]


@pytest.mark.parametrize("chdir", ["false", "true"])
def test_a_run_means_the_same_from_anywhere(tmp_path, chdir):
    here, there = tmp_path / "A", tmp_path / "B"
    draw_pets(here / "pets")
    draw_pets(there / "pets", shade=90)
    draw_pets(there / "cached")
    two = [*PETS, "trainer.max_epochs=1", "data.root=pets", "data.cache=cached",
           f"hydra.job.chdir={chdir}"]  # fmt: skip
    done = call(*two, "hydra.run.dir=run", cwd=here)
    assert done.returncode == 0, done.stderr
    config = OmegaConf.load(here / "run" / ".hydra" / "config.yaml")
    assert (config.data.root, config.data.cache) == (str(here / "pets"), str(here / "cached"))
    done = call("resume=../A/run", "trainer.max_epochs=2", cwd=there)
    assert done.returncode == 0, done.stderr
    assert results(here / "run")["epochs"] == 2
    assert card(here / "run")["source"]["root"] == str(here / "pets")
    done = call(*two, "hydra.run.dir=run", "trainer.max_epochs=2", cwd=here)
    assert done.returncode == 0, done.stderr


def test_the_environment_is_read_when_a_run_begins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFAR10_ROOT", "images")
    (tmp_path / "run").mkdir()
    with as_job(compose("model=softmax"), tmp_path / "run") as (cfg, folder):
        recorded.write(folder, resume.configuration(cfg))
    monkeypatch.setenv("CIFAR10_ROOT", "others")
    config = OmegaConf.load(tmp_path / "run" / ".hydra" / "config.yaml")
    assert config.data.root == str(tmp_path / "images")


@pytest.mark.slow
def test_the_jobs_of_a_sweep_record_their_paths(tmp_path):
    here, there = tmp_path / "A", tmp_path / "B"
    draw_pets(here / "pets")
    draw_pets(there / "pets", shade=90)
    sweep = ["-m", *PETS, "trainer.max_epochs=1", "data.root=pets", "seed=1,2",
             "hydra.sweep.dir=../sweep", "hydra.job.chdir=true"]  # fmt: skip
    done = call(*sweep, cwd=there)
    assert done.returncode == 0, done.stderr
    done = call("resume=0", "trainer.max_epochs=2", cwd=tmp_path / "sweep")
    assert done.returncode == 0, done.stderr
    assert card(tmp_path / "sweep" / "0")["source"]["root"] == str(there / "pets")
    for folder, new in ((there, []), (here, ["r2-0", "r2-1"])):  # other pets are other jobs
        done = call(*sweep, "sweep_resume=true", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert sorted(p.name for p in (tmp_path / "sweep").glob("r*")) == new


def test_paths_of_runs_of_an_earlier_version(tmp_path):
    draw_pets(tmp_path / "A" / "pets")
    done = call(*PETS, "trainer.max_epochs=1", "data.root=pets", "hydra.run.dir=run",
                cwd=tmp_path / "A")  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = tmp_path / "A" / "run"
    recorded = run / ".hydra" / "config.yaml"
    recorded.write_text(recorded.read_text().replace(f"root: {tmp_path / 'A'}/", "root: "))
    (run / "data.json").unlink()
    done = call(f"resume={run}", "trainer.max_epochs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert card(run)["source"]["root"] == str(tmp_path / "A" / "pets")
    (run / ".hydra" / "hydra.yaml").write_text("hydra: {}")
    assert "does not name the directory of the run" in refusal(f"resume={run}")


@pytest.fixture(scope="module")
def run_on_pets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pets")
    draw_pets(folder / "pets")
    done = call(*PETS, "trainer.max_epochs=1", "data.root=pets", "hydra.run.dir=run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def pets(run_on_pets, tmp_path) -> Path:
    """A folder with a run, ``run``, and its images, ``pets``, to be changed."""
    return Path(shutil.copytree(run_on_pets, tmp_path / "pets and run"))


def add(pets: Path, name: str = "train/cat/new.png") -> None:
    shutil.copy(pets / "train" / "cat" / "0.png", pets / name)


CHANGES = {
    "the training examples are 13, and were 12": add,
    "the test examples are 13, and were 12": lambda pets: add(pets, "test/cat/new.png"),
    "the training examples are 11, and were 12": lambda p: (p / "train/cat/0.png").unlink(),
    "names or sizes of the training files differ": lambda pets: (
        pets / "train" / "cat" / "0.png"
    ).rename(pets / "train" / "cat" / "7.png"),
    "names or sizes of the test files differ": lambda pets: Image.new("RGB", (90, 90), "red").save(
        pets / "test" / "cat" / "0.png"
    ),
    "the class names are bird, dog, and were cat, dog": lambda pets: [
        (pets / split / "cat").rename(pets / split / "bird") for split in ("train", "test")
    ],
}


@pytest.mark.parametrize("told", CHANGES)
def test_data_that_differ_from_the_run_s_are_refused(pets, told):
    CHANGES[told](pets / "pets")
    before = card(pets / "run")
    said = refusal(f"resume={pets / 'run'}", "trainer.max_epochs=2", f"data.root='{pets}/pets'")
    assert f"are not those of the run: {told}; " in said
    assert card(pets / "run") == before


def test_data_are_compared_before_the_first_checkpoint_too(pets):
    for name in ("last", "best"):
        (pets / "run" / "checkpoints" / f"{name}.ckpt").unlink()
    (pets / "run" / "results.json").unlink()
    add(pets / "pets")
    assert "13, and were 12" in refusal(f"resume={pets / 'run'}", f"data.root='{pets}/pets'")


def test_an_odd_description_of_the_data(pets):
    for text in ("", "7", "{}", '{"class_names": ["cat", "dog"], "train": 7}'):
        (pets / "run" / "data.json").write_text(text)
        said = refusal(f"resume={pets / 'run'}", f"data.root='{pets}/pets'", "trainer.max_epochs=2")
        assert "data.json" in said
        assert "cannot be read" in said


def test_data_that_has_moved(pets):
    run, moved = pets / "run", pets / "moved to"
    shutil.copytree(pets / "pets", moved / "pets")
    done = call(f"resume={run}", "trainer.max_epochs=2", "data.root=pets", cwd=moved)
    assert done.returncode == 0, done.stderr
    assert results(run)["epochs"] == 2
    assert card(run)["source"]["root"] == str(moved / "pets")
    (run / "results.json").unlink()
    done = call(f"resume={run}", cwd=pets)  # it remembers both
    assert done.returncode == 0, done.stderr
    assert results(run)["epochs"] == 2
    assert card(run)["source"]["root"] == str(moved / "pets")


def test_a_validation_folder_that_has_moved(pets):
    valid = shutil.copytree(pets / "pets" / "test", pets / "valid")
    own = [*PETS, "trainer.max_epochs=1", "data.root=pets", "data.val_root=valid"]
    done = call(*own, "hydra.run.dir=own", cwd=pets)
    assert done.returncode == 0, done.stderr
    Path(valid).rename(pets / "moved")
    assert str(valid) in refusal(f"resume={pets / 'own'}", "trainer.max_epochs=2")
    done = call("resume=own", "trainer.max_epochs=2", "data.val_root=moved", cwd=pets)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 700 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", place], check=False)
    if made.returncode:
        pytest.skip("no disk can be made here; that takes root")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_last_good_checkpoint_loads(small_disk):
    folder = small_disk / "run"
    softmax = [*SMALL, "model=softmax", "trainer.max_epochs=3"]  # a checkpoint: 250 kB
    done = command(*softmax, f"hydra.run.dir={folder}")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert (
        "could not be saved: No space left on device; the previous file is unchanged" in done.stderr
    )
    for name in ("best", "last"):
        kept = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert kept["epoch"] == 0
    subprocess.run(["mount", "-o", "remount,size=9m", small_disk], check=True)
    done = call(f"resume={folder}")
    assert done.returncode == 0, done.stderr
    assert results(folder)["epochs"] == 3


def test_settings_of_a_refused_resume_are_forgotten(tmp_path):
    folder = tmp_path / "run"
    draw_pets(tmp_path / "pets")
    draw_pets(tmp_path / "others", number=7)
    done = call(*PETS, "data.root=pets", "trainer.max_epochs=1", f"hydra.run.dir={folder}",
                cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    more = [f"resume={folder}", "trainer.max_epochs=2"]
    assert call(*more, "data.root=others", cwd=tmp_path).returncode == 1
    assert not (folder / resume.EXTENSION).exists()
    assert call(*more, cwd=tmp_path).returncode == 0
    assert results(folder)["epochs"] == 2


SOLVED = ROOT / "tests" / "training" / "formulas" / "solved"


@pytest.fixture(scope="module")
def of_a_file(tmp_path_factory) -> Path:
    """A run that stopped in its second epoch, with formulas that draw from NumPy."""
    folder = tmp_path_factory.mktemp("file")
    text = (SOLVED / "course.py").read_text()
    (folder / "right.py").write_text(text)
    count = "calls = [0]\ndef sgd_momentum(w, dw, config=None):\n    calls[0] += 1\n"
    count += f"    if calls[0] > 8 * {STEPS + 5}:\n        raise RuntimeError('stopped')\n"
    (folder / "mine.py").write_text(text.replace("def sgd_momentum(w, dw, config=None):\n", count))
    for name, told in (("right", ""), ("mine", "mine.py: line ")):
        words = [*RUN, f"formulas={name}.py", f"hydra.run.dir={folder / name}"]
        done = call(*words, cwd=folder)
        assert (done.returncode == 0) is (not told), done.stderr
        assert told in done.stderr
    return folder


def test_a_run_with_a_file_of_formulas_resumes_exactly(of_a_file, tmp_path):
    stopped = Path(shutil.copytree(of_a_file / "mine", tmp_path / "stopped"))
    last = torch.load(stopped / "checkpoints" / "last.ckpt", weights_only=True)
    assert STEPS < last["global_step"] < 2 * STEPS
    done = call(f"resume={stopped}", "formulas=right.py", cwd=of_a_file)
    assert done.returncode == 0, done.stderr
    told = f"{of_a_file}/right.py has changed since {stopped} trained with it"
    assert told in done.stderr
    assert_same_end(of_a_file / "right", stopped)
    again = call(f"resume={stopped}", "formulas=right.py", "trainer.max_epochs=4", cwd=of_a_file)
    assert again.returncode == 0
    assert "changed" not in again.stderr


@pytest.mark.slow
def test_a_recorded_path_of_formulas_is_not_read(of_a_file, tmp_path):
    """Neither the path in the record, nor a file that lies in the run's directory."""
    run = Path(shutil.copytree(of_a_file / "mine", tmp_path / "run"))
    touched, evil = tmp_path / "touched", run / "mine.py"
    evil.write_text(f"open({str(touched)!r}, 'w')\n")
    for path in (run / ".hydra").glob("*.yaml"):
        text = path.read_text().replace(str(of_a_file / "mine.py"), str(evil))
        path.write_text(text.replace("formulas=mine.py", f"formulas={evil}"))
    assert str(evil) in (run / ".hydra" / "overrides.yaml").read_text()
    for words in ([], ["formulas=torch"]):
        told = refusal(f"resume={run}", *words)
        assert told == (
            f"error: {run} trained with the formulas of a file, and keeps no copy of it; add "
            f"formulas=PATH, where the file is now\n"
        )
    assert call(f"resume={run}", f"formulas={of_a_file}/right.py").returncode == 0
    assert not touched.exists()


def test_a_run_without_a_file_of_formulas_takes_none(run, of_a_file):
    (run / "results.json").unlink()
    told = refusal(f"resume={run}", f"formulas={of_a_file}/right.py")
    assert told == f"error: {run} trained with formulas=torch; leave out formulas=\n"


def test_the_file_of_formulas_is_recorded_absolute(of_a_file):
    recorded = OmegaConf.load(of_a_file / "right" / ".hydra" / "config.yaml")
    assert recorded.formulas == str(of_a_file / "right.py")
