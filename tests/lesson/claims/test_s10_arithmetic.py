import copy

import pytest
import torch
from claiming import judged, stored
from torch.nn import functional

from lecture4.lesson.claims import s10_arithmetic as arithmetic
from lecture4.lesson.lab import Lab


@pytest.fixture(scope="module")
def measured():
    return stored(arithmetic, arithmetic.measure(Lab()))


def test_all_findings_hold_exactly(measured):
    findings = judged(arithmetic, measured).values()
    assert {(finding.verdict, len(finding.values)) for finding in findings} == {("holds", 1)}


def test_sizes_are_those_of_torch(measured):
    for name, (n, f, s, p) in arithmetic.EXAMPLES.items():
        found = measured.examples[name]
        if n + 2 * p < f:
            assert found.formula is None
            assert {*found.convolution, *found.pooling} == {None}
            continue
        side = functional.conv2d(torch.zeros(1, 1, n, n), torch.zeros(1, 1, f, f), None, s, p)
        assert found.formula == side.shape[-1]
        assert found.convolution == [found.formula] * 2
        assert found.pooling == [found.formula] * (2 if 2 * p <= f else 0)


def test_every_small_setting_is_tried(measured):
    counts = measured.counts
    assert counts["all"] == 10 * 5 * 3 * 3 * 2
    assert 0 < counts["refused"] < counts["all"]
    assert 0 < counts["rounded"] < counts["all"]
    assert counts["disagree"] == counts["resized"] == 0


def test_a_wrong_formula_is_seen(monkeypatch):
    right = arithmetic.output_size

    def without_floor(n, f, stride, padding, dilation):
        room = n + 2 * padding - dilation * (f - 1) - 1
        return right(n, f, stride, padding, dilation=dilation) + (room % stride > 0)

    monkeypatch.setattr(arithmetic, "output_size", without_floor)
    wrong = arithmetic.count_settings(4)
    assert wrong["disagree"] == wrong["rounded"] > 0


def test_stacks_shrink_by_f_minus_1_unless_padded(measured):
    for name, sides in measured.stacks.items():
        f, p = int(name[4]), int(name[-1])
        assert sides[:4] == [32 - i * (f - 1 - 2 * p) for i in range(4)]
        assert len(sides) == 13 or sides[-1] < f


@pytest.mark.parametrize(
    ("finding", "change"),
    [
        ("28×28×6", lambda m: setattr(m, "shape", [6, 27, 28])),
        ("dot products", lambda m: setattr(m, "difference", 1e-3)),
        ("every setting", lambda m: m.counts.update(disagree=1)),
        ("padding keeps the size", lambda m: m.counts.update(resized=1)),
        ("table", lambda m: m.examples["pooling 2×2"].pooling.__setitem__(1, 17)),
    ],
)
def test_a_contradiction_is_judged_so(measured, finding, change):
    other = copy.deepcopy(measured)
    change(other)
    verdicts = {name: found.verdict for name, found in judged(arithmetic, other).items()}
    assert verdicts.pop(finding) == "does not hold"
    assert set(verdicts.values()) == {"holds"}


def test_drawn(measured):
    calculator, table, shrinking = arithmetic.draw(measured)
    assert calculator.data == {"n": 32, "f": 5, "s": 1, "p": 0, "d": 1}
    assert table.rows[0][1:] == ["(32+2·0−5)/1 + 1 = 28", "28", "28"]
    assert table.rows[1][1:] == ["(32+2·2−5)/1 + 1 = 32", "32", "32"]
    assert table.rows[3][1:] == ["⌊(32+2·1−3)/2⌋ + 1 = 16", "16", "16"]
    assert table.rows[4][1:] == ["(32+2·0−1)/1 + 1 = 32", "32", "32"]
    assert table.rows[12][1:] == ["(3+2·0−5)/1 < 0: refused", "refused", "refused"]
    assert [list(trace.y) for trace in shrinking.figure.data] == list(measured.stacks.values())
    assert "F = 5, P = 0: 4 pixels after 7 layers" in shrinking.alt


def test_a_table_shows_each_size_of_layers_that_disagree(measured):
    other = copy.deepcopy(measured)
    example = next(iter(other.examples.values()))
    example.convolution, example.pooling = [28, None], []
    _, table, _ = arithmetic.draw(other)
    assert table.rows[0][2:] == ["28 or refused", "–"]
