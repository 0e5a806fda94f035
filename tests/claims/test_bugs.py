"""Bugs and what catches them: every row, what its curve and the checks say, verdicts."""

import copy
import json
import math

import pytest

from lecture4 import mistakes
from lecture4.claims import bugs
from lecture4.lab import Lab, Plot, Table, verdict


@pytest.fixture(scope="module")
def few():
    """What is measured, for the sound nets and two mistakes, in a few steps."""
    rows = [
        row
        for row in bugs._rows()
        if row[0] in (bugs.SOUND, "missing bias", "batch statistics left on")
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bugs, "_rows", lambda: rows)
        patch.setattr(Lab, "pick", lambda self, quick, full: 12 if quick == 60 else quick)
        return json.loads(json.dumps(bugs.CLAIM.measure(Lab(data="shapes")), allow_nan=False))


@pytest.fixture
def measured():
    """Made up: a sound net for each seed, and mistakes of every kind."""

    def row(name, losses, held_out, failed):
        return {
            "name": name,
            "net": "MLP",
            "loss": [losses(seed) for seed in range(3)],
            "held_out": [held_out and held_out + 0.1 * seed for seed in range(3)],
            "failed": [failed],
        }

    def falls(to):
        return lambda seed: [2.5] * 10 + [to + 0.1 * seed] * 10

    rows = [
        row(bugs.SOUND, falls(1.0), 1.0, []),
        row("unseen", falls(1.1), 1.1, ["a"]),
        row("slow", falls(1.5), 1.5, ["b"]),
        row("blank", lambda seed: [2.5] * 10 + [math.log(10)] * 10, 2.3, ["a", "b"]),
        row("off", lambda seed: [4.0] * 10 + [3.0] * 10, 3.0, ["a"]),
        row("nan", lambda seed: [2.5] + [None] * 19, None, ["a"]),
    ]
    convnet = [{**copy.deepcopy(rows[0]), "net": "ConvNet"}]
    return {
        "seeds": [0, 1, 2],
        "checked_seeds": [0],
        "checks": ["a", "b"],
        "classes": 10,
        "steps": 20,
        "batch": 64,
        "held_out_images": 500,
        "rows": rows + convnet,
    }


def test_every_mistake_has_a_row_and_every_net_a_sound_one():
    rows = list(bugs._rows())
    assert {plant for name, _, plant in rows if name != bugs.SOUND} == set(mistakes.MISTAKES)
    assert len(rows) == len(mistakes.MISTAKES) + len(bugs.NETS)
    assert {net for name, net, _ in rows if name == bugs.SOUND} == set(bugs.NETS)


def test_what_is_measured(few):
    assert [row["name"] for row in few["rows"]] == [
        bugs.SOUND, "missing bias", bugs.SOUND, "batch statistics left on",
    ]  # fmt: skip
    assert all(len(losses) == 12 for row in few["rows"] for losses in row["loss"])
    failed = [row["failed"][0] for row in few["rows"]]
    assert failed[0] == failed[2] == []
    assert "gradient by hand" in failed[1]
    assert "images do not mix" in failed[3]


def test_a_mistake_of_evaluation_leaves_training_as_it_is(few):
    right, wrong = few["rows"][2:]
    assert wrong["loss"] == right["loss"]
    assert wrong["held_out"] != right["held_out"]


def test_the_same_batches_and_weights_with_the_mistake_and_without(few):
    right, wrong = few["rows"][:2]
    assert [losses[0] for losses in wrong["loss"]] == [losses[0] for losses in right["loss"]]
    assert len({losses[0] for losses in right["loss"]}) == 3


def test_the_symptoms(measured):
    symptoms = {row["name"]: bugs.symptom(measured, row) for row in measured["rows"]}
    assert symptoms["unseen"] == "as before (+0.10)"
    assert symptoms["slow"] == "higher by 0.50"
    assert symptoms["blank"] == "ends at ln 10 = 2.30"
    assert symptoms["off"] == "begins at 4.00 for 2.50"
    assert symptoms["nan"] == "no number from step 2 on"


def test_what_the_curve_lets_pass(measured):
    assert bugs.spreads(measured, "MLP") == (pytest.approx(0.2), pytest.approx(0.2))
    assert bugs.unseen(measured) == [["unseen"]] * 3


def test_the_verdict_follows_the_numbers(measured):
    assert verdict(bugs.CLAIM.judge(measured)) == "holds"
    missed, false_alarm, plain = (copy.deepcopy(measured) for _ in range(3))
    missed["rows"][1]["failed"] = [[]]
    false_alarm["rows"][0]["failed"] = [["a"]]
    plain["rows"][1]["loss"] = plain["rows"][2]["loss"]
    for m, finding in ((missed, 0), (false_alarm, 1), (plain, 2)):
        verdicts = [f.verdict for f in bugs.CLAIM.judge(m)]
        assert verdicts[finding] == "does not hold"
        assert verdicts.count("holds") == 2


def test_the_figure_and_the_table_hold_the_numbers(measured):
    plot, other, table = bugs.CLAIM.draw(measured)
    assert [type(item) for item in (plot, other, table)] == [Plot, Plot, Table]
    assert [trace.name for trace in other.figure.data if trace.name] == ["no mistake"]
    lines = {trace.name: trace.y for trace in plot.figure.data}
    assert lines["slow"][-1] == pytest.approx(1.6)
    assert lines["nan"][1] is None
    assert "unseen" in plot.alt
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["none, MLP"] == ["ends at 1.10", "1.10", "none"]
    assert rows["blank"] == ["ends at ln 10 = 2.30", "higher by 1.30", "a, b"]
    assert rows["nan"][1] == "no number"
