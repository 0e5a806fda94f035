"""Runs with ``data.val_size=0``: every training example is trained on, the last epoch is tested."""

import csv
import json

import pytest
from running import SMALL, assert_same, call, weights_of
from sweeping import rows_of, sweep_here

from lecture4.runs.predictor import dataset_of, find_checkpoint, load

WITHOUT = ["model=softmax", "optim.lr=0.01", "schedule=constant", "data.val_size=0"]


def results_of(folder) -> dict:
    return json.loads((folder / "results.json").read_text())


def lines_of(folder) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_last_epoch_is_tested(job, capsys):
    metric, folder = job(*WITHOUT, "trainer.max_epochs=2", "data.batch_size=100")
    results = results_of(folder)
    assert metric is results["val_accuracy"] is results["val_loss"] is None
    assert results["train_flops"] == 6 * 3072 * 10 * 2 * 300  # all 300 examples, none held out
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    predictor = load(folder)
    assert find_checkpoint(folder).name == "last.ckpt"
    repeated = predictor.evaluate(dataset_of(predictor))
    assert repeated == {key: results[key] for key in repeated}

    rows = lines_of(folder)
    assert not any(name.startswith("val/") for name in rows[0])
    assert [row["epoch"] for row in rows if row["train/loss"] and row["train/accuracy"]] == [
        "0",
        "1",
    ]
    out = capsys.readouterr().out
    epochs = [line for line in out.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 2
    assert not any("val" in line for line in epochs)
    assert "last epoch" in out
    assert "best" not in out
    assert f"{folder}: checkpoints/last.ckpt, metrics.csv" in out
    assert (folder / "figures" / "curves.png").exists()


def test_the_best_epoch_of_an_earlier_run_is_not_tested(job):
    _, folder = job("model=softmax", "trainer.max_epochs=1")
    assert (folder / "checkpoints" / "best.ckpt").exists()
    job(*WITHOUT, "trainer.max_epochs=1")
    assert find_checkpoint(folder).name == "last.ckpt"


@pytest.mark.slow
def test_it_resumes_and_a_complete_run_is_left_alone(tmp_path):
    for name, epochs in (("whole", 3), ("shorter", 2)):
        words = [*SMALL, *WITHOUT, f"trainer.max_epochs={epochs}"]
        assert call(*words, f"hydra.run.dir={tmp_path / name}").returncode == 0
    done = call(f"resume={tmp_path / 'shorter'}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "is complete: 2 epochs" in done.stdout
    assert call(f"resume={tmp_path / 'shorter'}", "trainer.max_epochs=3").returncode == 0
    assert_same(*(weights_of(tmp_path / name) for name in ("whole", "shorter")))
    assert lines_of(tmp_path / "whole") == lines_of(tmp_path / "shorter")
    whole, resumed = (results_of(tmp_path / name) for name in ("whole", "shorter"))
    for key in whole.keys() - {"train_seconds", "images_per_second"}:
        assert whole[key] == resumed[key]


def test_weights_that_the_last_step_broke_are_no_result(job):
    one_step = ["trainer.max_epochs=1", "data.batch_size=null", "optim.lr=1e38"]
    with pytest.raises(FloatingPointError, match=r"the test loss became (nan|inf); try a smaller"):
        job(*WITHOUT[:1], *WITHOUT[2:], *one_step)


def test_a_grid_is_listed_and_not_ranked(monkeypatch, tmp_path, capsys):
    words = ["model=softmax", "data.val_size=0", "optim.lr=1e-6,1e-2"]
    assert sweep_here(monkeypatch, *words, f"hydra.sweep.dir={tmp_path}") == 0
    rows = rows_of(tmp_path)
    assert [(row["rank"], row["optim.lr"]) for row in rows] == [("", "1e-06"), ("", "0.01")]
    assert all(float(row["train_flops"]) == 6 * 3072 * 10 * 2 * 128 for row in rows)
    assert (tmp_path / "frontier.png").stat().st_size > 5_000
    assert "frontier.png" in capsys.readouterr().out
