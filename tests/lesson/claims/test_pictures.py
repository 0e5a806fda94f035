import base64
import io

import numpy as np
import torch
from PIL import Image

from lecture4.lesson.claims import pictures


def decoded(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_grey_is_zero_and_black_is_no_answer():
    weights = torch.tensor([[-2.0, 0, 1], [0.0, 0.5, 1]]).view(2, 3, 1, 1)
    assert pictures.grey(weights).flatten(1).tolist() == [[0, 128, 191], [128, 191, 255]]
    maps = torch.tensor([[[0.0, 1.0], [-1.0, 4.0]], [[0.0, 0.0], [0.0, 1.0]]])
    shown = pictures.bright(maps)
    assert shown.shape == (2, 3, 2, 2)
    assert shown[:, 2].tolist() == [[[0, 64], [0, 255]], [[0, 0], [0, 255]]]


def test_a_mosaic_keeps_every_picture():
    made = torch.arange(12, dtype=torch.uint8).view(4, 3, 1, 1).expand(-1, -1, 2, 2)
    tiles = decoded(pictures.mosaic(made))
    assert tiles.shape == (5, 5, 4)
    assert tiles[::3, ::3, :3].reshape(4, 3).tolist() == np.arange(12).reshape(4, 3).tolist()
    assert tiles[[0, 2], :, 3].tolist() == [[255, 255, 0, 255, 255], [0] * 5]  # opaque, or not
    enlarged = pictures.enlarged(made, 3)
    assert enlarged.shape == (4, 3, 6, 6)
    assert enlarged[3, 2].unique().tolist() == [11]


def test_pictures_lie_in_rows_of_two_under_their_titles():
    figure = pictures.side_by_side({"a": "data:1", "b": "data:2", "c": "data:3"}, 300)
    assert [trace.source for trace in figure.data] == ["data:1", "data:2", "data:3"]
    assert [trace.xaxis for trace in figure.data] == ["x", "x2", "x3"]
    assert [note.text for note in figure.layout.annotations] == ["a", "b", "c"]
    assert figure.layout.yaxis.domain == figure.layout.yaxis2.domain
