"""A claim: lines of the lecture, an experiment, and findings whose thresholds give a verdict."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lecture4.lesson.lab.items import Item
from lecture4.lesson.lab.trainings import Lab

VERDICTS = HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"

# t such that Student's distribution of n − 1 degrees of freedom has 95 % within ±t, for n = 3, 4, …
# Source: any table of it, such as NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
STUDENT = (4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True)
class Finding:
    """A comparison of measured values with a threshold.

    Args:
        statement: what is measured, and why the threshold is what it is.
        values: one for each seed, or a single one where chance plays no part.
        at_least: lower bound of the values for which the finding holds.
        at_most: upper bound.
        unit: of values and bounds, such as ``%`` or ``nats``.

    Raises:
        ValueError: there are no values or two (too few seeds), no bound, or a value is not finite.
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
            raise ValueError(f"{self.statement}: {self.values} are not all finite")

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the mean over seeds, mean ± t·s/√n; of one value, itself."""
        n = len(self.values)
        if n == 1:
            return self.mean, self.mean
        t = STUDENT[min(n - 3, len(STUDENT) - 1)]
        half = t * statistics.stdev(self.values) / math.sqrt(n)
        return self.mean - half, self.mean + half

    @property
    def verdict(self) -> str:
        """``holds``: the interval is within the bounds; ``does not hold``: it is outside."""
        low, high = self.interval
        if self.at_least <= low and high <= self.at_most:
            return HOLDS
        return FAILS if high < self.at_least or low > self.at_most else UNDECIDED


def paired(first: Sequence[float], second: Sequence[float] | float) -> list[float]:
    """Differences of accuracies (fractions), seed by seed, in points (hundredths).

    The second may be one number for all seeds, such as the accuracy of chance.
    """
    second = second if isinstance(second, Sequence) else [second] * len(first)
    return [100 * (a - b) for a, b in zip(first, second, strict=True)]


def above_chance(
    whose: str, accuracy: Sequence[float], chance: float, tested: int, least: float = 0.0
) -> Finding:
    """Has a net learned anything? Where it has not, a comparison with it would mean nothing.

    Args:
        whose: accuracy it is, for the statement.
        accuracy: on the test set, for each seed.
        chance: accuracy of guessing.
        tested: number of test images.
        least: points that are required even if fewer are more than luck.
    """
    luck = resolution(tested)
    return Finding(
        f"test accuracy {whose} minus chance ({luck:.2g} points: more than luck on {tested:,} test "
        "images; at chance there would be nothing to compare)",
        paired(accuracy, chance),
        at_least=max(least, luck),
        unit="points",
    )


def resolution(n: int) -> float:
    """Points by which two accuracies of about ½, on n images each, differ by luck: 1.96 √(2·¼/n).

    A smaller difference might change its sign with another draw of the test images (95 %).
    """
    return 100 * 1.96 * math.sqrt(2 * 0.25 / n)


def verdict(findings: Sequence[Finding]) -> str:
    """The verdict of a claim: its worst finding decides."""
    verdicts = [finding.verdict for finding in findings]
    return next((v for v in (FAILS, UNDECIDED) if v in verdicts), HOLDS)


def tally(verdicts: Sequence[str]) -> dict[str, str]:
    """How many claims got each verdict, in words: {"holds": "15 hold", "undecided": "1 undecided"}.

    >>> ", ".join(tally(["holds", "does not hold"]).values())
    '1 holds, 1 does not'
    """
    counts = {v: verdicts.count(v) for v in VERDICTS if v in verdicts}
    one, several = {HOLDS: "holds", FAILS: "does not"}, {HOLDS: "hold", FAILS: "do not"}
    words = {v: f"{n} {(one if n == 1 else several).get(v, v)}" for v, n in counts.items()}
    if FAILS in words and HOLDS not in words:  # "2 do not" needs a verb before it
        words[FAILS] += " hold"
    return words


@dataclass(frozen=True)
class Claim:
    """Lines of the lecture, and the experiment that tests them.

    Args:
        name: on the command line, ``claims=[name]``, and in the name of its file.
        title: of its section on the page.
        quote: lines of the lecture, each whole and as it stands there, ``$$…$$`` included.
        text: what the experiment does, in a few sentences.
        formulas: of the section, in TeX.
        code: functions and classes that implement the formulas; the page shows their source.
        measure: runs the experiment; returns plain values that JSON can hold, among them every
            number that the page shows.
        judge: measurements -> findings.
        draw: measurements -> what the page shows.
    """

    name: str
    title: str
    quote: Sequence[str]
    text: str
    formulas: Sequence[str]
    code: Sequence[Any]
    measure: Callable[[Lab], dict]
    judge: Callable[[dict], list[Finding]]
    draw: Callable[[dict], list[Item]]
