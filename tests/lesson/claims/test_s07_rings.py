import json
import math

import pytest
import torch

from lecture4.data import make_rings
from lecture4.lesson.claims import s07_rings as claim
from lecture4.lesson.claims.s07_rings import CLAIM, best_line, line_limit, moved, polar_boundary
from lecture4.lesson.lab import Lab, Plot, Table, Widget


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    lab = Lab(cache=tmp_path_factory.mktemp("cache"))
    lab.seeds = lambda n: [0, 1, 2]
    return json.loads(json.dumps(CLAIM.measure(lab), allow_nan=False))


def test_the_claim_holds_on_the_rings(measured):
    assert [f.verdict for f in CLAIM.judge(measured)] == ["holds"] * 5
    assert measured["seeds"] == [0, 1, 2]
    assert all(len(values) == 3 for values in measured["accuracy"].values())


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda m: m["way"][0].update(accuracy=80), 0),
        (lambda m: m["accuracy"].update(linear=[80, 81, 82]), 1),
        (lambda m: m["loss"].update(linear=[0.6, 0.6, 0.6]), 2),
        (lambda m: m["accuracy"].update(polar=[90, 91, 92]), 3),
        (lambda m: m["accuracy"].update(net=[60, 60, 61]), 4),
    ],
)
def test_other_measurements_are_judged_otherwise(measured, change, finding):
    m = json.loads(json.dumps(measured))
    change(m)
    verdicts = [f.verdict for f in CLAIM.judge(m)]
    assert verdicts[finding] == "does not hold"
    assert verdicts.count("holds") == 4


def test_what_is_drawn_holds_the_numbers(measured):
    plot, table, widget = CLAIM.draw(measured)
    assert [type(item) for item in (plot, table, widget)] == [Plot, Table, Widget]
    planes = [t for t in plot.figure.data if t.type == "contour"]
    for trace, plane in zip(planes, measured["planes"].values(), strict=True):
        assert torch.equal(torch.tensor(trace.z), torch.tensor(plane))
    assert sum(len(t.x) for t in plot.figure.data if t.type == "scatter") == 4 * 400
    assert len(table.rows) == 3
    assert [row[-1] for row in table.rows] == [0] * 3
    for row, accuracy in zip(table.rows, measured["accuracy"].values(), strict=True):
        assert row[2] == f"{sum(accuracy) / 3:.1f} ({min(accuracy):.1f}–{max(accuracy):.1f})"
        assert f"{sum(accuracy) / 3:.1f} %" in plot.alt
    assert f"{measured['way'][0]['accuracy']:.1f} %" in widget.alt
    drawn = plot.figure.to_json() + json.dumps(widget.data)
    assert len(drawn) < 350_000  # with all digits; the page keeps six


def test_the_net_boundary_lies_where_its_scores_are_even(measured):
    """Points drawn in the hidden plane are on the sides that the plane's probabilities give."""
    plane, line = torch.tensor(measured["planes"]["representation"]), torch.linspace(-1.1, 1.1, 51)
    points, labels = torch.tensor(measured["representation"]), torch.tensor(measured["labels"])
    column, row = ((points[:, [i]] - line).abs().argmin(1) for i in (0, 1))
    said = (plane[row, column] > 0.5).long()
    assert (said == labels).double().mean() > 0.97


def test_the_best_line_is_that_of_trying_all():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(40, 2, generator=generator)
    labels = (points[:, 0] + 0.8 * torch.randn(40, generator=generator) > 0).long()
    best = 0
    for a in range(720):  # every direction and its opposite
        angle = torch.tensor(a * math.pi / 360, dtype=torch.float64)
        p = points.double() @ torch.stack([angle.cos(), angle.sin()])
        for c in p.tolist():
            best = max(best, ((p > c).long() == labels).sum().item())
    found = best_line(points, labels)
    assert found["accuracy"] == pytest.approx(100 * best / 40)
    normal = torch.tensor([math.cos(found["angle"]), math.sin(found["angle"])])
    right = ((points @ normal > found["offset"]).long() == labels).double().mean().item()
    assert 100 * max(right, 1 - right) == pytest.approx(found["accuracy"])
    assert best_line(points, 1 - labels)["accuracy"] == found["accuracy"]


def test_the_limit_of_a_line_is_what_many_points_give():
    data = make_rings(40_000, 2)
    best = best_line(data.train_inputs, data.train_labels, directions=8)["accuracy"]
    assert 100 * line_limit() == pytest.approx(best, abs=0.7)
    assert 0.65 < line_limit() < 0.68


def test_the_way_goes_from_the_plane_to_polar_coordinates():
    point = torch.tensor([[0.0, 2.0]])
    assert moved(point, 0).tolist() == [[0, 2]]
    assert moved(point, 1).flatten().tolist() == pytest.approx([2, math.pi / 2])
    assert moved(point, 0.5).flatten().tolist() == pytest.approx([1, 1 + math.pi / 4])


def test_trainings_that_diverged_count_as_guessing(monkeypatch, measured):
    """Of the linear classifiers one of three, of the others all."""
    lab, train = Lab(), Lab.train
    lab.seeds = lambda n: [0, 1, 2]

    def often_diverging(*overrides, seed):
        broken = overrides != claim.LINEAR or seed == 0
        return train(lab, *overrides, *["optim.lr=1e39"] * broken, seed=seed)

    monkeypatch.setattr(lab, "train", often_diverging)
    m = json.loads(json.dumps(CLAIM.measure(lab), allow_nan=False))
    assert m["diverged"] == {"linear": 1, "polar": 3, "net": 3}
    assert m["accuracy"]["polar"] == [50] * 3
    assert m["accuracy"]["linear"][1:] == measured["accuracy"]["linear"][1:]
    assert m["loss"]["linear"][0] == math.log(2)
    assert [f.verdict for f in CLAIM.judge(m)][3:] == ["does not hold"] * 2
    assert [row[-1] for row in CLAIM.draw(m)[1].rows] == [1, 3, 3]


def test_the_polar_boundary_is_where_both_classes_are_as_likely():
    classifier, _ = Lab().assemble("data=rings", "model=softmax", "preprocess=polar")
    with torch.no_grad():
        classifier.model.scores.weight.normal_(generator=torch.Generator().manual_seed(1))
        curve = torch.tensor(polar_boundary(classifier))
        scores = classifier.model(curve)
    assert len(curve) > 10
    assert (curve[:, 0] >= 0).all()
    torch.testing.assert_close(scores[:, 0], scores[:, 1], atol=1e-4, rtol=0)


def test_a_classifier_that_does_not_heed_the_radius_has_no_boundary_to_draw():
    classifier, _ = Lab().assemble("data=rings", "model=softmax", "preprocess=polar")
    with torch.no_grad():
        classifier.model.scores.weight.zero_()
    assert polar_boundary(classifier) == []
