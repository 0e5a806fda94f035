import copy
import json
import math

import pytest
import torch
from claiming import SmallLab, judged, stored

from lecture4.data import make_rings
from lecture4.lesson.claims import s07_rings as rings
from lecture4.lesson.lab.cache import Cache


class ThreeSeeds(SmallLab):
    """The rings, three trainings of each classifier."""

    def seeds(self, n=3):
        return [0, 1, 2]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    made = ThreeSeeds(images=())
    made.cache = Cache(tmp_path_factory.mktemp("cache"))
    return made


@pytest.fixture(scope="module")
def measured(lab):
    return stored(rings, rings.measure(lab))


@pytest.fixture
def m(measured):
    return copy.deepcopy(measured)


def test_the_claim_holds_on_the_rings(measured):
    found = judged(rings, measured)
    assert {finding.verdict for finding in found.values()} == {"holds"}
    assert [len(finding.values) for finding in found.values()] == [1, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("name", "kind", "change"),
    [
        ("linear (x, y)", "linear, of (x, y)", {"accuracy": [80.0, 81.0, 82.0]}),
        ("linear loss", "linear, of (x, y)", {"loss": [0.6, 0.6, 0.6]}),
        ("linear (r, θ)", "linear, of (r, θ)", {"accuracy": [90.0, 91.0, 92.0]}),
        ("net", "net 2–16–2–2", {"accuracy": [60.0, 60.0, 61.0]}),
    ],
)
def test_another_classifier_is_judged_otherwise(m, name, kind, change):
    vars(m.trained[kind]).update(change)
    wrong = [n for n, finding in judged(rings, m).items() if finding.verdict != "holds"]
    assert wrong == [name]


def test_a_line_that_separates_is_judged_otherwise(m):
    m.way[0].accuracy = 80
    assert judged(rings, m)["best line"].verdict == "does not hold"


def test_what_is_drawn_holds_the_numbers(measured):
    plot, table, widget = rings.draw(measured)
    grids = [t.z for t in plot.figure.data if t.type == "contour"]
    expected = [*(t.plane for t in measured.trained.values()), measured.hidden_plane]
    assert torch.equal(torch.tensor(grids), torch.tensor(expected))
    assert sum(len(t.x) for t in plot.figure.data if t.type == "scatter") == 4 * 400
    for row, trained in zip(table.rows, measured.trained.values(), strict=True):
        low, mean, high = min(trained.accuracy), sum(trained.accuracy) / 3, max(trained.accuracy)
        assert row[2] == f"{mean:.1f} ({low:.1f}–{high:.1f})"
        assert f"{row[0]} {mean:.1f} %" in plot.alt
        assert row[-1] == 0
    assert widget.data["way"][0]["accuracy"] == measured.way[0].accuracy
    drawn = plot.figure.to_json() + json.dumps(widget.data)
    assert len(drawn) < 350_000  # with all digits; the page keeps six


def test_a_plane_has_a_row_for_each_y():
    grid = rings.plane(lambda p: torch.stack([0 * p[:, 0], p[:, 0] + 3 * p[:, 1]], 1), 2.0)
    line = torch.linspace(-2, 2, rings.GRID)
    torch.testing.assert_close(torch.tensor(grid), (line + 3 * line[:, None]).sigmoid())


def test_the_net_boundary_lies_where_its_scores_are_even(measured):
    """Points drawn in the hidden plane are on the sides that the plane's probabilities give."""
    plane, line = torch.tensor(measured.hidden_plane), torch.linspace(-1.1, 1.1, 51)
    points, labels = torch.tensor(measured.hidden), torch.tensor(measured.labels)
    column, row = ((points[:, [i]] - line).abs().argmin(1) for i in (0, 1))
    assert ((plane[row, column] > 0.5) == labels).double().mean() > 0.97


def test_the_best_line_is_found_by_trying_all():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(40, 2, generator=generator)
    labels = (points[:, 0] + 0.8 * torch.randn(40, generator=generator) > 0).long()
    angles = torch.arange(720, dtype=torch.float64) * math.pi / 360  # each has its opposite
    along = points.double() @ torch.stack([angles.cos(), angles.sin()])  # (40, 720)
    right = ((along[:, None] > along) == labels[:, None, None].bool()).sum(0)  # (offset, angle)
    found = rings.best_line(points, labels)
    assert found.accuracy == pytest.approx(100 * right.max().item() / 40)
    normal = torch.tensor([math.cos(found.angle), math.sin(found.angle)])
    share = ((points @ normal > found.offset).long() == labels).double().mean().item()
    assert 100 * max(share, 1 - share) == pytest.approx(found.accuracy)
    assert rings.best_line(points, 1 - labels).accuracy == found.accuracy


def test_the_limit_of_a_line_is_what_many_points_give():
    data = make_rings(40_000, 2)
    best = rings.best_line(data.train_inputs, data.train_labels, directions=8).accuracy
    assert 100 * rings.line_limit() == pytest.approx(best, abs=0.7)
    assert 0.65 < rings.line_limit() < 0.68


def test_trainings_that_diverged_count_as_guessing(monkeypatch, lab, measured):
    words = [*rings.NET, "optim.lr=1e39"]
    monkeypatch.setitem(rings.TRAININGS, "net 2–16–2–2", words)
    m = stored(rings, rings.measure(lab))
    *others, net = m.trained.values()
    assert others == list(measured.trained.values())[:2]
    assert (net.diverged, net.accuracy, net.loss) == (3, [50] * 3, [math.log(2)] * 3)
    assert judged(rings, m)["net"].verdict == "does not hold"
    _, table, _ = rings.draw(m)
    assert [row[-1] for row in table.rows] == [0, 0, 3]


@pytest.fixture
def polar(lab):
    return lab.assemble(*rings.POLAR)[0]


def test_both_classes_are_as_likely_on_the_polar_boundary(polar):
    with torch.no_grad():
        polar.model.scores.weight.normal_(generator=torch.Generator().manual_seed(1))
        curve = torch.tensor(rings.polar_boundary(polar))
        first, second = polar.model(curve).T
    assert len(curve) > 10
    assert (curve[:, 0] >= 0).all()
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)


def test_a_classifier_that_ignores_the_radius_has_no_boundary_to_draw(polar):
    with torch.no_grad():
        polar.model.scores.weight.zero_()
    assert rings.polar_boundary(polar) == []
