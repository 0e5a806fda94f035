import math

import pytest
import torch

from lecture4.lesson.lab import (
    Finding,
    as_good,
    better,
    exact,
    learned,
    paired,
    ratio,
    resolution,
    tally,
    verdict,
)
from lecture4.lesson.lab.finding import STUDENT


def density(t, freedom):
    """Student's t distribution, from its definition."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    return scale / math.sqrt(freedom * math.pi) * (1 + t**2 / freedom) ** (-(freedom + 1) / 2)


@pytest.mark.parametrize(("i", "t"), list(enumerate(STUDENT)))
def test_students_quantiles_hold_95_percent(i, t):
    x = torch.linspace(-t, t, 100_001, dtype=torch.float64)
    assert torch.trapezoid(density(x, i + 2), x).item() == pytest.approx(0.95, abs=2e-4)


def test_the_interval_is_that_of_the_mean():
    finding = Finding("x", "…", [1.0, 2.0, 3.0], at_least=0)
    assert finding.mean == 2
    assert finding.interval == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5))


def test_many_seeds_use_the_last_quantile():
    values = [1.0, 2.0] * 10
    half = STUDENT[-1] * 0.5129891760425771 / 20**0.5
    assert Finding("x", "…", values, at_least=0).interval == pytest.approx((1.5 - half, 1.5 + half))


@pytest.mark.parametrize(
    ("values", "bounds", "expected"),
    [
        ([0.5], {"at_least": 0.5}, "holds"),
        ([0.49], {"at_least": 0.5}, "does not hold"),
        ([0.5], {"at_most": 0.5}, "holds"),
        ([0.51], {"at_most": 0.5}, "does not hold"),
        ([0.5], {"at_least": 0.4, "at_most": 0.6}, "holds"),
        ([0.7], {"at_least": 0.4, "at_most": 0.6}, "does not hold"),
        ([1.0, 1.1, 0.9], {"at_least": 0.5}, "holds"),
        ([1.0, 1.1, 0.9], {"at_least": 1.0}, "undecided"),
        ([1.0, 1.1, 0.9], {"at_least": 1.5}, "does not hold"),
        ([1.0, 1.1, 0.9], {"at_least": 0.99, "at_most": 1.01}, "undecided"),
        ([1.0, 1.1, 0.9], {"at_most": 0.5}, "does not hold"),
        ([1.0, 1.0, 1.0], {"at_most": 1.0}, "holds"),
    ],
)
def test_the_interval_against_the_bounds_gives_the_verdict(values, bounds, expected):
    assert Finding("x", "…", values, **bounds).verdict == expected


@pytest.mark.parametrize("values", [[], [1.0, 2.0], [1.0, math.nan, 2.0], [math.inf]])
def test_values_that_decide_nothing_are_refused(values):
    with pytest.raises(ValueError, match="^speed: "):
        Finding("speed", "…", values, at_least=0)


def test_a_finding_without_a_threshold_is_refused():
    with pytest.raises(ValueError, match="speed: no threshold"):
        Finding("speed", "…", [1.0])


def test_the_worst_finding_decides_a_claim():
    yes, no = Finding("a", "…", [1.0], at_least=0), Finding("b", "…", [1.0], at_least=2)
    open_ = Finding("c", "…", [0.0, 1.0, 2.0], at_least=1)
    assert verdict([yes, yes]) == "holds"
    assert verdict([yes, open_]) == "undecided"
    assert verdict([yes, open_, no]) == "does not hold"


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((15, 2, 1), "15 hold, 2 do not, 1 undecided"),
        ((1, 1, 2), "1 holds, 1 does not, 2 undecided"),
        ((3, 0, 0), "3 hold"),
        ((0, 2, 1), "2 do not hold, 1 undecided"),
        ((0, 1, 0), "1 does not hold"),
    ],
)
def test_verdicts_are_counted_in_words(counts, words):
    kinds = ("holds", "does not hold", "undecided")
    verdicts = [v for v, n in zip(kinds, counts, strict=True) for _ in range(n)]
    assert ", ".join(tally(verdicts).values()) == words


def test_pairs_are_compared_seed_by_seed_in_points():
    assert paired([0.5, 0.75], [0.25, 1.0]) == [25, -25]
    assert paired([0.5, 0.75], 0.25) == [25, 50]
    with pytest.raises(ValueError, match="zip"):
        paired([0.5], [0.25, 1.0])


def test_a_net_that_has_learned_is_above_chance_by_more_than_luck():
    found = learned("the MLP", [0.2, 0.21, 0.22], 0.1, 2000)
    assert found.values == pytest.approx([10, 11, 12])
    assert found.at_least == resolution(2000)
    assert found.verdict == "holds"
    assert "luck on 2,000 test images" in found.why
    assert learned("the MLP", [0.1] * 3, 0.1, 2000).verdict == "does not hold"
    assert learned("the MLP", [0.2] * 3, 0.1, 2000, least=20).at_least == 20


def test_a_better_net_gains_more_than_luck_and_a_point():
    found = better("ReLU", [0.5, 0.52, 0.54], "tanh", [0.4, 0.43, 0.44], 10_000)
    assert found.values == pytest.approx([10, 9, 10])
    assert found.at_least == resolution(10_000) > 1
    assert better("a", [0.5] * 3, "b", [0.4] * 3, 10**6).at_least == 1
    assert better("a", [0.5] * 3, "b", [0.4] * 3, 10**6, least=5).at_least == 5
    assert found.name == "ReLU better than tanh"
    assert found.statement == "test accuracy of ReLU, minus tanh"


@pytest.mark.parametrize(
    ("other", "expected"),
    [([0.41] * 3, "holds"), ([0.45] * 3, "does not hold"), ([0.35] * 3, "does not hold")],
)
def test_nets_are_as_good_within_luck_either_way(other, expected):
    found = as_good("a", [0.4] * 3, "b", other, 10_000)
    assert (found.at_least, found.at_most) == (-resolution(10_000), resolution(10_000))
    assert found.verdict == expected
    assert as_good("a", [0.4] * 3, "b", [0.45] * 3, 10_000, within=6).verdict == "holds"


def test_an_exact_finding_allows_rounding_alone():
    assert exact("same", "…", 1e-16, at_most=1e-12).verdict == "holds"
    assert exact("same", "…", 1e-3, at_most=1e-12).verdict == "does not hold"


def test_a_ratio_is_of_one_value_or_of_every_seed():
    assert ratio("cost", "…", 12.0, at_least=10, why="tenfold").values == [12.0]
    assert ratio("cost", "…", [1.0, 2.0, 3.0], at_most=2).verdict == "undecided"


def test_the_resolution_is_what_equal_models_differ_by():
    right = torch.distributions.Binomial(2000, 0.5).sample((2, 20_000)) / 2000
    apart = 100 * (right[0] - right[1]).abs()
    assert (apart < resolution(2000)).double().mean().item() == pytest.approx(0.95, abs=0.01)
