"""Hydra's sweep over a grid, that can leave out what is done, and look closer around the best.

Hydra takes sweepers from the package ``hydra_plugins`` alone.
"""

import statistics
from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from lecture4 import sweep


class GridSweeper(BasicSweeper):
    """Every combination of the choices, as Hydra's own sweeper runs them.

    With ``sweep_resume=true``, jobs that are finished in the sweep's directory are left out.

    Args:
        max_batch_size: how many jobs a launcher gets at once; None: all.
        params: choices by key; those that are typed take their place.
        refine: a key whose values are numbers > 0. When the grid is done, four more values are
            tried around the best, closer to it than its neighbours: coarse to fine.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
        refine: str | None = None,
    ):
        super().__init__(max_batch_size, params)
        self.refine = refine
        self.coarse: list[list[str]] = []

    def split_arguments(
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """The jobs, in batches."""
        self.coarse = super().split_arguments(overrides, None)[0]
        self.validate_batch_is_legal(self.coarse)
        return self._batches(self.coarse)

    def is_done(self) -> bool:
        """No job is left; asked after each batch."""
        if super().is_done() and self.refine:
            fine = list(self._around_the_best())
            self.refine = None
            self.overrides = [*self.overrides, *self._batches(fine)]
        return super().is_done()

    def _batches(self, jobs: Sequence[list[str]]) -> list[list[list[str]]]:
        folder = self.config.hydra.sweep.dir
        done = sweep.finished(folder) if self.config.sweep_resume else set()
        left = [job for job in jobs if sweep.identity(job) not in done]
        return list(self.split_overrides_to_chunks(left, self.max_batch_size)) if left else []

    def _around_the_best(self):
        """For each configuration of the other choices, the jobs closer to its best value."""
        scores = {job.identity: job.score for job in sweep.jobs(self.config.hydra.sweep.dir)}
        tried: dict[tuple, dict[float, list]] = {}  # other choices -> value -> jobs
        for job in self.coarse:
            others = [word for word in job if not word.startswith(f"{self.refine}=")]
            key = sweep.identity(word for word in others if not word.startswith("seed="))
            value = float(sweep.settings_of(job)[self.refine])
            tried.setdefault(key, {}).setdefault(value, []).append(
                (others, scores.get(sweep.identity(job)))
            )
        for of_value in tried.values():
            means = {
                value: statistics.fmean(score for _, score in ran)
                for value, ran in of_value.items()
                if all(score is not None for _, score in ran)
            }
            if means:
                best = max(means, key=means.__getitem__)
                for value in closer(best, sorted(of_value)):
                    yield from ([*others, f"{self.refine}={value}"] for others, _ in of_value[best])


def closer(best: float, values: Sequence[float]) -> list[str]:
    """Four values around the best, at a quarter and a half of the way to its neighbours, in log.

    Beyond either end of ``values``, as far as to the neighbour on the other side.
    """
    place = values.index(best)
    down = best / values[place - 1] if place else None
    up = values[place + 1] / best if place + 1 < len(values) else None
    down, up = down or up or 10, up or down or 10
    factors = [down**-0.5, down**-0.25, up**0.25, up**0.5]
    return [f"{best * factor:.2g}" for factor in factors]
