"""Jobs, read from their files: which are the same, and which count."""

import pytest
from sweeping import write_job

from lecture4.runs.sweep import jobs


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["model=mlp", "optim.lr=0.1"], ["optim.lr=0.1", "model=mlp"]),
        (["optim.lr=1e-3"], ["optim.lr=0.001"]),
        (["optim.lr=1"], ["optim.lr=1.0"]),
        (["model.hidden=[64, 32]"], ["model.hidden=[64,32]"]),
        (["seed=0"], ["seed=0", "sweep_resume=true"]),
        (["seed=1", "seed=0"], ["seed=0"]),
    ],
)
def test_the_same_job(one, other):
    assert jobs.identity(one) == jobs.identity(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["optim.lr=1e-3"], ["optim.lr=1e-2"]),
        (["model=mlp"], ["model=mlp", "seed=0"]),
        (["sanity=true"], ["sanity=1"]),
        (["model.init=null"], ["model.init='null'"]),
    ],
)
def test_another_job(one, other):
    assert jobs.identity(one) != jobs.identity(other)


def test_of_the_same_job_the_newer_counts(tmp_path):
    write_job(tmp_path, "9", ["seed=0"], status="failed", reason="no")
    write_job(tmp_path, "10", ["seed=1"], val_accuracy=0.5, test_accuracy=0.5)
    write_job(
        tmp_path, "r2-0", ["seed=0", "sweep_resume=true"], val_accuracy=0.6, test_accuracy=0.6
    )
    assert {job.path.name: job.status for job in jobs.load_jobs(tmp_path)} == {
        "r2-0": "completed",
        "10": "completed",
    }


def test_of_the_same_job_one_that_completed_counts(tmp_path):
    write_job(tmp_path, "0", ["seed=0"], val_accuracy=0.5, test_accuracy=0.5)
    write_job(tmp_path, "r2-0", ["seed=0"])  # again, and killed
    assert [job.path.name for job in jobs.load_jobs(tmp_path)] == ["0"]
    assert len(jobs.attempts(tmp_path)) == 2
    assert jobs.finished(tmp_path) == {jobs.identity(["seed=0"])}


@pytest.mark.parametrize(
    "damage", ['{"status": "compl', '{"status": "completed"}', "[]", "", "null"]
)
def test_results_that_cannot_be_read_are_named(tmp_path, damage):
    job = write_job(tmp_path, "0", ["seed=0"])
    (job / "results.json").write_text(damage)
    (found,) = jobs.load_jobs(tmp_path)
    assert found.status == "unfinished"
    assert found.reason == f"{job / 'results.json'} cannot be read"


def test_a_job_that_was_killed_as_it_began_does_not_count(tmp_path):
    for name, text in (("0", ""), ("1", "- 'seed"), ("2", "seed: 0"), ("3", "- '= ='")):
        write_job(tmp_path, name, [])
        (tmp_path / name / ".hydra" / "overrides.yaml").write_text(text)
    assert jobs.load_jobs(tmp_path) == []
