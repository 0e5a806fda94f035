"""A published number beside ours, where both answer the same question."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from lecture4.lesson.lab.finding import UNDECIDED, check_values, interval

AGREES, DISAGREES = "agrees", "disagrees"


@dataclass(frozen=True)
class Published:
    """An effect in the literature and here: the same difference, or the same ratio.

    Args:
        question: what both numbers measure, in at most 15 words.
        theirs: the published effect.
        ours: measured effects, one for each seed.
        source: authors, year, and figure or table.
        differs: what differs between their experiment and ours.
        reported: the published numbers from which ``theirs`` follows, if it is not published.
        unit: of both effects.
        none: the value that means no effect: 0 for a difference, 1 for a ratio.

    Raises:
        ValueError: there are no values or two (too few seeds), or a value is not finite.
    """

    question: str
    theirs: float
    ours: Sequence[float]
    source: str
    differs: str
    reported: str = ""
    unit: str = "points"
    none: float = 0.0

    def __post_init__(self):
        check_values(self.question, self.ours)

    @property
    def mean(self) -> float:
        """Mean of ours over the seeds."""
        return statistics.fmean(self.ours)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of ours."""
        return interval(self.ours)

    @property
    def direction(self) -> str:
        """``agrees``: all of our interval is on their side of no effect; ``undecided``: a part."""
        low, high = self.interval
        if low <= self.none <= high:
            return UNDECIDED
        return AGREES if (low > self.none) == (self.theirs > self.none) else DISAGREES
