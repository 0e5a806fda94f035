import json
import math

import pytest
import torch
from torch import nn

from lecture4.data.randomness import generator
from lecture4.lesson.claims import s06_penalty as penalty
from lecture4.lesson.lab import Lab, Plot, Table, resolution, verdict


def invented(norm, train, val, test, seeds=3):
    """Measurements of λ = 0, 1 and 10 that are alike but for 0.001 in each seed."""
    return {
        "seeds": list(range(seeds)),
        "strengths": [0.0, 1.0, 10.0],
        "epochs": 15,
        "images": 1000,
        "validation_images": 5000,
        "test_images": 10_000,
        "chance": 0.1,
        "runs": [
            {
                "seed": s,
                "strength": strength,
                "norm": norm[i],
                "train": train[i] + s / 1000,
                "val": val[i] + s / 1000,
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
    means = [2 / 3, 50, 100 * (0.02 - 0.25), -12, 40.1, 10]
    assert [f.mean for f in findings] == pytest.approx(means)
    luck = resolution(10_000)
    assert [f.at_least for f in findings[1:2]] == [resolution(1000)]
    assert [findings[3].at_most, findings[4].at_least] == [-luck, luck]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"norm": [3.0, 3.1, 0.5]}, 0),
        ({"train": [0.41, 0.51, 0.28]}, 1),
        ({"val": [0.4, 0.5, 0.04]}, 2),
        ({"test": [0.4, 0.5, 0.395]}, 3),
        ({"test": [0.12, 0.1, 0.1], "val": [0.4, 0.28, 0.25]}, 4),
        ({"test": [0.4, 0.39, 0.3]}, 5),
    ],
)
def test_what_contradicts_a_finding_is_found(change, finding):
    assert penalty.judge(invented(**{**TEXTBOOK, **change}))[finding].verdict == "does not hold"


def test_the_penalty_is_chosen_by_validation_and_never_none():
    m = invented(**{**TEXTBOOK, "val": [0.9, 0.2, 0.3]})
    assert [run["strength"] for run in penalty._chosen(m)] == [10.0] * 3
    assert penalty.judge(m)[5].values == pytest.approx([-12] * 3)


@pytest.fixture(scope="module")
def lab():
    return Lab(budget="quick", data="shapes")


def test_descent_is_that_of_torch(lab):
    """λ R(W) as autograd has it: (1/N) Σ Lᵢ + λ Σ w², by Nesterov momentum and a cosine of η."""
    words = ["penalty=l2", "penalty.strength=0.5"]
    classifier, data = lab.assemble("model=softmax", *words, seed=3)
    x = classifier.preprocess(data.dataset.train_inputs[:300])
    y = data.dataset.train_labels[:300]
    twin = nn.Linear(x[0].numel(), len(classifier.class_names))
    twin.load_state_dict(classifier.model.scores.state_dict())
    assert penalty.descend(classifier, x, y, epochs=2, seed=3)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.003, momentum=0.9, nesterov=True)
    draw, step = generator(3), 0
    for _ in range(2):
        order = torch.randperm(300, generator=draw)
        for batch in (order[:128], order[128:256]):  # what is left of an epoch is not a batch
            optimizer.param_groups[0]["lr"] = 0.003 * (1 + math.cos(math.pi * step / 4)) / 2
            loss = nn.functional.cross_entropy(twin(x[batch].flatten(1)), y[batch])
            optimizer.zero_grad()
            (loss + 0.5 * twin.weight.square().sum()).backward()
            optimizer.step()
            step += 1
    torch.testing.assert_close(classifier.model.scores.weight, twin.weight, rtol=1e-4, atol=1e-6)


def test_outcome_is_of_one_w(lab):
    classifier, _ = lab.assemble("model=softmax")
    scores = classifier.model.scores
    with torch.no_grad():
        scores.weight.zero_()
        scores.weight[:2, :2] = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
        scores.bias.zero_()
    x = torch.zeros(4, 3, 32, 32)
    x.view(4, -1)[:, 1] = 1  # class 1 wins
    part = {"train": 4, "val": 1, "test": 2}
    examples = {name: (x, torch.tensor([1] * k + [0] * (4 - k))) for name, k in part.items()}
    outcome = penalty._outcome(classifier, examples, True)
    assert outcome == {"norm": 5.0, "train": 1.0, "val": 0.25, "test": 0.5}
    lost = {"norm": None, **dict.fromkeys(penalty.SERIES, 1 / len(classifier.class_names))}
    assert penalty._outcome(classifier, examples, False) == lost
    with torch.no_grad():
        scores.weight[0, 0] = math.nan
    assert penalty._outcome(classifier, examples, True) == lost


def smaller(lab, monkeypatch, strengths):
    replaced = {2_000: 200, 15: 1, 4: 3}
    monkeypatch.setattr(
        lab,
        "pick",
        lambda quick, full: strengths if quick is penalty.STRENGTHS else replaced[quick],
    )
    return json.loads(json.dumps(penalty.measure(lab), allow_nan=False))


def test_measure_trains_with_and_without_the_penalty(lab, monkeypatch):
    m = smaller(lab, monkeypatch, [0.0, 10.0])
    assert [(run["seed"], run["strength"]) for run in m["runs"]] == [
        (seed, strength) for seed in m["seeds"] for strength in (0.0, 10.0)
    ]
    assert len({run["norm"] for run in m["runs"]}) == 6
    assert [m["images"], m["validation_images"], m["test_images"]] == [200, 1000, 2000]
    assert not lab.commands  # the split is smaller than train.py's, so none of its commands fits
    assert penalty.judge(m)
    assert penalty.draw(m)


def test_a_training_that_diverges(lab, monkeypatch):
    classifier, data = lab.assemble("model=softmax", "penalty=l2", "penalty.strength=1e30")
    x, y = classifier.preprocess(data.dataset.train_inputs[:256]), data.dataset.train_labels[:256]
    assert not penalty.descend(classifier, x, y, epochs=3, seed=0)
    m = smaller(lab, monkeypatch, [0.0, 1e12, 1e30])
    assert [run["norm"] is None for run in m["runs"]] == [False, True, True] * 3
    assert m["runs"][-1]["test"] == m["chance"]
    assert penalty.judge(m)[0].verdict == "does not hold"
    plot, table = penalty.draw(m)
    assert "to none (diverged)" in plot.alt
    assert "6 of 9 trainings diverged" in plot.caption
    assert table.rows
    assert "NaN" not in plot.figure.to_json()


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
    assert "‖W‖ goes from 3.00 (3.00–3.00) to 0.50 (0.50–0.50), training accuracy" in plot.alt
    assert "test accuracy from 40.1 to 28.1 %." in plot.alt
    assert "diverged" not in plot.caption
    assert table.rows[0] == [0, "1", "50.0 %", "40.0 %", "+10.0 points"]
