"""Several processes, started by torchrun as on several machines, train as one would."""

import csv
import json
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from running import ROOT, SMALL, call, clean_environment, command, compose, weights_of
from torch.distributed import TCPStore

from lecture4.support import processes
from lecture4.support.processes import NAMES, rank
from lecture4.training import settings

NET = [
    *SMALL, "data.test_size=61", "data.batch_size=40", "data.eval_batch_size=25", "model=convnet",
    "model.blocks=[{channels: 4, padding: 1, pool: {}}]", "model.dropout=0.3",
    "augment=flip_crop", "trainer.precision=64-true", "trainer.max_epochs=2",
]  # fmt: skip
SLOW = pytest.mark.slow
TWO = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]


def torchrun(*arguments: str, cwd: Path, script: str = "train.py") -> subprocess.CompletedProcess:
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*started, str(ROOT / script), *arguments],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory):
    """The same training in one process and in two; the folder in which the two were started."""
    there = tmp_path_factory.mktemp("processes")
    one = call(*NET, "trainer=cpu", f"hydra.run.dir={there / 'one'}")
    assert one.returncode == 0, one.stderr
    (there / "two").mkdir()
    two = torchrun("weights", *NET, *TWO, cwd=there / "two", script="tests/collecting.py")
    assert two.returncode == 0, two.stderr
    return there / "one", there / "two", two


@pytest.mark.slow
def test_one_of_them_makes_the_run_directory_and_tells(one_and_two):
    _, there, done = one_and_two
    assert len(list(there.glob("outputs/*/*"))) == 1
    assert sorted(path.name for path in there.iterdir()) == ["outputs", "weights"]
    for once in ("multiply-adds", "epoch   1/2", "epoch   2/2", "results.json, figures/"):
        assert done.stdout.count(once) == 1


@pytest.mark.slow
def test_the_same_losses_and_weights_as_in_one(one_and_two):
    one, there, _ = one_and_two
    (run,) = there.glob("outputs/*/*")
    texts = [(folder / "metrics.csv").read_text() for folder in (one, run)]
    rows = [list(csv.DictReader(text.splitlines())) for text in texts]
    assert len(rows[0]) == len(rows[1]) == 3
    for a, b in zip(*rows, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert float(a[key] or 0) == pytest.approx(float(b[key] or 0), abs=1e-5, rel=0)
    a, b = weights_of(one), weights_of(run)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_every_process_has_the_same_weights(one_and_two):
    weights = [
        torch.load(one_and_two[1] / "weights" / f"{r}.pt", weights_only=True) for r in (0, 1)
    ]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")
@pytest.mark.parametrize("number", [0, 1])
def test_no_thread_of_gloo_outlives_python(one_and_two, number):
    threads = (one_and_two[1] / "weights" / f"{number}.threads").read_text()
    assert "python" in threads
    assert "gloo" not in threads


@pytest.mark.slow
def test_each_test_image_counts_once(one_and_two):
    one, there, _ = one_and_two
    (run,) = there.glob("outputs/*/*")
    a, b = (json.loads((folder / "results.json").read_text()) for folder in (one, run))
    assert a["test_accuracy"] == b["test_accuracy"]
    assert (a["test_accuracy"] * 61) % 1 == pytest.approx(0, abs=1e-9)
    assert a["test_loss"] == pytest.approx(b["test_loss"], rel=1e-9)


@pytest.mark.slow
def test_two_that_were_killed_within_an_epoch_end_as_if_they_had_not_been(tmp_path):
    arguments = [*NET, *TWO, "checkpoint.every_n_steps=2", "model=mlp", "model.hidden=[8]"]
    arguments = [word for word in arguments if not word.startswith(("model.blocks", "model=conv"))]
    whole = command(*arguments, f"hydra.run.dir={tmp_path / 'whole'}")
    assert whole.returncode == 0, whole.stderr
    started = [sys.executable, str(ROOT / "tests" / "killing.py"), "step", "9"]
    killed = subprocess.run(
        [*started, *arguments, f"hydra.run.dir={tmp_path / 'killed'}"],
        env=clean_environment(),
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    done = command(f"resume={tmp_path / 'killed'}")
    assert done.returncode == 0, done.stderr
    a, b = weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed")
    assert all(torch.equal(a[name], b[name]) for name in a)
    texts = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "killed")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("surroundings", "expected"),
    [
        ({}, 0),
        ({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}, 3),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, 1),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8"}, 5),
        ({"SLURM_PROCID": "5"}, 0),  # of a job of one task, or left in a shell
        ({"RANK": "1"}, 0),
        ({"RANK": "x", "WORLD_SIZE": "2"}, 0),
    ],
)
def test_rank_before_the_processes_have_met(monkeypatch, surroundings, expected):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    assert rank() == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(
            ["data.batch_size=41"],
            "a global batch of 41 is not a multiple of 2 processes",
            marks=pytest.mark.slow,
        ),
        (["trainer.sync_batchnorm=true"], "trainer.sync_batchnorm=true needs GPUs"),
    ],
)
def test_what_cannot_be_shared_out(tmp_path, arguments, told):
    done = command(*NET, *TWO, *arguments, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) <= 2


# train.py with something planted in it; processes that Lightning launches run this file, too
PLANTED = """
import sys, time
sys.path.insert(0, {root!r})
from lecture4.commands.train import main, resume
from lecture4.support import processes

def after(seconds, ranks, work):
    def wait_and_work(*args, **options):
        time.sleep(seconds if processes.rank() in ranks else 0)
        return work(*args, **options)
    return wait_and_work

def fail(*_):
    raise ValueError("no such folder")

{plant}
if __name__ == "__main__":
    main()
"""
ORDERS = {
    "the second exits first": "processes._store = after(120, [0], processes._store)",
    "the first exits first": "processes._store = after(120, [1], processes._store)",
    "one is printing when the other would exit": "processes.print = after(5, [0, 1], print)",
}


def planted(tmp_path: Path, plant: str) -> str:
    path = tmp_path / "planted.py"
    path.write_text(PLANTED.format(root=str(ROOT), plant=plant))
    return str(path)


@pytest.mark.parametrize(
    "order", ["the second exits first", *(pytest.param(o, marks=SLOW) for o in list(ORDERS)[1:])]
)
def test_an_error_of_every_process_is_printed_once(tmp_path, order):
    script = planted(tmp_path, ORDERS[order])
    done = torchrun(*SMALL, "model=softmax", cwd=tmp_path, script=script)
    assert done.returncode == 1
    assert done.stderr.count("error: torchrun has started 2 processes") == 1
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_an_error_of_one_process_is_printed(tmp_path):
    plant = "if processes.rank(): resume.last_checkpoint = fail"
    done = command(*NET, *TWO, cwd=tmp_path, script=planted(tmp_path, plant))
    assert done.returncode != 0
    assert done.stderr == "process 1: error: no such folder\n"


@pytest.fixture(params=["torchrun", "srun"])
def one_of_nine(request, monkeypatch, tmp_path):
    """What a launcher of nine processes gives one of them."""
    for name in {name for pair in NAMES for name in pair}:
        monkeypatch.delenv(name, raising=False)
    agent = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    given = {
        "torchrun": {
            "TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "9", "RANK": "1",
            "MASTER_ADDR": "localhost", "MASTER_PORT": str(agent.port),
        },
        "srun": {
            "SLURM_NTASKS": "9", "SLURM_PROCID": "1", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0",
        },
    }  # fmt: skip
    for name, value in given[request.param].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    del agent


def test_processes_with_one_error_print_it_once_and_others_each(one_of_nine, capsys):
    with ThreadPoolExecutor(9) as pool:
        list(pool.map(processes.print_once, ["error: the same"] * 8 + ["error: another"]))
    assert sorted(capsys.readouterr().err.splitlines()) == [
        "process 1: error: another",
        "process 1: error: the same",
    ]


def test_an_error_is_printed_if_the_process_that_came_first_was_stopped(
    one_of_nine, monkeypatch, capsys
):
    monkeypatch.setattr(processes, "PATIENCE", timedelta(seconds=1))
    processes._store().add("error: half-way", 1)
    processes.print_once("error: half-way")
    assert capsys.readouterr().err == "process 1: error: half-way\n"


def test_an_error_is_printed_if_no_store_answers(one_of_nine, monkeypatch, capfd):
    def no_folder():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setenv("MASTER_PORT", "1")
    with monkeypatch.context() as broken:
        broken.setattr(processes, "PATIENCE", timedelta(seconds=1))
        broken.setattr(tempfile, "gettempdir", no_folder)
        processes.print_once("error: alone")
    assert capfd.readouterr().err.splitlines()[-1] == "process 1: error: alone"


def test_a_stray_variable_makes_no_second_process(tmp_path):
    arguments = [*SMALL, "model=softmax", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}"]
    done = call(*arguments, SLURM_PROCID="1", RANK="1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results.json").exists()


def test_one_device_of_a_list_is_one_process():
    settings.check_sweep(compose("trainer.devices=[1]"))
    with pytest.raises(ValueError, match="-m with several processes is not supported"):
        settings.check_sweep(compose("trainer.devices=[0,1]"))
