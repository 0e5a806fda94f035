"""Hyperparameters as loggers list them."""

import pytest

from lecture4.training.loggers import flatten


@pytest.mark.parametrize(
    ("tree", "flat"),
    [
        ({"a": {"b": 1}, "c": None}, {"a.b": 1, "c": None}),
        ({"c": [{"d": 2}, {"d": 3}]}, {"c.0.d": 2, "c.1.d": 3}),
        ({"hidden": [8, 8]}, {"hidden": [8, 8]}),
        ({"empty": {}, "none": []}, {"none": []}),
    ],
)
def test_names_are_those_of_the_command_line(tree, flat):
    assert flatten(tree) == flat
