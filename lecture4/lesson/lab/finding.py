"""What a claim is: a sentence of the lecture, an experiment, and a verdict with its threshold."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lecture4.lesson.lab.drawing import Item
from lecture4.lesson.lab.trainings import Lab

VERDICTS = HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"

# t such that Student's distribution of n − 1 degrees of freedom has 95 % within ±t, for n = 3, 4, …
# Source: any table of it, such as NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
STUDENT = (4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True)
class Finding:
    """One comparison of what was measured with a threshold; all of a claim's decide it.

    Args:
        statement: what is compared, as a sentence that the bounds complete or decide.
        values: one for each seed, or one alone where chance plays no part.
        at_least: the statement holds from this value on …
        at_most: … and up to this one.
        unit: of values and bounds, such as ``%`` or ``nats``.

    Raises:
        ValueError: two values, which are too few seeds; no bound; or a value that is no number.
    """

    statement: str
    values: Sequence[float]
    at_least: float = -math.inf
    at_most: float = math.inf
    unit: str = ""

    def __post_init__(self):
        if len(self.values) in (0, 2):
            raise ValueError(f"{self.statement}: {len(self.values)} values; use 1, or 3 and more")
        if math.isinf(self.at_least) and math.isinf(self.at_most):
            raise ValueError(f"{self.statement}: no threshold is given")
        if not all(map(math.isfinite, self.values)):
            raise ValueError(f"{self.statement}: {self.values} are not all numbers")

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the mean over seeds, mean ± t·s/√n; a single value itself."""
        n = len(self.values)
        if n == 1:
            return self.mean, self.mean
        t = STUDENT[min(n - 3, len(STUDENT) - 1)]
        half = t * statistics.stdev(self.values) / math.sqrt(n)
        return self.mean - half, self.mean + half

    @property
    def verdict(self) -> str:
        """``holds``: the interval lies within the bounds. ``does not hold``: outside of them."""
        low, high = self.interval
        if self.at_least <= low and high <= self.at_most:
            return HOLDS
        return FAILS if high < self.at_least or low > self.at_most else UNDECIDED


def paired(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Differences of accuracies (fractions), seed by seed, in points (hundredths)."""
    return [100 * (a - b) for a, b in zip(first, second, strict=True)]


def resolution(n: int) -> float:
    """Points by which two accuracies of about ½, on n images each, differ by luck: 1.96 √(2·¼/n).

    Below it (95 %) another draw of the test images might turn a difference round.
    """
    return 100 * 1.96 * math.sqrt(2 * 0.25 / n)


def verdict(findings: Sequence[Finding]) -> str:
    """That of a claim: one finding that does not hold is enough, then one that is undecided."""
    verdicts = [finding.verdict for finding in findings]
    return next((v for v in (FAILS, UNDECIDED) if v in verdicts), HOLDS)


@dataclass(frozen=True)
class Claim:
    """A sentence of the lecture, and the experiment that tests it.

    Args:
        name: on the command line, ``claims=[name]``.
        title: of its section on the page.
        quote: the lecture's own words.
        text: what the experiment does, in a few sentences.
        formulas: of the section, in TeX.
        code: functions and classes that hold the section's formulas, for links by file and line.
        measure: does the experiment; returns plain values (what JSON can hold), every number that
            the page shows among them.
        judge: measurements -> findings.
        draw: measurements -> what the page shows.
    """

    name: str
    title: str
    quote: str
    text: str
    formulas: Sequence[str]
    code: Sequence[Any]
    measure: Callable[[Lab], dict]
    judge: Callable[[dict], list[Finding]]
    draw: Callable[[dict], list[Item]]
