"""A Hydra sweeper for grids that skips finished jobs and refines around the best.

Hydra looks for sweepers in the package ``hydra_plugins`` only.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from lecture4.runs import recorded
from lecture4.runs.sweep import jobs
from lecture4.runs.sweep.study import check_validation
from lecture4.training.settings import POSITIVE


class GridSweeper(Sweeper):
    """Runs every combination of the choices, like Hydra's basic sweeper.

    With ``sweep_resume=true``, jobs that finished in the sweep's directory are skipped.

    Args:
        max_batch_size: number of jobs launched at once; None: all.
        params: choices by key, replaced by choices on the command line.
        refine: a key with values > 0. After the grid, up to four more values are tried between the
            best and its neighbours.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
        refine: str | None = None,
    ):
        self.max_batch_size, self.params, self.refine = max_batch_size, params or {}, refine

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Create the launcher; Hydra calls this before ``sweep``."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Any]:
        """Run the grid of ``arguments``, then the refinement.

        Raises:
            ValueError: a value of ``refine`` is not a number > 0, or two jobs have one directory.
        """
        grid = self._grid([*(f"{key}={value}" for key, value in self.params.items()), *arguments])
        self._check(grid)
        recorded.check(grid[0])  # for all: they differ in values alone
        for job in grid if self.refine else ():
            value = jobs.settings_of(job).get(self.refine)
            if not POSITIVE[0](value):
                raise ValueError(
                    f"hydra.sweeper.refine={self.refine} needs {self.refine} > 0 in every job, "
                    f"not {value}"
                )
            val_size = jobs.settings_of(job).get("data.val_size", self.config.data.val_size)
            check_validation(val_size, f"hydra.sweeper.refine={self.refine}")
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        done = self._launch(grid, number=0)
        if self.refine:
            finer = list(self._around_the_best(grid))
            self._check(finer, number=len(done))
            done += self._launch(finer, number=len(done))
        return done

    def _check(self, grid: Sequence[list[str]], number: int = 0) -> None:
        """Compose every job before the first runs, and refuse two in one directory."""
        folder = Path(self.config.hydra.sweep.dir)
        taken = {job.path: job.identity for job in jobs.attempts(folder) if job.score is not None}
        for n, job in enumerate(grid, number):
            cfg = self.hydra_context.config_loader.load_sweep_config(self.config, job)
            with open_dict(cfg):
                cfg.hydra.job.num = cfg.hydra.job.id = n
            path = folder / cfg.hydra.sweep.subdir
            if taken.setdefault(path, jobs.identity(job)) != jobs.identity(job):
                raise ValueError(
                    f"hydra.sweep.subdir gives several jobs the directory {path}, where each would "
                    f"replace the results of the one before; include ${{hydra.job.num}} in it"
                )

    def _grid(self, words: Sequence[str]) -> list[list[str]]:
        """The jobs: every combination of the values in ``words``."""
        choices: dict[str, list[str]] = {}
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        for override in parser.parse_overrides(list(words)):
            key = override.get_key_element()
            if not override.is_sweep_override():
                choices[key] = [f"{key}={override.get_value_element_as_str()}"]
            elif override.is_discrete_sweep():
                choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
            else:
                raise ValueError(f"{override.input_line}: a grid takes a list of values, as in a,b")
        return [list(job) for job in itertools.product(*choices.values())]

    def _launch(self, grid: list[list[str]], number: int) -> list[Any]:
        """Run the unfinished jobs in batches, numbered from ``number``."""
        if self.config.sweep_resume:
            done = jobs.finished(self.config.hydra.sweep.dir)
            grid = [job for job in grid if jobs.identity(job) not in done]
        size = self.max_batch_size or max(len(grid), 1)
        returned: list[Any] = []
        for first in range(0, len(grid), size):
            batch = grid[first : first + size]
            results = self.launcher.launch(batch, initial_job_idx=number + first)
            for result in results:
                _ = result.return_value  # raises the job's error
            returned += results
        return returned

    def _around_the_best(self, grid: Sequence[list[str]]) -> Iterator[list[str]]:
        """For each combination of the other choices, jobs around its best value."""
        loaded = {job.identity: job for job in jobs.load_jobs(self.config.hydra.sweep.dir)}
        ran = [loaded[key] for key in map(jobs.identity, grid) if key in loaded]
        by_others: dict[jobs.Identity, list[jobs.Group]] = {}
        for group in jobs.groups(ran):  # the best first
            others = tuple(p for p in group[0].identity if p[0] not in (self.refine, "seed"))
            by_others.setdefault(others, []).append(group)
        for best, *others in by_others.values():
            tried = [group[0].settings[self.refine] for group in (best, *others)]
            for value in closer(tried[0], sorted(tried)) if all(best.score[:2]) else ():
                for job in best:
                    kept = [w for w in job.overrides if self.refine not in jobs.settings_of([w])]
                    yield [*kept, f"{self.refine}={value}"]


def closer(best: float, values: Sequence[float]) -> list[float]:
    """Up to four values around the best, at 1/4 and 1/2 of the log distance to its neighbours.

    At either end of ``values``, the distance to the one neighbour is used on both sides.
    """
    place = values.index(best)
    down = best / values[place - 1] if place else None
    up = values[place + 1] / best if place + 1 < len(values) else None
    down, up = down or up or 10, up or down or 10
    factors = [down**-0.5, down**-0.25, up**0.25, up**0.5]
    near = dict.fromkeys(float(f"{best * factor:.3g}") for factor in factors)
    return [value for value in near if value not in values]
