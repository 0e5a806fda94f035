"""Real sweeps: ranked, continued, driven by other engines, in other processes."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from running import CONF, ROOT, clean_environment, command, compose
from sweeping import ONE_EPOCH, kill_at_job, rows_of, run, states

from lecture4.commands.errors import sentence
from lecture4.runs.sweep.jobs import load_jobs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A failed job among others, and then the same sweep once more."""
    folder = tmp_path_factory.mktemp("sweep")
    first = run("model=softmax", "model.init=foo,he", "seed=0,1", f"hydra.sweep.dir={folder}")
    return folder, first


def test_a_sweep_continues_after_an_error_and_ends_with_code_1(finished):
    folder, done = finished
    assert done.returncode == 1
    errors = done.stderr.splitlines()
    assert len(errors) == 2
    assert all("init=foo is unknown" in line for line in errors)
    failed = json.loads((folder / "0" / "results.json").read_text())
    assert failed["status"] == "failed"
    assert "init=foo is unknown" in failed["reason"]


def test_it_ends_with_a_table_and_files(finished):
    folder, done = finished
    told = done.stdout[done.stdout.rindex("rank") :]
    assert "model.init=he" in told
    assert " ± " in told
    assert "0 failed: " in told
    assert f"{folder}: sweep.csv, sweep.md, sweep.png" in told
    rows = rows_of(folder)
    assert [row["status"] for row in rows] == ["completed", "completed", "failed", "failed"]
    for row in rows[:2]:
        results = json.loads((Path(row["path"]) / "results.json").read_text())
        assert float(row["val_accuracy"]) == results["val_accuracy"]
        assert float(row["test_accuracy"]) == results["test_accuracy"]
        assert float(row["seconds"]) == results["train_seconds"]
        assert "model.init=he" in row["overrides"]
    assert "init=foo is unknown" in rows[2]["reason"]
    assert (folder / "sweep.png").stat().st_size > 5_000
    assert (folder / "sweep.md").read_text().startswith("| rank | overrides |")


@pytest.mark.slow
def test_finished_jobs_are_left_out_whatever_their_number(finished, tmp_path):
    folder = Path(shutil.copytree(finished[0], tmp_path / "sweep"))
    before = states(folder)
    done = run("seed=2,1", "model.init=he", "model=softmax", f"hydra.sweep.dir={folder}",
               "sweep_resume=true")  # fmt: skip
    assert done.returncode == 0, done.stderr
    after = states(folder)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"r2-0"}  # seed 2 alone
    assert {row["seed"] for row in rows_of(folder)} == {"0", "1", "2"}


@pytest.mark.slow
def test_failed_jobs_are_done_again(tmp_path):
    from PIL import Image

    images = tmp_path / "images"
    choices = ["data=image_folder", "model=softmax", f"data.root={images}", "data.val_size=2",
               f"hydra.sweep.dir={tmp_path / 'sweep'}", "optim.lr=0.1,0.01"]  # fmt: skip
    begin = ["-m", "trainer.max_epochs=1", *choices]
    assert command(*begin).returncode == 1
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (images / split / name).mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (8, 8), "red").save(images / split / name / f"{number}.png")
    done = command(*begin, "sweep_resume=true")
    assert done.returncode == 0, done.stderr
    assert {job.status for job in load_jobs(tmp_path / "sweep")} == {"completed"}
    assert json.loads((tmp_path / "sweep" / "0" / "results.json").read_text())["status"] == "failed"


def test_what_does_not_compose_stops_it_before_the_first_job(tmp_path):
    done = run("model=softmax,foo", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: model=foo is unknown; choose one of convnet, mlp, softmax\n"
    assert not list(tmp_path.glob("sweep/*/*"))


@pytest.mark.slow
def test_a_killed_sweep_continues(tmp_path):
    arguments = ["-m", *ONE_EPOCH, "model=softmax", "seed=0,1,2", f"hydra.sweep.dir={tmp_path}"]
    kill_at_job(1, *arguments)
    before = states(tmp_path)
    assert set(before) == {"0"}
    done = command(*arguments, "sweep_resume=true")
    assert done.returncode == 0, done.stderr
    assert states(tmp_path)["0"] == before["0"]
    assert {job.settings["seed"]: job.status for job in load_jobs(tmp_path)} == dict.fromkeys(
        (0, 1, 2), "completed"
    )


@pytest.mark.slow
def test_jobs_in_deeper_folders_stand_in_the_table(tmp_path):
    done = run("model=softmax", "model.init=he,foo", f"hydra.sweep.dir={tmp_path}",
               "hydra.sweep.subdir=${model.init}/${seed}")  # fmt: skip
    assert done.returncode == 1
    assert [row["status"] for row in rows_of(tmp_path)] == ["completed", "failed"]
    assert "foo/0 failed: " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sweep_resume=true"], "sweep_resume=true finds no job in "),
        (["sweep_resume=maybe"], "sweep_resume=maybe is not accepted; it must be true or false"),
        (
            ["optim.weight_decay=0,0.1", "hydra.sweeper.refine=optim.weight_decay"],
            "hydra.sweeper.refine=optim.weight_decay needs optim.weight_decay > 0 in every",
        ),
        (
            ["hydra.sweeper.refine=optim.lr"],
            "hydra.sweeper.refine=optim.lr needs optim.lr > 0 in every job, not None",
        ),
        (
            ["data.val_size=60,0", "optim.lr=1", "hydra.sweeper.refine=optim.lr"],
            "hydra.sweeper.refine=optim.lr chooses by validation accuracy, so data.val_size=0 is",
        ),
        (["resume=there"], "resume continues one run"),
    ],
)
def test_what_a_sweep_cannot_do_is_an_error_before_the_first_job(tmp_path, arguments, told):
    done = run("model=softmax", "seed=0,1", "hydra.sweep.dir=sweep", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {told}")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("sweep/*/.hydra"))


def ready_made() -> dict[str, dict[str, str]]:
    files = {
        file.stem: yaml.safe_load(file.read_text()) for file in (CONF / "sweep").glob("*.yaml")
    }
    sweepers = {name: file.get("hydra", {}).get("sweeper", {}) for name, file in files.items()}
    return {name: sweeper["params"] for name, sweeper in sweepers.items() if "params" in sweeper}


def test_there_are_four_grids():
    assert set(ready_made()) == {"lr", "init_activation", "preprocess", "architecture"}


@pytest.mark.parametrize("name", ["lr", "init_activation", "preprocess", "architecture"])
def test_every_choice_of_a_ready_made_sweep_composes(name):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    words = [f"{key}={value}" for key, value in ready_made()[name].items()]
    for override in OverridesParser.create().parse_overrides(words):
        values = list(override.sweep_string_iterator())
        assert len(values) >= 3
        for value in values:
            compose(f"sweep={name}", f"{override.get_key_element()}={value}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "jobs", "shorter"),
    [
        ("init_activation", 12, ["model.hidden=[8,8]"]),
        ("preprocess", 4, []),
        ("architecture", 4, []),
    ],
)
def test_a_ready_made_sweep_runs(tmp_path, name, jobs, shorter):
    done = run(f"sweep={name}", f"hydra.sweep.dir={tmp_path}", *shorter)
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in rows_of(tmp_path)] == ["completed"] * jobs


@pytest.mark.slow
def test_the_learning_rate_coarse_to_fine(tmp_path):
    done = run("sweep=lr", "model=softmax", "optim.lr=1e-4,1e-2", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    scores = {float(row["optim.lr"]): float(row["val_accuracy"]) for row in rows_of(tmp_path)}
    coarse = {rate: scores.pop(rate) for rate in (1e-4, 1e-2)}
    best = max(coarse, key=coarse.__getitem__)
    assert sorted(scores) == pytest.approx([best / 10, best / 10**0.5, best * 10**0.5, best * 10],
                                           rel=0.02)  # fmt: skip


def test_without_the_package_the_extra_is_named():
    from hydra.errors import MissingConfigException

    def missing(group: str, choice: str) -> str:
        text = f"Could not find '{group}/{choice}'\n\nAvailable options in '{group}':\n\tbasic"
        return sentence(MissingConfigException(text, f"{group}/{choice}", ["basic"]))

    assert missing("hydra/launcher", "joblib") == (
        "hydra/launcher=joblib needs an extra package: pip install -e '.[sweep]'"
    )
    assert sentence(ModuleNotFoundError("No module named 'optuna'")) == (
        "sweep=optuna needs an extra package: pip install -e '.[sweep]'"
    )
    assert missing("hydra/launcher", "submitit_slurm").endswith("'.[slurm]'")
    assert missing("hydra/launcher", "ray").endswith("'.[ray]'")


SEVERAL = ["model=softmax", "model.init=he,foo", "seed=0,1"]


def assert_in_one_table(done: subprocess.CompletedProcess, folder: Path) -> None:
    assert done.returncode == 1, done.stderr
    assert [row["status"] for row in rows_of(folder)] == ["completed"] * 2 + ["failed"] * 2
    assert "rank" in done.stdout
    written, hint = done.stdout.splitlines()[-2:]  # the table comes last
    assert written.endswith("sweep.csv, sweep.md, sweep.png, frontier.png")
    assert hint.endswith("sweep_resume=true runs the rest")


@pytest.mark.slow
def test_joblib_runs_two_at_once_and_divides_the_threads(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    inherited = {k: v for k, v in clean_environment().items() if k != "OMP_NUM_THREADS"}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "-m", *ONE_EPOCH, *SEVERAL,
         "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"hydra.sweep.dir={tmp_path}"],
        env=inherited | {"STARTED_BY": str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    workers = {}  # loky replaces a worker whose memory has grown, so there may be more than two
    at_once = 0
    while process.poll() is None and len(list(tmp_path.glob("*/.hydra"))) < 4:
        alive = loky_workers(f"STARTED_BY={tmp_path}")
        workers |= alive
        at_once = max(at_once, len(alive))
        time.sleep(0.05)
    out, err = process.communicate()
    done = subprocess.CompletedProcess([], process.returncode, out, err)
    assert_in_one_table(done, tmp_path)
    assert at_once >= 2
    each = f"OMP_NUM_THREADS={max(os.cpu_count() // 2, 1)}"
    assert list(workers.values()) == [[each]] * len(workers)


def loky_workers(mark: str) -> dict[str, list[str]]:
    """OMP_NUM_THREADS of each living loky worker that inherited mark, by process id."""
    workers = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command_line = (place / "cmdline").read_text(errors="replace")
            surroundings = (place / "environ").read_text(errors="replace").split("\0")
        except OSError:
            continue  # ended meanwhile, or another user's
        if "LokyProcess" in command_line and mark in surroundings:
            threads = [entry for entry in surroundings if entry.startswith("OMP_NUM_THREADS=")]
            workers[place.name] = threads
    return workers


@pytest.mark.slow
def test_submitit_runs_jobs_as_on_a_cluster(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    done = run(*SEVERAL, "hydra/launcher=submitit_local", f"hydra.sweep.dir={tmp_path}")
    assert_in_one_table(done, tmp_path)
    assert len(list((tmp_path / ".submitit").glob("*/*_log.out"))) == 4


def test_without_slurm_submitit_says_so(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    if shutil.which("srun"):
        pytest.skip("there is Slurm here")
    done = run(*SEVERAL, "hydra/launcher=submitit_slurm", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 1
    assert done.stderr == 'error: Could not detect "srun", are you indeed on a slurm cluster?\n'


@pytest.mark.slow
def test_ray_runs_jobs_in_a_real_local_runtime(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    done = run(*SEVERAL, "hydra/launcher=ray", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert_in_one_table(done, tmp_path / "sweep")
    assert "_run_job pid=" in done.stdout  # in a worker of Ray's


def test_several_processes_and_a_sweep_are_one_sentence(tmp_path):
    done = run("seed=0,1", "model=softmax", "trainer=ddp", "trainer.devices=2",
               "trainer.accelerator=cpu", f"hydra.sweep.dir={tmp_path}")  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: -m with several processes is not supported")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
