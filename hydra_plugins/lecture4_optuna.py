"""A Hydra sweeper that searches with Optuna, in one process or in many.

Hydra looks for sweepers in the package ``hydra_plugins`` only.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper

from hydra_plugins.lecture4_grid import GridSweeper
from lecture4.runs import recorded
from lecture4.runs.sweep import jobs
from lecture4.runs.sweep.study import Study, check_validation

# settings in which the processes of a study may differ
APART = ("data.root", *jobs.APART)


class OptunaSweeper(Sweeper):
    """Asks for trials, runs them and tells how they ended, until the study has ``n_trials``.

    The keys of ``space`` in the configuration are drawn, and those typed as a choice or an
    interval. The same command continues an interrupted study, or joins one that runs. With
    ``sweep_resume=true``, failed trials are replaced by new ones.

    Args:
        n_trials: number of trials in the study, by all processes together.
        n_jobs: number of trials that the launcher gets at once.
    """

    def __init__(self, n_trials: int, n_jobs: int):
        self.n_trials, self.n_jobs = n_trials, n_jobs

    setup = GridSweeper.setup

    def sweep(self, arguments: list[str]) -> list[Any]:
        """Work on the study, beside ``sweep.workers - 1`` processes if there is work for them.

        Raises:
            ValueError: a setting is not accepted.
        """
        config = self.config
        if any(word.startswith("hydra.sweep.subdir") for word in config.hydra.overrides.hydra):
            raise ValueError("hydra.sweep.subdir is not accepted: trial N runs in the directory N")
        check_validation(config.data.val_size, "sweep=optuna")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        words = parser.parse_overrides([*config.space, *arguments])
        last = {word.get_key_element(): word for word in words}
        self.fixed = [word.input_line for word in last.values() if not word.is_sweep_override()]
        space = {key: _distribution(w) for key, w in last.items() if w.is_sweep_override()}
        self.validate_batch_is_legal([self.fixed, *self._choices(space)])
        recorded.check(self.fixed)
        settings = {k: w.input_line.partition("=")[2] for k, w in last.items() if k not in APART}
        folder = Path(config.hydra.sweep.dir)
        self.study = Study(folder, space, settings, config.sweep.pruner, config.seed)
        if config.sweep_resume:
            self.n_trials += self.study.failures()
        if config.sweep.workers > 1:  # before torch is imported
            threads = max(os.cpu_count() // config.sweep.workers, 1)
            os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        trials = self.study.take(self.n_trials, self.n_jobs)
        others = min(config.sweep.workers - 1, self.study.left(self.n_trials)) if trials else 0
        workers = [self._start_worker(folder, n) for n in range(1, others + 1)]
        try:
            done = self._work(trials)
        except BaseException:
            for worker in workers:
                worker.terminate()
            raise
        finally:
            for worker in workers:
                worker.wait()
        # what a worker that was killed left
        return done + self._work(self.study.take(self.n_trials, self.n_jobs))

    def _choices(self, space: Mapping[str, Any]) -> Iterator[list[str]]:
        """A job for every choice, to be composed now, not when it is drawn."""
        for key, distribution in space.items():
            for value in getattr(distribution, "choices", None) or [distribution.low]:
                yield [*self.fixed, f"{key}={value}"]

    def _work(self, trials: dict[int, list[str]]) -> list[Any]:
        """Launch trials, tell and ask for more, until none is left."""
        returned: list[Any] = []
        while trials:
            batch = [
                [*self.fixed, *drawn, f"hydra.sweep.subdir={number}"]
                for number, drawn in trials.items()
            ]
            results = self.launcher.launch(batch, initial_job_idx=min(trials))
            for number, result in zip(trials, results, strict=True):
                _ = result.return_value  # raises the job's error
                self.study.tell(number)
            returned += results
            trials = self.study.take(self.n_trials, self.n_jobs)
        return returned

    def _start_worker(self, folder: Path, number: int) -> subprocess.Popen:
        """Start this command again, to work on the same study; its output goes to a file."""
        words = sys.orig_argv[1:]
        settings = [i for i, word in enumerate(words) if "=" in word and not word.startswith("-")]
        words[settings[-1] + 1 : settings[-1] + 1] = [
            "sweep.workers=1",
            "sweep_resume=false",
            f"hydra.sweeper.n_trials={self.n_trials}",
            f"hydra.sweep.dir={recorded.quoted(os.path.abspath(folder))}",
            "~hydra.callbacks.sweep",  # the table is left to this process
        ]
        with open(folder / f"worker-{number}.log", "a") as log:
            return subprocess.Popen([sys.executable, *words], stdout=log)


def _distribution(word: Override) -> Any:
    """The Optuna distribution of a choice, or of an interval, on a log scale if it is tagged so."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if word.is_discrete_sweep():
        return CategoricalDistribution(list(word.sweep_string_iterator()))
    value = word.value()
    whole = isinstance(value.start, int) and isinstance(value.end, int)
    kind = IntDistribution if whole else FloatDistribution
    return kind(value.start, value.end, log="log" in value.tags)
