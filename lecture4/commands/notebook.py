"""What Hydra does around a job of the command line, for a call from a notebook."""

import copy
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from lecture4.commands.errors import silence_libraries
from lecture4.support.conf import CONF


@contextmanager
def as_job(cfg: DictConfig, folder: str | os.PathLike | None) -> Iterator[tuple[DictConfig, Path]]:
    """Set what interpolations such as ``${hydra:runtime.output_dir}`` refer to.

    Args:
        cfg: from ``hydra.compose``, with Hydra's own settings or without; it is not changed.
        folder: of the run; None: ``hydra.run.dir``.

    Yields:
        The configuration of the job, and the run's directory.
    """
    setup_globals()
    whole, before = _with_hydra(cfg), HydraConfig.instance().cfg
    folder = Path(whole.hydra.run.dir if folder is None else folder).expanduser().absolute()
    with read_write(whole.hydra), open_dict(whole.hydra):
        whole.hydra.mode = RunMode.RUN
        whole.hydra.runtime.output_dir, whole.hydra.runtime.cwd = str(folder), os.getcwd()
    task = copy.deepcopy(whole)
    with read_write(task), open_dict(task):
        del task["hydra"]
    HydraConfig.instance().set_config(whole)
    try:
        with warnings.catch_warnings(), _interruptible():
            silence_libraries()
            yield task, folder
    finally:
        HydraConfig.instance().cfg = before


def _with_hydra(cfg: DictConfig) -> DictConfig:
    """A copy of ``cfg`` with Hydra's settings."""
    whole = copy.deepcopy(cfg)
    if "hydra" not in whole:
        with read_write(whole), open_dict(whole):
            whole.hydra = OmegaConf.structured(HydraConf)
            whole.hydra.run.dir = OmegaConf.load(CONF / "train.yaml").hydra.run.dir
            whole.hydra.job.override_dirname = ""
    OmegaConf.clear_cache(whole)  # or ${now:} would give the directory of an earlier run
    return whole


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt where Lightning exits, and restore the handler that it disables."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
