"""Fixtures that several tests use."""

import gc
import os
import random
from pathlib import Path
from unittest import mock

# before torch is imported: each process that runs tests, or that a test starts, keeps to a core
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import matplotlib.font_manager  # noqa: F401, it builds its cache once, and says so where that is slow
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from running import SMALL, compose

gc.set_threshold(10_000, 20, 50)  # each full collection takes 0.4 s with Lightning and matplotlib

# the same examples in each run, also on a busy machine
hypothesis.settings.register_profile(
    "tests",
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _whichever_tests_ran_before():
    """Begin each test with the same environment, random numbers and kernels."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(False)
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Decoded images of tests are not kept in the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTURE4_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def written(tmp_path):
    """Write a student's file: ``written("def relu(x): …")`` -> its path."""

    def write(text: str, name: str = "mine.py") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.fixture
def job(tmp_path):
    """Run train.py's main function in this process: ``job("model=mlp")`` -> (metric, folder)."""
    from hydra.core.hydra_config import HydraConfig

    from lecture4.commands import train

    def run(*overrides: str, folder: Path = tmp_path / "run", data: list = SMALL):
        folder.mkdir(parents=True, exist_ok=True)
        cfg = compose(*data, "trainer.accelerator=cpu", *overrides, f"hydra.run.dir={folder}")
        OmegaConf.set_readonly(cfg.hydra, False)
        cfg.hydra.runtime.output_dir = str(folder)
        HydraConfig.instance().set_config(cfg)
        del cfg.hydra  # Hydra, too, keeps it from the job
        return train.run(cfg, folder).get("val_accuracy"), folder

    yield run
    HydraConfig.instance().cfg = None
