"""The table of a sweep, as text, CSV and Markdown."""

import csv
import shlex

from sweeping import write_job

from lecture4.runs.sweep import jobs, report


def test_ranked_by_validation_never_by_test(tmp_path):
    write_job(tmp_path, "0", ["optim=sgd"], val_accuracy=0.5, test_accuracy=0.9)
    write_job(tmp_path, "1", ["optim=adam"], val_accuracy=0.6, test_accuracy=0.1)
    write_job(tmp_path, "2", ["optim=adamw"])
    ran = jobs.load_jobs(tmp_path)
    assert [row["path"] for row in report.table(ran, tmp_path)] == ["1", "0", "2"]
    assert [row["status"] for row in report.table(ran, tmp_path)] == [
        "completed",
        "completed",
        "unfinished",
    ]
    lines = list(csv.DictReader(report.as_csv(ran).splitlines()))
    assert [line["optim"] for line in lines] == ["adam", "sgd", "adamw"]
    assert [line["rank"] for line in lines] == ["1", "2", ""]


def test_the_command_that_runs_the_rest_can_be_pasted(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "it's [a] $HOME"
    write_job(folder, "0", ["optim.lr=0.1"], status="failed", reason="diverged")
    typed = ["train.py", "-m", "optim.lr=0.1,1", "hydra.sweep.dir=x", "model.hidden=[1, 2]"]
    monkeypatch.setattr("sys.argv", typed)
    assert report.conclude(folder, {})
    command = capsys.readouterr().out.splitlines()[-1].removesuffix(" runs the rest")
    assert shlex.split(command) == [
        *("python", "train.py", "-m", "optim.lr=0.1,1", "model.hidden=[1, 2]"),
        f'hydra.sweep.dir="{folder}"',
        "sweep_resume=true",
    ]


def test_seeds_of_one_configuration_are_one_row(tmp_path):
    for seed, accuracy in enumerate((0.50, 0.52, 0.54)):
        overrides = [f"seed={seed}", "optim.lr=0.1"]
        write_job(tmp_path, str(seed), overrides, val_accuracy=accuracy, test_accuracy=0.5)
    write_job(tmp_path, "3", ["seed=0", "optim.lr=0.2"], val_accuracy=0.51, test_accuracy=0.5)
    best, second = report.table(jobs.load_jobs(tmp_path), tmp_path)
    assert best["overrides"] == "optim.lr=0.1"
    assert best["val accuracy"] == "52.00% ± 2.00%"
    assert (best["n"], best["path"]) == ("3", "0 1 2")
    assert (second["val accuracy"], second["n"]) == ("51.00%", "1")


def test_a_configuration_that_failed_for_some_seeds_is_not_ranked_by_the_others(tmp_path):
    write_job(tmp_path, "0", ["optim.lr=1", "seed=0"], val_accuracy=0.9, test_accuracy=0.9)
    write_job(tmp_path, "1", ["optim.lr=1", "seed=1"], status="failed", reason="diverged")
    for seed in (0, 1):
        overrides = ["optim.lr=0.1", f"seed={seed}"]
        write_job(tmp_path, f"{seed + 2}", overrides, val_accuracy=0.8, test_accuracy=0.8)
    first, second = report.table(jobs.load_jobs(tmp_path), tmp_path)
    assert (first["overrides"], first["n"]) == ("optim.lr=0.1", "2")
    assert second["status"] == "completed, failed"


def test_keys_are_the_same_with_a_plus_and_only_typed_keys_are_shown(tmp_path):
    write_job(
        tmp_path, "0", ["++seed=0", "+sweep_resume=true"], val_accuracy=0.5, test_accuracy=0.5
    )
    write_job(tmp_path, "1", ["seed=1"], val_accuracy=0.5, test_accuracy=0.5)
    write_job(tmp_path, "2", ["optim.lr=0.1"], val_accuracy=0.4, test_accuracy=0.5)
    rows = report.table(jobs.load_jobs(tmp_path), tmp_path)
    assert [(row["overrides"], row["n"]) for row in rows] == [("", "2"), ("optim.lr=0.1", "1")]


def test_markdown_keeps_its_columns(tmp_path):
    write_job(tmp_path, "0", ["data.root=a|b"], val_accuracy=0.5, test_accuracy=0.5)
    write_job(tmp_path, "1", ["data.root=c"], val_accuracy=0.4, test_accuracy=0.5)
    lines = report.as_markdown(report.table(jobs.load_jobs(tmp_path), tmp_path)).splitlines()
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1


def test_without_validation_nothing_is_ranked_and_the_order_is_kept(tmp_path):
    for n, accuracy in enumerate((0.3, 0.9, 0.6)):
        results = {"val_accuracy": None, "test_accuracy": accuracy, "train_flops": 10 + n}
        views = {"test_time": "crops", "test_time_accuracy": accuracy + 0.01}
        write_job(tmp_path, str(n), [f"optim.lr={n + 1}"], **results, **views)
    write_job(tmp_path, "3", ["optim.lr=4"], status="failed", reason="diverged")
    ran = jobs.load_jobs(tmp_path)
    rows = report.table(ran, tmp_path)
    assert [(row["path"], row["rank"], row["val accuracy"]) for row in rows] == [
        (path, "", "") for path in "0123"
    ]
    lines = list(csv.DictReader(report.as_csv(ran).splitlines()))
    assert [line["rank"] for line in lines] == [""] * 4
    assert [line["test_time_accuracy"] for line in lines] == ["0.31", "0.91", "0.61", ""]
    assert [line["train_flops"] for line in lines] == ["10", "11", "12", ""]
    assert report.conclude(tmp_path, {}) is True
    assert {path.name for path in tmp_path.glob("*.png")} == {"sweep.png", "frontier.png"}


def test_with_and_without_validation_the_first_are_ranked(tmp_path):
    write_job(tmp_path, "0", ["data.val_size=0"], val_accuracy=None, test_accuracy=0.9)
    write_job(tmp_path, "1", ["data.val_size=9", "seed=0"], val_accuracy=0.5, test_accuracy=0.5)
    write_job(tmp_path, "2", ["data.val_size=9", "seed=1"], status="failed", reason="diverged")
    rows = report.table(jobs.load_jobs(tmp_path), tmp_path)
    assert [(row["path"], row["rank"]) for row in rows] == [("1 2", "1"), ("0", "")]


def test_a_file_that_cannot_be_written_leaves_the_table_and_the_others(tmp_path, capsys):
    write_job(tmp_path, "0", ["seed=0"], val_accuracy=0.5, test_accuracy=0.5)
    (tmp_path / "sweep.csv").mkdir()
    assert report.conclude(tmp_path, {}) is False
    told = capsys.readouterr()
    assert told.err == f"{tmp_path}: sweep.csv could not be written: Is a directory\n"
    assert "50.00%" in told.out
    assert told.out.splitlines()[-1] == f"{tmp_path}: sweep.md, sweep.png"
    assert (tmp_path / "sweep.png").stat().st_size > 5_000


def test_the_table_is_printed_before_anything_is_written(tmp_path, capsys, monkeypatch):
    write_job(tmp_path, "0", ["seed=0"], val_accuracy=0.5, test_accuracy=0.5)
    seen = []

    def write(path, content):
        seen.append(capsys.readouterr().out)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write_atomically", write)
    report.conclude(tmp_path, {})
    assert "50.00%" in seen[0]
