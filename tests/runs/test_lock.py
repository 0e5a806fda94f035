"""One process at a time trains in a directory; it is free as soon as its process has ended."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from running import ROOT, SMALL, call, clean_environment, command

from lecture4.runs import lock

ENDLESS = [*SMALL, "model=softmax", "trainer.max_epochs=100000",
           "checkpoint.every_n_steps=1"]  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """A run that has trained its first epoch, and is stopped for the time being."""
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "train.py"), *arguments, f"hydra.run.dir={folder}"],
        env=clean_environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("epoch   1/"):
            break
    process.send_signal(signal.SIGSTOP)
    return process


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        pytest.param([], id="alone"),
        pytest.param(["data.num_workers=1"], id="with a worker"),
    ],
)
def test_a_second_run_is_refused_and_a_killed_one_resumes_at_once(tmp_path, monkeypatch, more):
    folder = tmp_path / "run"
    process = start(folder, *ENDLESS, *more)
    try:
        before = contents(folder)
        for arguments in (
            [*ENDLESS, "optim=adam", f"hydra.run.dir={folder}"],
            [f"resume={folder}"],
        ):
            done = call(*arguments)
            assert done.returncode == 1
            assert done.stdout == ""
            assert done.stderr.startswith(
                f"error: {folder} is in use: process {process.pid} on {socket.gethostname()} has "
                f"trained there since 20"
            )
            assert len(done.stderr.splitlines()) == 1
        assert contents(folder) == before
    finally:
        process.kill()
        process.communicate()
    for name in ("overrides", "config"):  # of a run that has an end
        path = folder / ".hydra" / f"{name}.yaml"
        path.write_text(path.read_text().replace("100000", "3"))
    monkeypatch.setattr(lock, "PATIENCE", 0)
    done = call(f"resume={folder}")
    assert done.returncode == 0, done.stderr
    assert "epoch   2/3" in done.stdout
    assert not lock.held(folder)


def test_who_holds_a_directory_is_forgotten_with_the_lock(tmp_path):
    with lock.hold(tmp_path / "new" / "run"):
        assert lock.held(tmp_path / "new" / "run")
        assert {p.name for p in (tmp_path / "new" / "run").iterdir()} == {".lock", lock.OWNER}
    assert [p.name for p in (tmp_path / "new" / "run").iterdir()] == [".lock"]
    assert not lock.held(tmp_path / "new" / "run")
    assert not lock.held(tmp_path / "none")


@pytest.mark.parametrize("text", [None, "", "[]", '{"pid": 1}'])
def test_a_holder_that_cannot_be_read_is_another_process(tmp_path, monkeypatch, text):
    monkeypatch.setattr(lock, "PATIENCE", 0)
    with lock.run_lock(tmp_path):
        if text is not None:
            (tmp_path / lock.OWNER).write_text(text)
        with pytest.raises(BlockingIOError, match="is in use: another process trains there; wait"):
            lock.hold(tmp_path).__enter__()


def test_a_name_in_the_holder_cannot_steer_the_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0)
    told = {"pid": 1, "host": "\x1b[31m", "since": "now"}
    (tmp_path / lock.OWNER).write_text(json.dumps(told))
    with lock.run_lock(tmp_path), pytest.raises(BlockingIOError, match=r"on \\x1b\[31m has"):
        lock.hold(tmp_path).__enter__()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, capsys, code):
    fcntl = pytest.importorskip("fcntl")

    def flock(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock.hold(tmp_path):
        pass
    told = capsys.readouterr().err
    assert told == (
        f"{tmp_path} cannot be locked ({os.strerror(code)}); start no second run there\n"
    )
    assert not lock.held(tmp_path)


@pytest.fixture
def read_only(tmp_path) -> Path:
    """A directory that cannot be written, by root either."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=False).returncode:
        pytest.skip("no file system can be mounted here; that takes root")
    (place / "run").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    yield place / "run"
    subprocess.run(["umount", place], check=True)


def test_a_directory_that_cannot_be_written_is_a_sentence(read_only):
    done = call(*SMALL, "model=softmax", f"hydra.run.dir={read_only}")
    assert done.returncode == 1
    assert done.stderr == f"error: {read_only} cannot be written: Read-only file system\n"
    assert list(read_only.iterdir()) == []


@pytest.mark.slow
def test_two_sweeps_that_begin_at_once_in_one_directory(tmp_path):
    """The second finds the first one's job, and overwrites neither its record nor its results."""
    folder = tmp_path / "sweep"
    process = start(folder, "-m", *ENDLESS, "seed=0", f"hydra.sweep.dir={folder}")
    try:
        before = contents(folder / "0")
        done = command(
            "-m", *ENDLESS, "seed=1", "hydra.sweep.subdir=0", f"hydra.sweep.dir={folder}"
        )
        assert done.returncode == 1
        assert f"{folder / '0'} is in use: process {process.pid} on" in done.stderr
        assert contents(folder / "0") == before
    finally:
        process.kill()
        process.communicate()
