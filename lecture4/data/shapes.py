"""Drawn shapes: ten classes of images generated from a seed, offline, in a second or two."""

import math

import torch

from lecture4.data.dataset import Dataset
from lecture4.data.randomness import generator

SIDE = 32  # pixels


def make_shapes(train_size: int = 10_000, test_size: int = 2_000, seed: int = 0) -> Dataset:
    """Draw uint8 images (N, 3, 32, 32) of one shape each, the classes balanced.

    Position, size, rotation, colours, lighting and noise vary independently of the class, so a
    single pixel carries little information: a linear classifier reaches about 33 % test accuracy, a
    ConvNet about 100 %.

    Args:
        train_size: number of training images.
        test_size: number of test images.
        seed: of the generator; the same seed gives the same images.

    Raises:
        ValueError: a size is less than the number of classes.
    """
    if min(train_size, test_size) < len(SHAPES):
        raise ValueError(
            f"train_size={train_size} and test_size={test_size} must each be at least "
            f"{len(SHAPES)}, one image per class"
        )
    stream = int.from_bytes(b"shapes")
    train = _draw(train_size, generator(stream, seed, 0))
    test = _draw(test_size, generator(stream, seed, 1))
    source = {"name": "shapes", "train_size": train_size, "test_size": test_size, "seed": seed}
    return Dataset(list(SHAPES), *train, *test, source)


def _draw(n: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % len(SHAPES)
    images = torch.empty(n, 3, SIDE, SIDE, dtype=torch.uint8)
    for k, inside in enumerate(SHAPES.values()):
        of_class = (labels == k).nonzero().squeeze(1)
        images[of_class] = _paint(len(of_class), inside, draw)
    return images, labels


def _paint(n: int, inside, draw: torch.Generator) -> torch.Tensor:
    def between(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, *shape, 1, 1, generator=draw)

    # Coordinates (u, v) of each pixel in the frame of the shape, where it fills [−1, 1]².
    radius, angle = between(8, 13), between(0, 2 * math.pi)  # (N, 1, 1)
    centre_x, centre_y = between(-0.8, 0.8), between(-0.8, 0.8)
    room = SIDE / 2 - radius
    pixel = torch.arange(SIDE) + 0.5 - SIDE / 2
    x, y = pixel - centre_x * room, pixel[:, None] - centre_y * room  # (N, 1, W), (N, H, 1)
    u = (x * angle.cos() + y * angle.sin()) / radius  # (N, H, W)
    v = (y * angle.cos() - x * angle.sin()) / radius
    depth = inside(u, v) * radius  # distance from the edge in pixels, positive inside
    cover = (depth + 0.5).clamp(0, 1)[:, None]  # (N, 1, H, W), anti-aliased

    back, fore = between(0, 0.6, 3), between(0.3, 1, 3)  # (N, 3, 1, 1)
    fore = torch.maximum(fore, back + between(0, 0.2, 3) + 0.2)  # visible in every channel
    light = (between(-0.15, 0.15, 1) * pixel + between(-0.15, 0.15, 1) * pixel[:, None]) / 16
    image = torch.lerp(back, fore, cover) + light
    image += between(0.02, 0.1, 1) * torch.randn(image.shape, generator=draw)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def _polygon(u: torch.Tensor, v: torch.Tensor, sides: int, radius: float) -> torch.Tensor:
    sector = 2 * math.pi / sides
    angle = torch.remainder(torch.atan2(v, u) + sector / 2, sector) - sector / 2
    return radius * math.cos(sector / 2) - torch.hypot(u, v) * angle.cos()


def _box(u: torch.Tensor, v: torch.Tensor, half_width: float, half_height: float) -> torch.Tensor:
    return torch.minimum(half_width - u.abs(), half_height - v.abs())


def _star(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    sector = 2 * math.pi / 5
    angle = torch.remainder(torch.atan2(v, u), sector) - sector / 2
    r = torch.hypot(u, v)
    # The edge runs from the tip (1, ±36°) to the notch (0.4, 0°) of each sector.
    tip_x, tip_y = math.cos(sector / 2), math.sin(sector / 2)
    edge_x, edge_y = tip_x - 0.4, tip_y
    cross = edge_x * (r * angle.sin().abs()) - edge_y * (r * angle.cos() - 0.4)
    return cross / math.hypot(edge_x, edge_y)


# Depth below the edge at (u, v), in units of the radius: positive inside, negative outside.
SHAPES = {
    "disc": lambda u, v: 0.9 - torch.hypot(u, v),
    "ring": lambda u, v: 0.2 - (torch.hypot(u, v) - 0.75).abs(),
    "crescent": lambda u, v: torch.minimum(
        0.95 - torch.hypot(u, v), torch.hypot(u - 0.45, v) - 0.75
    ),
    "half disc": lambda u, v: torch.minimum(0.95 - torch.hypot(u, v), -u),
    "triangle": lambda u, v: _polygon(u, v, 3, 1.0),
    "square": lambda u, v: _box(u, v, 0.7, 0.7),
    "frame": lambda u, v: torch.minimum(_box(u, v, 0.75, 0.75), -_box(u, v, 0.4, 0.4)),
    "bar": lambda u, v: _box(u, v, 1.0, 0.25),
    "cross": lambda u, v: torch.maximum(_box(u, v, 0.95, 0.25), _box(u, v, 0.25, 0.95)),
    "star": _star,
}
