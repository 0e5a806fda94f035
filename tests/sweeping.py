"""Running sweeps in real processes, killing them, and writing what their jobs leave."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import yaml
from running import ROOT, SMALL, clean_environment, command

ONE_EPOCH = [*SMALL, "trainer.max_epochs=1"]


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    return command("-m", *ONE_EPOCH, *arguments, OMP_NUM_THREADS="1", **options)


def kill_at_job(number: int, *arguments: str) -> None:
    """Start a sweep, and kill it when it says that this job begins."""
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "train.py"), *arguments],
        env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if f"#{number} :" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()


def sweep_here(monkeypatch, *arguments: str) -> int:
    """Run train.py -m in this process; return its exit code."""
    from hydra.core.hydra_config import HydraConfig

    from lecture4.commands.train import main
    from lecture4.runs.sweep.hydra import Watch

    monkeypatch.setattr(sys, "argv", ["train.py", "-m", *ONE_EPOCH, *arguments])
    monkeypatch.setattr(Watch, "begun", None)
    for name in ("HYDRA_FULL_ERROR", "LECTURE4_FULL_ERROR"):
        monkeypatch.setenv(name, "0")
    try:
        main()
    except SystemExit as end:
        return end.code
    finally:
        HydraConfig.instance().cfg = None
    return 0


def rows_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "sweep.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def write_job(folder: Path, name: str, overrides: list[str], **results) -> Path:
    """What a job leaves."""
    (folder / name / ".hydra").mkdir(parents=True)
    (folder / name / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    if results:
        results = {"status": "completed", "train_seconds": 1.0, **results}
        (folder / name / "results.json").write_text(json.dumps(results))
    return folder / name


def states(folder: Path) -> dict[str, int]:
    """When each job wrote its results."""
    return {p.parent.name: p.stat().st_mtime_ns for p in folder.glob("*/results.json")}
