"""Test-time augmentation: the mean score of several views of an image.

``mirror``  s̄ = ½ s(x) + ½ s(mirrored x)
``crops``   s̄ = ½ m(x) + ¼ m(x shifted up and left) + ¼ m(x shifted down and right), m as ``mirror``

Shifts are by one pixel, with the border filled by reflection.

Source: Jordan 2024, arXiv:2404.00498, and airbench94_muon.py of github.com/KellerJordan/
cifar10-airbench, where scores are averaged with these weights, too, not probabilities.
"""

from collections.abc import Callable, Sequence

import torch

TEST_TIMES = ("none", "mirror", "crops")


def check_views(test_time: str, input_shape: Sequence[int]) -> None:
    """Refuse views of inputs that are not images.

    Raises:
        ValueError: ``test_time`` needs images (C, H, W), for ``crops`` of at least 2×2 pixels.
    """
    if test_time != "none" and (len(input_shape) != 3 or min(input_shape[1:]) < 2):
        raise ValueError(
            f"test_time={test_time} needs images (C, H, W), not inputs of shape "
            f"{tuple(input_shape)}; use test_time=none"
        )


def score_views(
    score: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, test_time: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of images as they are, and the weighted mean over their views, (N, K) each.

    Args:
        score: images (N, C, H, W) -> scores (N, K).
        images: any dtype; for ``none`` any inputs (N, ...).
        test_time: one of ``TEST_TIMES``.
    """

    def scored(view: torch.Tensor) -> torch.Tensor:
        scores = score(view)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))  # before sums

    plain = scored(images)
    if test_time == "none":
        return plain, plain
    mean = (plain + scored(images.flip(-1))) / 2
    if test_time == "crops":
        views = _shifted(images, 1), _shifted(images, -1)
        shifted = sum(scored(view) + scored(view.flip(-1)) for view in views) / 4
        mean = (mean + shifted) / 2
    return plain, mean


def _shifted(images: torch.Tensor, by: int) -> torch.Tensor:
    """Shift images (N, C, H, W) up and left by ``by`` pixels, filled by reflection."""
    for dim in (-2, -1):
        last = images.shape[dim] - 1
        places = torch.arange(last + 1, device=images.device) + by
        images = images.index_select(dim, last - (last - places.abs()).abs())
    return images
