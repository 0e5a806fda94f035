"""Views of an image at test time, against a loop over padded images."""

import pytest
import torch
from torch.nn import functional as F

from lecture4.data.views import check_views, score_views

SHAPE = (3, 7, 5)


@pytest.fixture
def images():
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (4, *SHAPE), generator=draw, dtype=torch.uint8)


def score(images):
    """Scores that no mirroring or shift leaves as they are."""
    draw = torch.Generator().manual_seed(1)
    weights = torch.randn(3 * 7 * 5, 6, generator=draw, dtype=torch.float64)
    return torch.tanh(images.flatten(1).double() @ weights / 1000)


def published(images, shifts: dict[int, float]):
    """Σ weight · mean over the image and its mirror image, cut out of an image padded by one."""
    padded = F.pad(images.double(), (1, 1, 1, 1), mode="reflect")
    total = 0
    for start, weight in shifts.items():
        view = padded[:, :, start : start + 7, start : start + 5]
        total = total + weight * (score(view) + score(view.flip(3))) / 2
    return total


@pytest.mark.parametrize(
    ("test_time", "shifts"), [("mirror", {1: 1.0}), ("crops", {0: 0.25, 1: 0.5, 2: 0.25})]
)
def test_the_published_mean(images, test_time, shifts):
    plain, mean = score_views(score, images, test_time)
    assert torch.equal(plain, score(images))
    torch.testing.assert_close(mean, published(images, shifts), atol=1e-14, rtol=0)
    assert (mean - plain).abs().max() > 0.1


@pytest.mark.parametrize(("test_time", "number"), [("none", 1), ("mirror", 2), ("crops", 6)])
def test_no_view_is_scored_twice(images, test_time, number):
    seen = []
    score_views(lambda view: seen.append(view) or score(view), images, test_time)
    assert len(seen) == len({view.numpy().tobytes() for view in seen}) == number
    assert {view.dtype for view in seen} == {torch.uint8}


def test_none_takes_any_inputs():
    points = torch.randn(5, 2)
    assert torch.equal(score_views(lambda x: 2 * x, points, "none")[1], 2 * points)


def test_scores_are_summed_in_float32(images):
    _, mean = score_views(lambda x: score(x).bfloat16(), images, "crops")
    assert mean.dtype == torch.float32
    expected = score_views(lambda x: score(x).bfloat16().double(), images, "crops")[1]
    torch.testing.assert_close(mean.double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(2,), (3, 1, 8)])
@pytest.mark.parametrize("test_time", ["mirror", "crops"])
def test_views_need_images(shape, test_time):
    with pytest.raises(ValueError, match=f"test_time={test_time} needs images"):
        check_views(test_time, shape)
    check_views("none", shape)
    check_views(test_time, (1, 2, 2))
