import pytest

from lecture4.lesson.lab import (
    add_chance,
    add_curves,
    add_line,
    add_points,
    figure,
    lines,
    mean_curve,
    panels,
    percent,
    spread,
)
from lecture4.lesson.lab.plots import COLOURS


def test_a_curve_is_the_mean_of_the_seeds_between_lowest_and_highest():
    drawn = figure("epoch", "loss", log_y=True)
    add_curves(drawn, [1, 2], [[1.0, 4.0], [3.0, 2.0]], "sgd", 1)
    band, line = drawn.data
    assert list(line.y) == [2.0, 3.0]
    assert list(band.x) == [1, 2, 2, 1]
    assert list(band.y) == [3.0, 4.0, 2.0, 1.0]
    assert (line.name, band.showlegend) == ("sgd", False)
    assert drawn.layout.xaxis.title.text == "epoch"
    assert drawn.layout.yaxis.type == "log"


def test_the_mean_of_curves_is_taken_at_each_point():
    assert mean_curve([[1.0, 4.0], [3.0, 2.0]]) == [2.0, 3.0]


def test_lines_and_points_have_the_colour_of_their_number():
    drawn = figure()
    add_line(drawn, range(2), (1.0, 2.0), "law", 1, "dash", mode="lines+markers")
    add_points(drawn, [0, 1], [1.5, None], "measured", 8, 5, showlegend=False)
    line, points = drawn.data
    assert (line.mode, line.name, line.line.color, line.line.dash) == (
        "lines+markers", "law", COLOURS[1], "dash",
    )  # fmt: skip
    assert (points.mode, points.marker.color, points.marker.size) == ("markers", COLOURS[0], 5)
    assert (points.y, points.showlegend) == ((1.5, None), False)


def test_chance_is_a_line_at_its_accuracy():
    drawn = figure()
    add_chance(drawn, 10.0)
    (line,) = drawn.layout.shapes
    assert (line.y0, line.y1, line.line.dash) == (10.0, 10.0, "dot")
    assert drawn.layout.annotations[0].text == "chance"


def test_one_seed_has_no_band():
    drawn = figure()
    add_curves(drawn, [1, 2], [[1.0, 4.0]], "sgd")
    assert len(drawn.data) == 1


def test_panels_are_figures_side_by_side():
    made = panels(2, 1, ["above", "below"], height=500, vertical_spacing=0.2, shared_xaxes=True)
    assert [a.text for a in made.layout.annotations] == ["above", "below"]
    assert made.layout.height == 500
    assert made.layout.yaxis.domain[0] - made.layout.yaxis2.domain[1] == pytest.approx(0.2)


def test_a_spread_names_mean_lowest_and_highest():
    assert spread([1.0, 2.0, 6.0]) == "3.0 (1.0–6.0)"
    assert spread([0.1231, 0.1244], 3) == "0.124 (0.123–0.124)"


def test_lines_are_a_plot_with_its_ends_in_words():
    series = {"SGD": [[1.0, 4.0], [3.0, 2.0]], "Adam": [[2.0, 2.5]]}
    plot = lines([1, 10], series, x="step", y="loss", log="x", caption="Two seeds.", height=300)
    assert [trace.name for trace in plot.figure.data if trace.name] == ["SGD", "Adam"]
    assert plot.alt == "loss against step: SGD from 2.0 to 3.0; Adam from 2.0 to 2.5."
    assert plot.caption == "Two seeds."
    assert (plot.figure.layout.xaxis.type, plot.figure.layout.yaxis.type) == ("log", None)
    assert plot.figure.layout.height == 300
    assert not plot.figure.layout.shapes
    own = lines([1, 10], series, x="", y="", chance=0.1, caption="", alt="Words.")
    assert own.alt == "Words."
    assert own.figure.layout.shapes[0].y0 == 10


def test_fractions_become_percent_however_deep_they_lie():
    assert percent(0.5) == 50
    assert percent([[0.1, 0.2], (0.25,)]) == [[10, 20], [25]]
