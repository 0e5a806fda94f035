"""Running the program: its composed configuration, its command line, its last weights."""

import os
import subprocess
import sys
from pathlib import Path

import hydra
import torch
from omegaconf import DictConfig

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
SMALL = ["data=shapes", "data.train_size=300", "data.test_size=60", "data.val_size=60"]


def compose(*overrides: str) -> DictConfig:
    """The composed configuration, as the command line would make it."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("train", list(overrides), return_hydra_config=True)


def command(
    *arguments: str,
    cwd: Path = ROOT,
    script: str = "train.py",
    timeout: float = 300,
    **environment: str,
) -> subprocess.CompletedProcess:
    """Run a script as a user would, outside of any terminal."""
    return subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        cwd=cwd,
        env={**clean_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def clean_environment() -> dict[str, str]:
    """The environment without what would change an error's report."""
    return {k: v for k, v in os.environ.items() if k not in ("HYDRA_FULL_ERROR", "CIFAR10_ROOT")}


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """The weights that a run's last epoch left."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def assert_same(a, b) -> None:
    """Nested dictionaries and lists of tensors and plain values, equal bit for bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for pair in zip(a, b, strict=True):
            assert_same(*pair)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b
