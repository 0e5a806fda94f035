import base64
import io

import pytest
import torch
from PIL import Image

from lecture4.lesson.lab import add_chance, add_curves, figure, mean_curve, panels, png, spread


def pixels(address):
    head, _, text = address.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_colour_pictures_are_kept_as_they_are():
    image = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    shown = torch.tensor(list(pixels(png(image)).tobytes()), dtype=torch.uint8)
    assert torch.equal(shown.reshape(5, 7, 3).permute(2, 0, 1), image)


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6)])
def test_floats_are_stretched_from_black_to_white(shape):
    image = torch.linspace(-2, 3, 24).reshape(shape)
    shown = list(pixels(png(image)).tobytes())
    assert (shown[0], shown[-1], len(shown)) == (0, 255, 24)
    assert shown == sorted(shown)


def test_a_constant_picture_is_no_division_by_zero():
    assert set(pixels(png(torch.full((3, 3), 0.5))).tobytes()) == {0}


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
