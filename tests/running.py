"""Running the program: its composed configuration, its command line, its last weights.

``call`` runs a command line in the tests' own process; ``command`` starts Python for it, as a user
does, which takes 4 to 8 seconds of CPU time. Use it where the process itself is what is tested:
signals, exits, launchers, pipes, imports.
"""

import contextlib
import importlib
import io
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
SMALL = ["data=shapes", "data.train_size=300", "data.test_size=60", "data.val_size=60"]


def compose(*overrides: str) -> DictConfig:
    """The composed configuration, as the command line would make it."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("train", list(overrides), return_hydra_config=True)


def call(
    *arguments: str, cwd: Path | None = None, script: str = "train.py", **environment: str
) -> subprocess.CompletedProcess:
    """What ``command`` gives, from the script's main function in this process, in a new folder."""
    from lecture4.runs.sweep.hydra import Watch

    main = importlib.import_module(f"lecture4.commands.{Path(script).stem}").main
    outputs = [io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2)]
    code, handlers = 0, logging.root.handlers[:]
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, clean_environment() | environment, clear=True),
        mock.patch.object(sys, "argv", [script, *arguments]),
        mock.patch.object(Watch, "begun", None),
        contextlib.chdir(cwd or folder),
        contextlib.redirect_stdout(outputs[0]),
        contextlib.redirect_stderr(outputs[1]),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        finally:
            logging.root.handlers[:] = handlers  # Hydra's write to this stdout
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
    for output in outputs:
        output.flush()
    out, err = (output.buffer.getvalue().decode(errors="surrogateescape") for output in outputs)
    return subprocess.CompletedProcess([script, *arguments], code, out, err)


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
    """The environment without what would change an error's report or the place of CIFAR-10."""
    ours = ("HYDRA_FULL_ERROR", "LECTURE4_FULL_ERROR", "CIFAR10_ROOT")
    return {k: v for k, v in os.environ.items() if k not in ours}


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
