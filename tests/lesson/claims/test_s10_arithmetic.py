"""Tests of the claim ``arithmetic``."""

import copy
import json
import math

import plotly.graph_objects as go
import pytest
import torch
from torch.nn import functional

from lecture4.lesson.claims import s10_arithmetic as arithmetic
from lecture4.lesson.lab import Lab, Plot, Table, Widget, verdict


@pytest.fixture(scope="module")
def measured():
    return json.loads(json.dumps(arithmetic.measure(Lab()), allow_nan=False))


def test_all_findings_hold(measured):
    findings = arithmetic.judge(measured)
    assert verdict(findings) == "holds"
    assert all(len(finding.values) == 1 for finding in findings)  # exact
    assert measured["seeds"] == [0]


def test_the_table_is_that_of_torch(measured):
    for row in measured["examples"]:
        n, f, s, p = row["setting"]
        if n + 2 * p < f:
            assert row["formula"] is None
            continue
        side = functional.conv2d(torch.zeros(1, 1, n, n), torch.zeros(1, 1, f, f), None, s, p)
        assert row["formula"] == side.shape[-1] == math.floor(row["exact"])
        assert row["convolution"] == [row["formula"]] * 2
        assert row.get("pooling", row["convolution"]) == row["convolution"]
    assert measured["examples"][0]["formula"] == 28


def test_every_small_setting_is_tried(measured):
    every = measured["every"]
    assert every["settings"] == 10 * 5 * 3 * 3 * 2
    assert 0 < every["refused"] < every["settings"]
    assert 0 < every["rounded"] < every["settings"]
    assert every["differ"] == every["same_changes"] == 0


def test_a_wrong_formula_is_seen(monkeypatch):
    right = arithmetic.output_size

    def without_floor(n, f, s, p, dilation=1):
        return right(n, f, s, p, dilation=dilation) + bool((n + 2 * p - dilation * (f - 1) - 1) % s)

    monkeypatch.setattr(arithmetic, "output_size", without_floor)
    wrong = arithmetic._every(4)
    assert wrong["differ"] == wrong["rounded"] > 0


def test_stacks_shrink_by_f_minus_1_unless_padded(measured):
    for stack in measured["stacks"]:
        if stack["p"]:
            assert set(stack["sides"]) == {32}
        else:
            expected = list(range(32, 0, 1 - stack["f"]))
            assert stack["sides"] == expected[: len(stack["sides"])]
            assert len(stack["sides"]) == 13 or stack["sides"][-1] < stack["f"]


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (0, lambda m: m["lecture"].update(shape=[6, 27, 28])),
        (1, lambda m: m["lecture"].update(difference=1e-3)),
        (2, lambda m: m["every"].update(differ=1)),
        (3, lambda m: m["every"].update(same_changes=1)),
        (4, lambda m: m["examples"][3]["pooling"].__setitem__(1, 17)),
    ],
)
def test_a_contradiction_is_judged_so(measured, index, change):
    other = copy.deepcopy(measured)
    change(other)
    verdicts = [finding.verdict for finding in arithmetic.judge(other)]
    assert verdicts.pop(index) == "does not hold"
    assert set(verdicts) == {"holds"}


def test_drawn(measured):
    calculator, table, shrinking = arithmetic.draw(measured)
    assert isinstance(calculator, Widget)
    assert calculator.data == {"n": 32, "f": 5, "s": 1, "p": 0, "d": 1}
    assert isinstance(table, Table)
    assert all(len(row) == len(table.header) for row in table.rows)
    assert table.rows[0][1:] == ["(32+2·0−5)/1 + 1 = 28", "28", "28"]
    assert table.rows[3][1:] == ["⌊(32+2·1−3)/2⌋ + 1 = 16", "16", "16"]
    assert table.rows[12][1:] == ["(3+2·0−5)/1 < 0: refused", "refused", "refused"]
    assert isinstance(shrinking, Plot)
    assert isinstance(shrinking.figure, go.Figure)
    assert [list(trace.y) for trace in shrinking.figure.data] == [
        stack["sides"] for stack in measured["stacks"]
    ]
    assert "F = 5, P = 0: 4 pixels after 7 layers" in shrinking.alt


def test_a_table_shows_both_sizes_of_layers_that_disagree(measured):
    other = copy.deepcopy(measured)
    other["examples"][0]["convolution"] = [28, None]
    assert arithmetic.draw(other)[1].rows[0][2] == "28 or refused"
