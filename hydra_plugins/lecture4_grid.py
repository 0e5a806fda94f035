"""Hydra's sweep over a grid, that can leave out what is done, and look closer around the best.

Hydra takes sweepers from the package ``hydra_plugins`` alone.
"""

from collections.abc import Iterator, Sequence

from hydra.core.override_parser.types import Override

from lecture4.runs import sweep
from lecture4.runs.sweep import settings_of
from lecture4.support.private import basic_sweeper
from lecture4.training.settings import POSITIVE


class GridSweeper(basic_sweeper()):
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
        """The jobs, in batches.

        Raises:
            ValueError: a value of ``refine`` is no number > 0.
        """
        self.coarse = super().split_arguments(overrides, None)[0]
        self.validate_batch_is_legal(self.coarse)
        for job in self.coarse if self.refine else ():
            value = settings_of(job).get(self.refine)
            if not POSITIVE[0](value):
                raise ValueError(
                    f"hydra.sweeper.refine={self.refine} needs values of {self.refine} that are "
                    f"numbers > 0, not {value}"
                )
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

    def _around_the_best(self) -> Iterator[list[str]]:
        """For each configuration of the other choices, the jobs closer to its best value."""
        done = {job.identity: job for job in sweep.jobs(self.config.hydra.sweep.dir)}
        ran = [done[key] for key in map(sweep.identity, self.coarse) if key in done]
        by_others: dict[sweep.Identity, list[sweep.Group]] = {}
        for group in sweep.groups(ran):  # the best first
            others = tuple(p for p in group[0].identity if p[0] not in (self.refine, "seed"))
            by_others.setdefault(others, []).append(group)
        for best, *others in by_others.values():
            tried = [group[0].settings[self.refine] for group in (best, *others)]
            for value in closer(tried[0], sorted(tried)) if best.score[0] else ():
                for job in best:
                    kept = [
                        word for word in job.overrides if self.refine not in settings_of([word])
                    ]
                    yield [*kept, f"{self.refine}={value}"]


def closer(best: float, values: Sequence[float]) -> list[float]:
    """Up to four values around the best, a quarter and half of the way to its neighbours, in log.

    Beyond either end of ``values``, as far as to the neighbour on the other side.
    """
    place = values.index(best)
    down = best / values[place - 1] if place else None
    up = values[place + 1] / best if place + 1 < len(values) else None
    down, up = down or up or 10, up or down or 10
    factors = [down**-0.5, down**-0.25, up**0.25, up**0.5]
    near = dict.fromkeys(float(f"{best * factor:.3g}") for factor in factors)
    return [value for value in near if value not in values]
