"""Bugs and what catches them: every row, its curve and checks, verdicts."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
from claiming import SmallLab, judged, stored

from lecture4.lesson.claims import s18_bugs as bugs
from lecture4.lesson.lab import Plot, Table, verdict


@pytest.fixture(scope="module")
def few():
    """Measurements of the sound nets and two planted bugs, in a few steps."""
    names = (bugs.SOUND, "missing bias", "batch statistics left on")
    cases = [case for case in bugs.cases() if case[0] in names]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bugs, "cases", lambda: cases)
        return stored(bugs, bugs.measure(SmallLab({50: 12}, images=())))


@pytest.fixture
def measured():
    """Made up: a sound net for each seed, and bugs of every kind."""

    def row(name, losses, held_out, failed, net="MLP"):
        return bugs.Row(
            name,
            net,
            [losses(seed) for seed in range(3)],
            [held_out and held_out + 0.1 * seed for seed in range(3)],
            [failed] * (3 if name == bugs.SOUND else 1),
        )

    def falls(to, begin=2.5):
        return lambda seed: [begin + 0.1 * seed] * 10 + [to + 0.1 * seed] * 10

    rows = [
        row(bugs.SOUND, falls(1.0), 1.0, []),
        row("unseen", falls(1.1), 1.1, ["a"]),
        row("slow", falls(1.5), 1.5, ["b"]),
        row("memory", falls(1.1), 1.5, ["b"]),
        row("hump", falls(1.1, begin=3.0), 1.1, ["b"]),
        row("evaluation", falls(1.0), 1.5, ["b"]),
        row("blank", lambda seed: [2.6] * 10 + [math.log(10)] * 10, 2.3, ["a", "b"]),
        row("off", lambda seed: [4.0] * 10 + [3.0] * 10, 3.0, ["a"]),
        row("nan", lambda seed: [2.5] + [None] * 19, None, ["a"]),
        row(bugs.SOUND, falls(1.0), 1.0, [], net="ConvNet"),
    ]
    return bugs.Measured([0, 1, 2], [0], ["a", "b"], 10, 20, 500, rows)


def test_every_bug_has_a_row_and_every_net_a_sound_one():
    rows = list(bugs.cases())
    assert {bug for name, _, bug in rows if name != bugs.SOUND} == set(bugs.BUGS)
    assert len(rows) == len(bugs.BUGS) + len(bugs.NETS)
    assert {net for name, net, _ in rows if name == bugs.SOUND} == set(bugs.NETS)


def test_what_is_measured(few):
    assert [row.name for row in few.rows] == [
        bugs.SOUND, "missing bias", bugs.SOUND, "batch statistics left on",
    ]  # fmt: skip
    assert all(len(losses) == 12 for row in few.rows for losses in row.loss)
    failed = [row.failed[0] for row in few.rows]
    assert failed[0] == failed[2] == []
    assert [len(row.failed) for row in few.rows] == [3, 1, 3, 1]
    assert "gradient by hand" in failed[1]
    assert "images do not mix" in failed[3]


def test_a_bug_of_evaluation_leaves_training_as_it_is(few):
    right, wrong = few.rows[2:]
    assert wrong.loss == right.loss
    assert wrong.held_out != right.held_out
    assert [row.name for row in few.in_training] == ["missing bias"]
    assert "of the 1 bugs" in judged(bugs, few)["hidden"].statement


def test_the_same_batches_and_weights_with_the_bug_and_without(few):
    right, wrong = few.rows[:2]
    assert [losses[0] for losses in wrong.loss] == [losses[0] for losses in right.loss]
    assert len({losses[0] for losses in right.loss}) == 3


def test_the_symptoms(measured):
    symptoms = {row.name: bugs.symptom(measured, row) for row in measured.rows}
    assert symptoms["unseen"] == "as before (+0.10)"
    assert symptoms["slow"] == "higher by 0.50"
    assert symptoms["blank"] == "ends at ln 10 = 2.30"
    assert symptoms["off"] == "starts at 4.00 instead of 2.60"
    assert symptoms["nan"] == "NaN or ∞ from step 2 on"


def test_what_the_curves_let_pass(measured):
    for mark in ("begin", "end", "held_out"):
        assert bugs.scatter(measured, "MLP", mark) == pytest.approx(0.2)
    assert "evaluation" not in [row.name for row in measured.in_training]
    assert len(measured.in_training) == 7
    assert bugs.unremarkable(measured) == [["unseen"]] * 3


def test_each_seed_is_compared_with_its_own(measured):
    slow = measured.rows[2]
    slow.loss[1] = measured.rows[1].loss[1]
    slow.held_out[1] = 1.2
    assert bugs.unremarkable(measured) == [["unseen"], ["unseen", "slow"], ["unseen"]]


def test_the_verdict_follows_the_numbers(measured):
    assert judged(bugs, measured)["hidden"].verdict == "does not hold"  # one of seven is too few
    dropped = ("memory", "hump", "off", "nan")  # then one of three is not seen
    measured = replace(measured, rows=[row for row in measured.rows if row.name not in dropped])
    assert judged(bugs, measured)["hidden"].values == pytest.approx([100 / 3] * 3)
    assert verdict(bugs.judge(measured)) == "holds"
    missed, false_alarm, plain = (deepcopy(measured) for _ in range(3))
    missed.rows[1].failed = [[]]
    false_alarm.rows[0].failed = [["a"]] * 3
    plain.rows[1].loss = plain.rows[2].loss
    for m, name in ((missed, "found"), (false_alarm, "false alarms"), (plain, "hidden")):
        verdicts = {name: finding.verdict for name, finding in judged(bugs, m).items()}
        assert verdicts.pop(name) == "does not hold"
        assert set(verdicts.values()) == {"holds"}


def test_a_bug_of_evaluation_counts_for_nothing_that_training_shows(measured):
    measured.rows = [r for r in measured.rows if r.name in (bugs.SOUND, "evaluation")]
    finding = judged(bugs, measured)["hidden"]
    assert finding.values == [0, 0, 0]
    assert finding.verdict == "does not hold"


def test_a_false_alarm_for_one_seed_is_not_hidden(measured):
    measured.rows[0].failed = [[], ["a"], []]
    finding = judged(bugs, measured)["false alarms"]
    assert finding.values == [0, 1, 0]
    assert finding.verdict != "holds"


def test_a_sound_net_whose_loss_is_no_number_is_shown(measured):
    sick = measured.rows[0]
    sick.loss = [[2.5] + [None] * 19, [None] * 20, sick.loss[2]]
    sick.held_out = [None, None, 1.0]
    assert verdict(bugs.judge(measured)) == "does not hold"
    plot, _, table = bugs.draw(stored(bugs, measured))
    plot.figure.to_json()
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["none, MLP"][:2] == ["ends at NaN or ∞", "NaN or ∞"]
    assert rows["slow"][:3] == ["NaN or ∞", "NaN or ∞", "0 of 3"]


def test_the_figure_and_the_table_hold_the_numbers(measured):
    plot, other, table = bugs.draw(measured)
    assert [type(item) for item in (plot, other, table)] == [Plot, Plot, Table]
    assert [trace.name for trace in other.figure.data if trace.name] == ["no bug"]
    lines = {trace.name: trace.y for trace in plot.figure.data}
    assert lines["slow"][-1] == pytest.approx(1.6)
    assert lines["nan"][1] is None
    assert "the 7 bugs that change training" in plot.alt
    assert "1 deviate for every seed no more than another seed would: unseen." in plot.alt
    assert "the 0 bugs that change training" in other.alt
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["none, MLP"] == ["ends at 1.10", "1.10", "", "none"]
    assert rows["blank"] == ["ends at ln 10 = 2.30", "higher by 1.30", "0 of 3", "a, b"]
    assert rows["unseen"][2] == "3 of 3"
    assert rows["evaluation"] == ["as before (+0.00)", "higher by 0.50", "–", "b"]
    assert rows["nan"][1] == "NaN or ∞"
    assert "seed 0 only" in table.caption


def test_the_number_of_bugs_is_counted():
    assert f"{len(bugs.BUGS)} common bugs " in bugs.TEXT
