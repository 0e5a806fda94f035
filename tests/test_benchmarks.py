"""Benchmarks start, and the one that needs no data runs on a few images."""

import json
import runpy
import subprocess
import sys

import pytest
from running import ROOT, clean_environment

BENCHMARKS = {path.stem: path for path in (ROOT / "benchmarks").glob("*.py")}
del BENCHMARKS["rounds"]  # which the others import
FRONTIER = BENCHMARKS.pop("frontier")  # draws what was measured


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_benchmark_finds_what_it_imports(name, monkeypatch, capsys):
    if name == "pipeline":
        pytest.importorskip("torchmetrics")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(BENCHMARKS[name]), run_name="__main__")
    assert "--rounds" in capsys.readouterr().out


@pytest.mark.parametrize("views", [True, False])
def test_the_frontier_names_means_of_runs_that_differ_in_the_seed(
    tmp_path, monkeypatch, capsys, views
):
    for seed, accuracy in enumerate((0.75, 0.25)):
        (tmp_path / f"{seed}" / ".hydra").mkdir(parents=True)
        typed = ["model=mlp", f"seed={seed}", "data.root=/datasets"]
        (tmp_path / f"{seed}" / ".hydra" / "overrides.yaml").write_text(json.dumps(typed))
        results = {"test_accuracy": accuracy, "test_time_accuracy": accuracy if views else None}
        results |= {"train_seconds": 2 + seed, "train_flops": 1e15}
        (tmp_path / f"{seed}" / "results.json").write_text(json.dumps(results))
    figure = tmp_path / "frontier.png"
    words = ["frontier", str(tmp_path / "0"), str(tmp_path / "1"), "--to", str(figure)]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(FRONTIER), run_name="__main__")
    assert figure.stat().st_size > 5_000
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "model=mlp test_accuracy: 0.5 (0.25–0.75), n = 2"
    assert printed[1 + views] == "model=mlp train_seconds: 2.5 (2–3), n = 2"
    assert any("test_time_accuracy" in line for line in printed) == views


@pytest.mark.slow
def test_images_in_a_folder_are_kept_and_their_cache_is_not(tmp_path):
    done = subprocess.run(
        [sys.executable, BENCHMARKS["image_folder"], "--n=300", "--rounds=1", "--folder", tmp_path],
        env=clean_environment(), capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    for name in ("first epoch", "later epochs"):
        assert f"{name}: median " in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["300 images"]
