import pytest

from lecture4.lesson.lab import Finding, Published


def beside(theirs, ours, none=0.0):
    words = {"reported": "…", "source": "A 2020", "differs": "…"}
    return Published("gain", theirs, ours, **words, none=none)


@pytest.mark.parametrize(
    ("theirs", "ours", "none", "direction"),
    [
        (5.9, [3.0, 4.0, 5.0], 0, "agrees"),
        (5.9, [-3.0, -4.0, -5.0], 0, "disagrees"),
        (-1.95, [-3.0, -4.0, -5.0], 0, "agrees"),
        (-1.95, [3.0, 4.0, 5.0], 0, "disagrees"),
        (5.9, [0.0, 1.0, 2.0], 0, "undecided"),
        (-5.9, [0.0, 1.0, 2.0], 0, "undecided"),
        (5.9, [0.0, 0.0, 0.0], 0, "undecided"),
        (6, [1.3, 1.4, 1.2], 1, "agrees"),
        (6, [0.3, 0.4, 0.2], 1, "disagrees"),
        (6, [1.3, 0.8, 1.2], 1, "undecided"),
        (6, [1.5], 1, "agrees"),
        (0.5, [1.5], 1, "disagrees"),
    ],
)
def test_the_interval_against_no_effect_gives_the_direction(theirs, ours, none, direction):
    assert beside(theirs, ours, none).direction == direction


def test_mean_and_interval_are_those_of_a_finding():
    number, finding = beside(1, [1.0, 2.0, 4.0]), Finding("x", "…", [1.0, 2.0, 4.0], at_least=0)
    assert (number.mean, number.interval) == (finding.mean, finding.interval)


@pytest.mark.parametrize("ours", [[], [1.0, 2.0], [1.0, float("nan"), 2.0]])
def test_values_that_decide_nothing_are_refused(ours):
    with pytest.raises(ValueError, match="^gain: "):
        beside(1, ours)
