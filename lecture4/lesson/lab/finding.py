"""Findings: measured values against a threshold, and the verdict of a claim."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

VERDICTS = HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"

# t such that Student's distribution of n − 1 degrees of freedom has 95 % within ±t, for n = 3, 4, …
# Source: any table of it, such as NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
STUDENT = (4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True)
class Finding:
    """Compare measured values with a threshold.

    Args:
        name: short and unique within its claim.
        statement: what was measured, in at most 15 words.
        values: one for each seed, or a single one where chance plays no part.
        at_least: lower bound of the values for which the finding holds.
        at_most: upper bound.
        why: the reason for the threshold.
        unit: of values and bounds, such as ``%`` or ``nats``.
        definition: exactly how the values are computed, where the statement leaves it open.

    Raises:
        ValueError: there are no values or two (too few seeds), no bound, or a value is not finite.
    """

    name: str
    statement: str
    values: Sequence[float]
    at_least: float = -math.inf
    at_most: float = math.inf
    why: str = ""
    unit: str = ""
    definition: str = ""

    def __post_init__(self):
        check_values(self.name, self.values)
        if math.isinf(self.at_least) and math.isinf(self.at_most):
            raise ValueError(f"{self.name}: no threshold is given")

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the mean over seeds."""
        return interval(self.values)

    @property
    def verdict(self) -> str:
        """``holds``: the interval is within the bounds; ``does not hold``: it is outside."""
        low, high = self.interval
        if self.at_least <= low and high <= self.at_most:
            return HOLDS
        return FAILS if high < self.at_least or low > self.at_most else UNDECIDED


def check_values(name: str, values: Sequence[float]) -> None:
    """Raise ValueError if there are no values or two (too few seeds), or one is not finite."""
    if len(values) in (0, 2):
        raise ValueError(f"{name}: {len(values)} values; use 1, or 3 and more")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"{name}: {values} are not all finite")


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % confidence interval of the mean, mean ± t·s/√n; of one value, itself."""
    n, mean = len(values), statistics.fmean(values)
    if n == 1:
        return mean, mean
    half = STUDENT[min(n - 3, len(STUDENT) - 1)] * statistics.stdev(values) / math.sqrt(n)
    return mean - half, mean + half


def paired(first: Sequence[float], second: Sequence[float] | float) -> list[float]:
    """Differences of accuracies (fractions), seed by seed, in points (hundredths).

    The second may be one number for all seeds, such as the accuracy of chance.
    """
    second = second if isinstance(second, Sequence) else [second] * len(first)
    return [100 * (a - b) for a, b in zip(first, second, strict=True)]


def exact(name: str, statement: str, error: float, at_most: float, **words: str) -> Finding:
    """Two ways to compute the same: ``error`` is the largest difference, rounding the only reason.

    Args:
        name: of the finding.
        statement: of the finding.
        error: measured once.
        at_most: the largest error that rounding explains.
        words: ``unit`` and ``definition`` of the finding.
    """
    return Finding(name, statement, [error], at_most=at_most, why="rounding alone", **words)


def ratio(name: str, statement: str, values: float | Sequence[float], **bounds: Any) -> Finding:
    """One quantity over another, a single value or one for each seed.

    Args:
        name: of the finding.
        statement: of the finding.
        values: the ratio.
        bounds: ``at_least``, ``at_most``, ``why`` and ``definition`` of the finding.
    """
    return Finding(name, statement, [values] if isinstance(values, float) else values, **bounds)


def learned(
    whose: str, accuracy: Sequence[float], chance: float, tested: int, least: float = 0.0
) -> Finding:
    """Has a net learned anything? Where it has not, a comparison with it would mean nothing.

    Args:
        whose: accuracy it is.
        accuracy: on the test set, for each seed.
        chance: accuracy of guessing.
        tested: number of test images.
        least: points that are required even if fewer are more than luck.
    """
    return Finding(
        f"{whose} learned",
        f"test accuracy of {whose}, minus guessing",
        paired(accuracy, chance),
        at_least=max(least, resolution(tested)),
        why=f"more than luck on {tested:,} test images; at chance there is nothing to compare",
        unit="points",
    )


def better(
    whose: str,
    accuracy: Sequence[float],
    than: str,
    other: Sequence[float],
    tested: int,
    least: float = 1.0,
) -> Finding:
    """One net against another, seed by seed, by more than luck and enough to matter.

    Args:
        whose: net should be better.
        accuracy: of that net on the test set, for each seed.
        than: the other net.
        other: its accuracy.
        tested: number of test images.
        least: points that matter.
    """
    return Finding(
        f"{whose} better than {than}",
        f"test accuracy of {whose}, minus {than}",
        paired(accuracy, other),
        at_least=max(least, resolution(tested)),
        why=f"more than luck on {tested:,} test images, and enough to be worth the choice",
        unit="points",
    )


def as_good(
    whose: str,
    accuracy: Sequence[float],
    than: str,
    other: Sequence[float],
    tested: int,
    within: float = 1.0,
) -> Finding:
    """Two nets alike, seed by seed: they differ by no more than luck, or than what matters.

    Arguments as in ``better``; ``within``: points that do not matter.
    """
    bound = max(within, resolution(tested))
    return Finding(
        f"{whose} as good as {than}",
        f"test accuracy of {whose}, minus {than}",
        paired(accuracy, other),
        at_least=-bound,
        at_most=bound,
        why=f"less may be luck on {tested:,} test images, or does not matter",
        unit="points",
    )


def resolution(n: int) -> float:
    """Points by which two accuracies of about ½, on n images each, differ by luck: 1.96 √(2·¼/n).

    A smaller difference might change its sign with another draw of the test images (95 %).
    """
    return 100 * 1.96 * math.sqrt(2 * 0.25 / n)


def verdict(findings: Iterable[Finding]) -> str:
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
