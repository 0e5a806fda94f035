import base64
import io

import pytest
import torch
from PIL import Image

from lecture4.lesson.lab import png


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
