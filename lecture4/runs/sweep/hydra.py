"""A sweep's hooks into Hydra: what happens before the first job, and after the last."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from lecture4.runs.sweep.jobs import Job, attempts
from lecture4.runs.sweep.report import conclude
from lecture4.runs.sweep.study import JOURNAL, check_validation, reporter
from lecture4.training.processes import check_sweep, in_sweep
from lecture4.training.settings import check_values


class Watch(Callback):
    """Prepares a sweep before its first job, and remembers it for ``summarize``."""

    begun: "tuple[Path, dict[Path, Any]] | None" = None  # its directory, and what was there before

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check and continue a sweep, before Hydra makes a grid or a study of its choices."""
        folder = Path(config.hydra.sweep.dir)
        try:
            check_values(config, ("sweep", "hydra.sweeper"))
            check_sweep(config)
            before = attempts(folder)
            if config.sweep_resume and not before:
                raise ValueError(
                    f"sweep_resume=true finds no job in {folder}; name the sweep's directory with "
                    f"hydra.sweep.dir="
                )
            with read_write(config), open_dict(config):
                if "n_trials" not in config.hydra.sweeper:  # a study numbers its trials itself
                    _continue_numbers(config, before)
        except Exception as error:  # Hydra would hide it
            raise SystemExit(1) from error
        Watch.begun = folder, _results(before)


@contextmanager
def summarize() -> Iterator[None]:
    """Print a sweep's table at its end, also after an error; exit with code 1 if a job failed."""
    try:
        yield
    except BaseException:
        if Watch.begun and _results(attempts(Watch.begun[0])) != Watch.begun[1]:
            conclude(*Watch.begun)
        raise
    if Watch.begun and conclude(*Watch.begun):
        sys.exit(1)


def join_study(cfg: DictConfig) -> Callable[[int, float], bool] | None:
    """Prepare a trial of a study: let ``cfg`` resume it if it was interrupted.

    Returns:
        The function that reports its epochs; None if this job is not a trial.
    """
    folder = _trial()
    if folder is None:
        return None
    if (folder / "checkpoints" / "last.ckpt").exists():
        cfg.resume = str(folder)
    check_validation(cfg.data.val_size, "sweep=optuna")
    return reporter(folder, cfg.sweep.pruner)


def _results(jobs: Iterable[Job]) -> dict[Path, Any]:
    """The results of each job, by its directory."""
    return {job.path: job.results for job in jobs}


def _trial() -> Path | None:
    """The directory of this job, if it is a trial of a study."""
    folder = Path(HydraConfig.get().runtime.output_dir) if in_sweep() else Path()
    return folder if folder.name.isdigit() and (folder.parent / JOURNAL).exists() else None


def _continue_numbers(config: DictConfig, before: Sequence[Job]) -> None:
    """Name the jobs of the n-th sweep in a directory rn-0, rn-1, …, so that none is overwritten."""
    names = [job.path.name for job in before]
    chosen = [
        word for word in config.hydra.overrides.hydra if word.startswith("hydra.sweep.subdir")
    ]
    if names and not chosen:
        turns = [int(match[1]) for name in names if (match := re.match(r"r(\d+)-", name))]
        name = f"r{max(turns, default=1) + 1}-${{hydra.job.num}}"
        config.hydra.overrides.hydra.append(f"hydra.sweep.subdir={name}")
