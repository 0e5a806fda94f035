import pytest

from lecture4.lesson.page.render import _rounded, _together, amount


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.41234, "", "0.4123"),
        (41.2, "%", "41.2 %"),
        (41.26789, "%", "41.27 %"),
        (-3.0, "", "−3"),
        (0.0, "nats", "0 nats"),
        (1234567, "", "1,234,567"),
        (12345.6, "", "12,346"),
        (1.5e-7, "", "1.50e−07"),
        (2.0e9, "", "2.00e+09"),
        (0.00123456, "", "0.0012"),
        (100.0, "", "100"),
        (True, "", "True"),
        ("does not fit", "", "does not fit"),
    ],
)
def test_amounts_are_as_long_as_they_are_worth(value, unit, text):
    assert amount(value, unit) == text


def test_runs_that_differ_in_the_seed_alone_are_one_sweep():
    commands = [
        "python train.py data=shapes model=mlp seed=0",
        "python train.py data=shapes model=softmax seed=0",
        "python train.py data=shapes model=mlp seed=1",
    ]
    assert _together(commands) == [
        "python train.py -m data=shapes model=mlp seed=0,1",
        "python train.py data=shapes model=softmax seed=0",
    ]


def test_floats_keep_six_digits_and_gaps_are_null():
    assert _rounded({"a": (1 / 3, 7, "x", None, float("nan"))}) == {
        "a": [0.333333, 7, "x", None, None]
    }
