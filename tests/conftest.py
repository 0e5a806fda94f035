"""Fixtures that several tests use."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from running import SMALL, compose


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Decoded images of tests are not kept in the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTURE4_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def job(tmp_path):
    """Run train.py's main function in this process: ``job("model=mlp")`` -> (metric, folder)."""
    from hydra.core.hydra_config import HydraConfig

    from lecture4.commands.train import train

    def run(*overrides: str, folder: Path = tmp_path / "run", data: list = SMALL):
        folder.mkdir(parents=True, exist_ok=True)
        cfg = compose(*data, "trainer.accelerator=cpu", *overrides, f"hydra.run.dir={folder}")
        OmegaConf.set_readonly(cfg.hydra, False)
        cfg.hydra.runtime.output_dir = str(folder)
        HydraConfig.instance().set_config(cfg)
        del cfg.hydra  # Hydra, too, keeps it from the job
        return train(cfg), folder

    yield run
    HydraConfig.instance().cfg = None
