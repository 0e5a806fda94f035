"""A sweep's hooks into Hydra: what happens before the first job, and after the last."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from lecture4.runs.sweep.jobs import Job, attempts, finished
from lecture4.runs.sweep.report import conclude
from lecture4.training.processes import check_sweep


class Watch(Callback):
    """Prepares a sweep before its first job, and remembers it for ``summarize``."""

    begun: "tuple[Path, dict[Path, Any]] | None" = None  # its directory, and what was there before

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check and continue a sweep, before Hydra makes a grid or a study of its choices."""
        folder = Path(config.hydra.sweep.dir)
        try:
            check_sweep(config)
            before = attempts(folder)
            if config.sweep_resume and not before:
                raise ValueError(
                    f"sweep_resume=true finds no job in {folder}; name the sweep's directory with "
                    f"hydra.sweep.dir="
                )
            with read_write(config), open_dict(config):
                _continue_numbers(config, before)
                if "study_name" in config.hydra.sweeper:
                    _compose_choices(config)
                    folder.mkdir(parents=True, exist_ok=True)  # for the database
                    _continue_study(config, before)
        except Exception as error:  # Hydra would hide it
            raise SystemExit(1) from error
        Watch.begun = folder, {job.path: job.results for job in before}


@contextmanager
def summarize() -> Iterator[None]:
    """Print a sweep's table at its end, also after an error; exit with code 1 if a job failed."""
    try:
        yield
    except BaseException as error:
        if Watch.begun and attempts(Watch.begun[0]):
            conclude(*Watch.begun)
            if isinstance(error, Exception) and not finished(Watch.begun[0]):
                sys.exit(1)  # Optuna finds no best trial if all failed; the table says so
        raise
    if Watch.begun and conclude(*Watch.begun):
        sys.exit(1)


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


def _compose_choices(config: DictConfig) -> None:
    """Compose every choice of a study now; Optuna would only when it draws the choice."""
    loader = GlobalHydra.instance().config_loader()
    words = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    words += config.hydra.overrides.task
    choices = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(words):
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices[key] = [override.input_line]
        elif override.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            choices[key] = [f"{key}={override.value().start}"]
    first = {key: of_key[0] for key, of_key in choices.items()}
    for key, of_key in choices.items():
        for word in of_key[1:] or of_key:
            loader.load_sweep_config(config, list({**first, key: word}.values()))


def _continue_study(config: DictConfig, before: Sequence[Job]) -> None:
    """Draw new trials, not those that ran; with sweep_resume, only as many as are missing."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sweeper = config.hydra.sweeper
    if sweeper.sampler.get("seed") is not None:
        sweeper.sampler.seed += len(before)
    if config.sweep_resume:
        done = sum(job.status == "completed" for job in before)
        sweeper.n_trials = max(sweeper.n_trials - done, 0)
