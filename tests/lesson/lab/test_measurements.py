from dataclasses import dataclass

import pytest

from lecture4.lesson.lab.comparison import Comparison, Variant
from lecture4.lesson.lab.measurements import from_plain, to_plain


@dataclass
class Inner:
    values: list[float]


@dataclass
class Measured:
    inner: dict[str, Inner]
    pair: tuple[str, float]
    missing: Inner | None
    compared: Comparison


def measure(lab) -> Measured:
    variant = Variant([0.1], 0, False, [0.1] * 3, [[0.1]] * 3, 0, 7)
    compared = Comparison({"a": variant}, [("sgd", 0.1)], [0, 1, 2], 0.1, 100, 300)
    return Measured({"x": Inner([1.0])}, ("y", 2.0), None, compared)


def test_measurements_survive_json():
    plain = to_plain(measure(None))
    assert plain["inner"] == {"x": {"values": [1.0]}}
    assert plain["pair"] == ["y", 2.0]
    assert from_plain(measure, plain) == measure(None)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_refused(number):
    with pytest.raises(ValueError, match="JSON"):
        to_plain(Inner([number]))
