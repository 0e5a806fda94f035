"""Refining a grid around its best value."""

import sys

from running import ROOT


def test_closer_to_the_best():
    sys.path.insert(0, str(ROOT))
    from hydra_plugins.lecture4_grid import closer

    assert closer(0.01, [0.001, 0.01, 0.1]) == [0.00316, 0.00562, 0.0178, 0.0316]
    assert closer(0.1, [0.001, 0.1]) == [0.01, 0.0316, 0.316, 1.0]
    assert closer(1.0, [1.0]) == [0.316, 0.562, 1.78, 3.16]
    assert closer(0.01, [0.01, 0.010001]) == []
