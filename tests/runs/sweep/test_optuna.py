"""Real studies: pruned, killed and continued, by one process and by several."""

import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from running import CONF, ROOT, SMALL, clean_environment, command, compose
from sweeping import rows_of, run, states, sweep_here, write_job

from lecture4.runs.lock import run_lock
from lecture4.runs.sweep import jobs, study

pytest.importorskip("optuna", minversion="5")
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
STUDY = ["sweep=optuna", "model=softmax", "sweep.pruner=none"]


def trials_of(folder: Path) -> list[tuple[str, int]]:
    """State and number of reported epochs of each trial."""
    trials = study.open_study(folder)[0].trials
    return [(trial.state.name, len(trial.intermediate_values)) for trial in trials]


@pytest.mark.parametrize("model", MODELS)
def test_every_choice_of_every_models_space_composes(model):
    cfg = compose("sweep=optuna", f"model={model}")
    assert cfg.hydra.sweeper._target_ == "hydra_plugins.lecture4_optuna.OptunaSweeper"
    words = OverridesParser.create().parse_overrides(list(cfg.space))
    assert {word.key_or_group for word in words} >= {"optim.lr", "optim.weight_decay"}
    for word in words:
        assert word.is_sweep_override()
        values = (
            list(word.sweep_string_iterator())
            if word.is_discrete_sweep()
            else [word.value().start, word.value().end]
        )
        for value in values:
            compose("sweep=optuna", f"model={model}", f"{word.key_or_group}={value}")


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """A study of seven trials, some with a learning rate that changes nothing."""
    folder = tmp_path_factory.mktemp("pruned")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as told:
        code = sweep_here(
            patch, "sweep=optuna", "model=softmax", "hydra.sweeper.n_trials=7",
            "trainer.max_epochs=4", "optim.lr=choice(0.02,0.03,0.05,1e-12)",
            "data.batch_size=64", f"hydra.sweep.dir={folder}",
        )  # fmt: skip
    return folder, code, told.getvalue()


@pytest.mark.slow
def test_trials_with_a_bad_learning_rate_are_pruned(pruned):
    folder, code, told = pruned
    assert code == 0
    bad = [int(path.parent.parent.name) for path in folder.glob("*/.hydra/overrides.yaml")
           if "optim.lr=1e-12" in path.read_text()]  # fmt: skip
    trials = trials_of(folder)
    stopped = [number for number, (state, _) in enumerate(trials) if state == "PRUNED"]
    assert set(bad) & set(stopped)
    assert {number for number in bad if number >= 5} <= set(stopped)  # five make a median
    for number in stopped:
        results = json.loads((folder / str(number) / "results.json").read_text())
        assert results["status"] == "pruned"
        epoch = int(re.search(r"after epoch (\d)/4 fell behind", results["reason"])[1])
        assert trials[number] == ("PRUNED", epoch)
    statuses = [row["status"] for row in rows_of(folder)]
    assert statuses == ["completed"] * (7 - len(stopped)) + ["pruned"] * len(stopped)
    assert told.count("pruned: validation accuracy") == len(stopped)
    assert "runs the rest" not in told
    assert (
        told.splitlines()[-1]
        == f"{folder}: sweep.csv, sweep.md, sweep.png, frontier.png, importance.png"
    )


@pytest.mark.slow
def test_the_same_command_finds_nothing_left_and_lists_what_others_train(pruned, monkeypatch):
    folder, _, _ = pruned
    before = states(folder)
    other = write_job(folder, "7", ["optim.lr=0.5"])
    begin = yaml.safe_load((folder / "0" / ".hydra" / "overrides.yaml").read_text())
    fixed = [w for w in begin if not w.startswith(("optim.lr", "optim.weight_decay"))]
    with run_lock(other):
        code = sweep_here(monkeypatch, *fixed, "optim.lr=choice(0.02,0.03,0.05,1e-12)",
                          "hydra.sweeper.n_trials=7", f"hydra.sweep.dir={folder}",
                          "sweep.workers=3")  # fmt: skip
    assert code == 0
    assert states(folder) == before
    assert not list(folder.glob("worker-*.log"))  # no process is started for nothing
    assert rows_of(folder)[-1]["status"] == "running"


def test_failed_trials_are_listed_and_replaced(monkeypatch, tmp_path, capsys):
    broken = [*STUDY, "model=mlp", "model.hidden=choice([foo],[bar])", "hydra.sweeper.n_trials=2",
              f"hydra.sweep.dir={tmp_path}"]  # fmt: skip
    assert sweep_here(monkeypatch, *broken) == 1
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 2
    assert "1 failed: " in told.out
    assert {row["status"] for row in rows_of(tmp_path)} == {"failed"}
    assert trials_of(tmp_path) == [("FAIL", 0)] * 2
    assert sweep_here(monkeypatch, *broken, "sweep_resume=true") == 1
    assert trials_of(tmp_path) == [("FAIL", 0)] * 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep.pruner=best"], "sweep.pruner=best is not accepted; it must be median, hyperband"),
        (["sweep.workers=0"], "sweep.workers=0 is not accepted; it must be a whole number ≥ 1"),
        (["hydra.sweeper.n_trials=many"], "hydra.sweeper.n_trials=many is not accepted; it"),
        (["hydra.sweeper.n_jobs=0"], "hydra.sweeper.n_jobs=0 is not accepted; it must be"),
        (["hydra.sweep.subdir=x"], "hydra.sweep.subdir is not accepted: trial N runs in the"),
        (["preprocess=none,foo"], "preprocess=foo is unknown; choose one of "),
        (["model.hidden=[8]"], "model.hidden is not a setting of these choices"),
        (["sweep_resume=true"], "sweep_resume=true finds no job in "),
        (["data.val_size=0"], "sweep=optuna chooses by validation accuracy, so data.val_size=0 is"),
        (["trainer=ddp"], "-m with several processes is not supported"),
    ],
)
def test_what_a_study_cannot_do_is_an_error_before_the_first_trial(
    monkeypatch, tmp_path, capsys, arguments, said
):
    folder = tmp_path / "sweep"
    assert sweep_here(monkeypatch, *STUDY, f"hydra.sweep.dir={folder}", *arguments) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {said}")
    assert len(told.splitlines()) == 1
    assert not folder.exists()


def test_a_study_of_the_former_sweeper_is_refused_and_left_alone(monkeypatch, tmp_path, capsys):
    write_job(tmp_path, "0", ["seed=0"], val_accuracy=0.5, test_accuracy=0.5)
    (tmp_path / "study.db").write_bytes(b"SQLite format 3\0")
    assert sweep_here(monkeypatch, *STUDY, f"hydra.sweep.dir={tmp_path}") == 1
    told = capsys.readouterr()
    assert told.err.startswith(f"error: {tmp_path} holds jobs of another sweep: a grid, or a")
    assert told.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "study.db"]


def kill_at(place: str, number: int, *arguments: str) -> None:
    """Run a study that is killed at a place, see killing.py."""
    process = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "killing.py"), place, str(number), "-m", *arguments],
        env=clean_environment(), capture_output=True, check=False,
    )  # fmt: skip
    assert process.returncode == -9, process.stderr


@pytest.mark.slow
def test_a_killed_study_resumes_its_trial_from_its_checkpoint(monkeypatch, tmp_path, capsys):
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    begin = [*SMALL, *STUDY, "trainer.max_epochs=4", "hydra.sweeper.n_trials=2"]
    kill_at("row", 2, *begin, f"hydra.sweep.dir={folder}")
    assert trials_of(folder) == [("RUNNING", 3)]
    assert {job.status for job in jobs.load_jobs(folder)} == {"unfinished"}

    assert sweep_here(monkeypatch, *begin, f"hydra.sweep.dir={folder}") == 0
    told = capsys.readouterr().out
    first = told[: told.index("#1 :")]
    assert re.findall(r"^epoch +(\d)/4", first, re.MULTILINE) in (["3", "4"], ["4"])
    assert trials_of(folder) == [("COMPLETE", 4)] * 2
    assert sorted(path.name for path in folder.glob("[0-9]*")) == ["0", "1"]

    assert sweep_here(monkeypatch, *begin, f"hydra.sweep.dir={whole}") == 0
    results = [
        [json.loads((of / str(n) / "results.json").read_text()) for n in range(2)]
        for of in (folder, whole)
    ]
    for killed, uninterrupted in zip(*results, strict=True):
        assert killed["val_loss"] == uninterrupted["val_loss"]
        assert killed["test_accuracy"] == uninterrupted["test_accuracy"]

    before = states(folder)
    assert sweep_here(monkeypatch, *begin, f"hydra.sweep.dir={folder}") == 0  # nothing is left
    assert states(folder) == before


@pytest.mark.slow
def test_workers_share_a_journal_and_take_what_a_killed_process_left(tmp_path):
    begin = [*SMALL, *STUDY, "trainer.max_epochs=2", f"hydra.sweep.dir={tmp_path}"]
    kill_at("row", 0, *begin, "hydra.sweeper.n_trials=1")
    done = command("-m", *begin, "hydra.sweeper.n_trials=6", "sweep.workers=2")
    assert done.returncode == 0, done.stderr
    assert trials_of(tmp_path) == [("COMPLETE", 2)] * 6
    mine = set(re.findall(r"#(\d+) :", done.stdout))
    other = set(re.findall(r"#(\d+) :", (tmp_path / "worker-1.log").read_text()))
    assert mine | other == set("012345")
    assert not mine & other
    assert other
    assert "rank" not in (tmp_path / "worker-1.log").read_text()
    assert {row["status"] for row in rows_of(tmp_path)} == {"completed"}
    assert len(rows_of(tmp_path)) == 6
    assert done.stdout.count("rank") == 1


@pytest.mark.slow
def test_batches_of_the_joblib_launcher(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = run(*STUDY, "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=2",
               "hydra/launcher=joblib", "hydra.launcher.n_jobs=2",
               f"hydra.sweep.dir={tmp_path}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.findall(r"is launching (\d) jobs", done.stdout) == ["2", "2", "1"]
    assert trials_of(tmp_path) == [("COMPLETE", 1)] * 5
    assert sorted(path.name for path in tmp_path.glob("[0-9]*")) == list("01234")
