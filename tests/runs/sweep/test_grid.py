"""The grid sweeper: refining around the best value, a directory for each job."""

import json
import sys
from pathlib import Path

from running import ROOT
from sweeping import sweep_here, write_job

from lecture4.runs.sweep import jobs


def test_closer_to_the_best():
    sys.path.insert(0, str(ROOT))
    from hydra_plugins.lecture4_grid import closer

    assert closer(0.01, [0.001, 0.01, 0.1]) == [0.00316, 0.00562, 0.0178, 0.0316]
    assert closer(0.1, [0.001, 0.1]) == [0.01, 0.0316, 0.316, 1.0]
    assert closer(1.0, [1.0]) == [0.316, 0.562, 1.78, 3.16]
    assert closer(0.01, [0.01, 0.010001]) == []


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_jobs_in_one_directory_are_refused_before_the_first(monkeypatch, tmp_path, capsys):
    folder = tmp_path / "sweep"
    words = ["model=softmax", "seed=0,1", f"hydra.sweep.dir={folder}"]
    assert sweep_here(monkeypatch, *words, "hydra.sweep.subdir=${model.init}") == 1
    told = capsys.readouterr().err
    assert told.startswith("error: hydra.sweep.subdir gives several jobs the directory ")
    assert told.endswith("; include ${hydra.job.num} in it\n")
    assert not folder.exists()


def test_a_job_does_not_replace_the_results_of_other_settings(monkeypatch, tmp_path, capsys):
    done = write_job(tmp_path, "he", ["seed=0"], val_accuracy=0.5, test_accuracy=0.5)
    before = files(done)
    words = ["model=softmax", "seed=1", f"hydra.sweep.dir={tmp_path}"]
    assert sweep_here(monkeypatch, *words, "hydra.sweep.subdir=he") == 1
    assert f"gives several jobs the directory {done}, " in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_job_completes_whatever_becomes_of_its_figures(monkeypatch, tmp_path, capsys):
    def fail(*_):
        raise RuntimeError("no such font")

    monkeypatch.setattr("lecture4.training.figures.confusion", fail)
    words = ["model=softmax", "seed=0,1", f"hydra.sweep.dir={tmp_path}"]
    assert sweep_here(monkeypatch, *words) == 0
    assert [job.status for job in jobs.load_jobs(tmp_path)] == ["completed"] * 2
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f"{tmp_path / name}: figures/confusion.png could not be written: no such font"
        for name in "01"
    ]


def test_a_failed_job_whose_reason_cannot_be_written_leaves_the_next(monkeypatch, tmp_path, capsys):
    (tmp_path / "0" / "results.json").mkdir(parents=True)
    words = ["model=softmax", "model.init=foo,he", f"hydra.sweep.dir={tmp_path}"]
    assert sweep_here(monkeypatch, *words) == 1
    assert json.loads((tmp_path / "1" / "results.json").read_text())["status"] == "completed"
    told = f"{tmp_path / '0'}: results.json could not be written: Is a directory"
    assert told in capsys.readouterr().err.splitlines()
