import math

import pytest
import torch
from claiming import SmallLab, beside, judged, stored
from torch import nn

from lecture4.data.randomness import generator
from lecture4.lesson.claims import s06_penalty as penalty
from lecture4.lesson.lab import resolution, verdict

TEXTBOOK = {
    "norm": [3.0, 2.0, 0.5],
    "train": [0.9, 0.6, 0.3],
    "val": [0.4, 0.5, 0.28],
    "test": [0.4, 0.5, 0.28],
}


def invented(**change):
    """Measurements of λ = 0, 1 and 10, whose seeds differ by 0.001."""
    norm, *accuracies = (TEXTBOOK | change).values()
    runs = [
        [
            penalty.Outcome(strength, norm[i], *(part[i] + seed / 1000 for part in accuracies))
            for i, strength in enumerate((0.0, 1.0, 10.0))
        ]
        for seed in range(3)
    ]
    return penalty.Measured([0, 1, 2], 15, 1000, 5000, 10_000, 0.1, runs)


@pytest.fixture(scope="module")
def lab():
    return SmallLab({2_000: 128, 15: 2, 4: 3})


def test_textbook():
    found = judged(penalty, invented())
    assert verdict(list(found.values())) == "holds"
    means = {name: finding.mean for name, finding in found.items()}
    assert means == pytest.approx(
        {
            "smaller W": 2 / 3,
            "overfitting": 50,
            "smaller gap": 2 - 25,
            "too much hurts": -12,
            "the chosen λ > 0 learned": 40.1,
            "gain": 10,
        }
    )
    larger, smaller = beside(penalty, invented())
    assert larger.ours == smaller.ours == found["gain"].values
    assert (larger.direction, smaller.direction) == ("agrees", "disagrees")
    assert found["overfitting"].at_least == resolution(1000)
    assert found["too much hurts"].at_most == -resolution(10_000)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("smaller W", {"norm": [3.0, 3.1, 0.5]}),
        ("overfitting", {"train": [0.41, 0.51, 0.28]}),
        ("smaller gap", {"val": [0.4, 0.5, 0.04]}),
        ("too much hurts", {"test": [0.4, 0.5, 0.395]}),
        ("the chosen λ > 0 learned", {"test": [0.12, 0.1, 0.1], "val": [0.4, 0.28, 0.25]}),
        ("gain", {"test": [0.4, 0.39, 0.3]}),
    ],
)
def test_what_contradicts_a_finding_is_noticed(name, change):
    assert judged(penalty, invented(**change))[name].verdict == "does not hold"


def test_the_penalty_is_chosen_by_validation_and_never_none():
    m = invented(val=[0.9, 0.2, 0.3])
    assert [run.strength for run in m.chosen()] == [10.0] * 3
    assert judged(penalty, m)["gain"].values == pytest.approx([-12] * 3)


def test_a_fit_is_torchs(lab):
    """λ R(W) as autograd has it: (1/N) Σ Lᵢ + λ Σ w², by Nesterov momentum and a cosine of η."""
    words = ["penalty=l2", "penalty.strength=0.5"]
    classifier, data = lab.assemble("model=softmax", *words, seed=3)
    x = classifier.preprocess(data.dataset.train_inputs[:300])
    y = data.dataset.train_labels[:300]
    twin = nn.Linear(x[0].numel(), len(classifier.class_names))
    twin.load_state_dict(classifier.model.scores.state_dict())
    penalty.fit(classifier, x, y, epochs=2, seed=3)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.003, momentum=0.9, nesterov=True)
    draw, step = generator(3), 0
    for _ in range(2):
        order = torch.randperm(300, generator=draw)
        for batch in (order[:128], order[128:256]):  # the rest is no whole batch
            optimizer.param_groups[0]["lr"] = 0.003 * (1 + math.cos(math.pi * step / 4)) / 2
            loss = nn.functional.cross_entropy(twin(x[batch].flatten(1)), y[batch])
            optimizer.zero_grad()
            (loss + 0.5 * twin.weight.square().sum()).backward()
            optimizer.step()
            step += 1
    torch.testing.assert_close(classifier.model.scores.weight, twin.weight, rtol=1e-4, atol=1e-6)


def test_outcome(lab):
    classifier, _ = lab.assemble("model=softmax")
    scores = classifier.model.scores
    with torch.no_grad():
        scores.weight.zero_()
        scores.weight[:2, :2] = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
        scores.bias.zero_()
    x = torch.zeros(4, 3, 32, 32)
    x.view(4, -1)[:, 1] = 1  # class 1 wins
    parts = [(x, torch.tensor([1] * right + [0] * (4 - right))) for right in (4, 1, 2)]
    assert penalty.outcome(classifier, 0.3, parts) == penalty.Outcome(0.3, 5.0, 1.0, 0.25, 0.5)
    with torch.no_grad():
        scores.weight[0, 0] = math.nan
    assert penalty.outcome(classifier, 0.3, parts) == penalty.Outcome(0.3, 1e6, 0.1, 0.1, 0.1)


def test_measure_trains_without_and_with_penalties(lab, monkeypatch):
    monkeypatch.setattr(penalty, "STRENGTHS", [0.0, 10.0, 1e30])  # the last one diverges
    m = stored(penalty, penalty.measure(lab))
    for without, most, lost in m.runs:
        assert 0 < most.norm < without.norm < 10
        assert lost == penalty.Outcome(1e30, penalty.TOO_LARGE, 0.1, 0.1, 0.1)
    assert len({run.norm for row in m.runs for run in row}) == 7
    assert [m.images, m.validated, m.tested] == [128, 60, 60]
    assert not lab.commands  # the split is smaller than train.py's, so none of its commands fits
    assert judged(penalty, m)["smaller W"].verdict == "does not hold"
    size, *_ = penalty.draw(m)
    assert math.isnan(size.figure.data[-1].y[-1])


def test_page():
    size, accuracies, table = penalty.draw(invented())
    drawn = {t.name: t for plot in (size, accuracies) for t in plot.figure.data if t.name}
    assert list(drawn["‖W‖"].x) == ["0", "1", "10"]
    assert list(drawn["‖W‖"].y) == TEXTBOOK["norm"]
    assert list(drawn["training images"].y) == pytest.approx([90.1, 60.1, 30.1])
    assert list(drawn["validation images"].y) == pytest.approx([40.1, 50.1, 28.1])
    assert list(drawn["test images"].y) == pytest.approx([40.1, 50.1, 28.1])
    assert "‖W‖ from 3.00 to 0.50" in size.alt
    assert table.rows[0] == [0, "1", "50.0", "40.0", "+10.0"]
