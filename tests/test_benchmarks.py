"""Benchmarks start, and the one that needs no data runs on a few images."""

import runpy
import subprocess
import sys

import pytest
from running import ROOT, clean_environment

BENCHMARKS = {path.stem: path for path in (ROOT / "benchmarks").glob("*.py")}
del BENCHMARKS["rounds"]  # which the others import


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_benchmark_finds_what_it_imports(name, monkeypatch, capsys):
    if name == "pipeline":
        pytest.importorskip("torchmetrics")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(BENCHMARKS[name]), run_name="__main__")
    assert "--rounds" in capsys.readouterr().out


@pytest.mark.slow
def test_images_in_a_folder_are_kept_and_their_cache_is_not(tmp_path):
    done = subprocess.run(
        [sys.executable, BENCHMARKS["image_folder"], "--n=300", "--rounds=1", "--folder", tmp_path],
        env=clean_environment(), capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    for name in ("first epoch", "later epochs"):
        assert f"{name}: median " in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["300 images"]
