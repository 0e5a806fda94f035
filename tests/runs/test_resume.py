"""A killed run ends like one that was not; an untrusted run runs no code of its own."""

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from PIL import Image
from running import ROOT, SMALL, assert_same, call, clean_environment, command

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


PLACES = [
    ("step", 0),  # no checkpoint yet
    ("step", 8),  # within the first epoch
    ("step", STEPS),  # between two epochs
    ("step", STEPS + 10),  # the step after a checkpoint
    ("validation", 1),
    ("row", 1),  # a row of metrics.csv without its checkpoint
    ("checkpoint", 3),  # half of it is written: the epoch's first, after two within it
    ("test", 0),
]


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory) -> dict:
    """Kill and resume at every place, several at once, because starting Python takes longest."""
    root = tmp_path_factory.mktemp("killed")

    def run(place: tuple[str, int]):
        folder = root / f"{place[0]} {place[1]}"
        kill(*place, folder, *RUN)
        record = hydra_record(folder)
        return folder, record, command(f"resume={folder}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(PLACES, pool.map(run, PLACES), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0]}-{place[1]}")
def test_a_killed_run_ends_as_if_it_had_not_been(never_killed, killed_and_resumed, place):
    folder, record, done = killed_and_resumed[place]
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert_same_end(never_killed, folder)
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


@pytest.mark.slow
def test_no_epoch_is_printed_twice(killed_and_resumed):
    folder, _, done = killed_and_resumed["step", STEPS + 10]
    told = re.findall(r"^epoch +(\d)/3", done.stdout, re.MULTILINE)
    assert told == ["2", "3"]
    steps = [row.split(",")[2] for row in (folder / "metrics.csv").read_text().splitlines()[1:]]
    assert steps == ["12", "24", "36", "36"]  # three epochs and the test


@pytest.mark.parametrize(
    "choice",
    [
        ["optim=adam"],
        ["optim=random_local_search"],
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


def test_convnet_with_batch_norm_within_an_epoch(tmp_path):
    net = [*SMALL, "data.batch_size=40", "model.blocks=[{channels: 4, norm: batch, pool: {}}]",
           "model=convnet", "trainer.max_epochs=2", "checkpoint.every_n_steps=2"]  # fmt: skip
    assert call(*net, f"hydra.run.dir={tmp_path / 'whole'}").returncode == 0
    kill("step", 9, tmp_path / "killed", *net)
    moved = (tmp_path / "killed").rename(tmp_path / "moved, and named = otherwise")
    done = command(f"resume={moved}")
    assert done.returncode == 0, done.stderr
    assert_same_end(tmp_path / "whole", moved)


@pytest.mark.slow
def test_kills_at_random_moments(tmp_path):
    """A run that saves after every step is killed 24 times."""
    long = [word for word in RUN if "max_epochs" not in word and "every_n_steps" not in word]
    long += ["trainer.max_epochs=120", "checkpoint.every_n_steps=1"]
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    assert command(*long, f"hydra.run.dir={whole}").returncode == 0
    draw, reached = random.Random(0), set()
    for _ in range(24):
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
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) <= 2
    assert "Traceback" not in done.stderr
    return done.stderr


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
def test_a_damaged_checkpoint_is_named(run, damage):
    damage(run / "checkpoints" / "last.ckpt")
    (run / "results.json").unlink()
    assert "checkpoints/last.ckpt" in refusal(f"resume={run}")


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


def test_data_that_has_moved(tmp_path):
    run, there, moved = (tmp_path / name for name in ("run", "there", "moved to"))
    for split in ("train", "test"):
        for name, colour in (("cat", "red"), ("dog", "blue")):
            (there / split / name).mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (8, 8), colour).save(there / split / name / f"{number}.png")
    first = ["data=image_folder", f"data.root={there}", "model=softmax", "trainer.max_epochs=1"]
    done = call(*first, f"hydra.run.dir={run}")
    assert done.returncode == 0, done.stderr
    there.rename(moved)
    done = call(f"resume={run}", "trainer.max_epochs=2", f"data.root='{moved}'")
    assert done.returncode == 0, done.stderr
    assert results(run)["epochs"] == 2
    (run / "results.json").unlink()
    done = call(f"resume={run}")  # it remembers both
    assert done.returncode == 0, done.stderr
    assert results(run)["epochs"] == 2


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
