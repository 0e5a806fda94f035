import json

import pytest
import torch

from lecture4.claims import penalty
from lecture4.lab import Lab, Plot, Run, Table
from lecture4.lab.claim import verdict


def invented(norm, train, val, test, seeds=3):
    """Measurements of λ = 0, 1 and 10 that are alike but for 0.001 in each seed."""
    return {
        "seeds": list(range(seeds)),
        "strengths": [0.0, 1.0, 10.0],
        "images": 100,
        "test_images": 1000,
        "runs": [
            {
                "seed": s,
                "strength": strength,
                "norm": norm[i],
                "train": train[i] + s / 1000,
                "val": val[i] + s / 1000,
                "best_val": val[i] + s / 1000,
                "test": test[i] + s / 1000,
            }
            for s in range(seeds)
            for i, strength in enumerate((0.0, 1.0, 10.0))
        ],
    }


TEXTBOOK = {
    "norm": [3.0, 2.0, 0.5],
    "train": [0.9, 0.6, 0.3],
    "val": [0.4, 0.5, 0.28],
    "test": [0.4, 0.5, 0.28],
}


def test_textbook():
    findings = penalty.judge(invented(**TEXTBOOK))
    assert verdict(findings) == "holds"
    assert [f.mean for f in findings] == pytest.approx([2 / 3, 100 * (0.02 - 0.25), -12, 10])


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"norm": [3.0, 3.1, 0.5]}, 0),
        ({"val": [0.4, 0.5, 0.04]}, 1),
        ({"test": [0.4, 0.5, 0.395]}, 2),
        ({"test": [0.4, 0.39, 0.3]}, 3),
    ],
)
def test_what_contradicts_a_finding_is_found(change, finding):
    findings = penalty.judge(invented(**{**TEXTBOOK, **change}))
    assert findings[finding].verdict == "does not hold"
    assert [f.verdict for f in findings].count("holds") == 3


def test_the_penalty_is_chosen_by_validation_and_never_none():
    m = invented(**{**TEXTBOOK, "val": [0.9, 0.2, 0.3]})
    assert [run["strength"] for run in penalty._chosen(m)] == [10.0] * 3
    assert penalty._gains(m) == pytest.approx([-0.12] * 3)


def test_outcome_is_of_the_last_epoch_and_of_the_weights_kept():
    history = [
        {"train/accuracy": 0.5, "val/accuracy": 0.4},
        {"train/accuracy": 0.9, "val/accuracy": 0.3},
    ]
    weight = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    kept = {"model.scores.weight": weight, "model.scores.bias": torch.ones(2)}
    outcome = penalty._outcome(Run("", 0, history, 0.35, 1.0, 6, False, kept))
    assert outcome == {"norm": 5.0, "train": 0.9, "val": 0.3, "best_val": 0.4, "test": 0.35}


def test_measure_trains_with_and_without_the_penalty(monkeypatch):
    lab = Lab(budget="quick", data="shapes")
    smaller = {2_000: 200, 15: 1, 4: 1}
    monkeypatch.setattr(
        lab,
        "pick",
        lambda quick, full: (
            [0.0, 10.0] if quick is penalty.STRENGTHS else smaller.get(quick, quick)
        ),
    )
    m = json.loads(json.dumps(penalty.measure(lab), allow_nan=False))
    assert [(run["seed"], run["strength"]) for run in m["runs"]] == [
        (seed, strength) for seed in m["seeds"] for strength in (0.0, 10.0)
    ]
    assert len(lab.commands) == 6
    assert all("data.val_size=9800" in command for command in lab.commands)
    assert ["penalty.strength=10" in command for command in lab.commands] == [False, True] * 3
    assert ["penalty=l2" in command for command in lab.commands] == [False, True] * 3
    assert len({run["norm"] for run in m["runs"]}) == 6
    assert penalty.judge(m)
    assert penalty.draw(m)


def test_page():
    m = invented(**TEXTBOOK)
    plot, table = penalty.draw(m)
    assert isinstance(plot, Plot)
    assert isinstance(table, Table)
    lines = {trace.name: trace for trace in plot.figure.data if trace.name}
    assert list(lines["‖W‖"].x) == ["0", "1", "10"]
    assert list(lines["‖W‖"].y) == TEXTBOOK["norm"]
    for series, name in penalty.SERIES.items():
        mean = [100 * v + 0.1 for v in TEXTBOOK[series]]
        assert list(lines[name].y) == pytest.approx(mean, rel=1e-3)
    assert plot.alt.startswith("‖W‖ falls from 3.00 without a penalty to 0.50 at λ = 10; ")
    assert table.rows[0] == [0, "1", "50.0 %", "40.0 %", "+10.0 points"]
