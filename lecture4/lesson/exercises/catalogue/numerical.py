"""Mistakes in gradients by finite differences."""

import torch

from lecture4.byhand.numerical import gradient
from lecture4.lesson.exercises.catalogue.mistake import mistake


@mistake("gradient", "The difference is taken on one side of x.")
def one_sided_difference(f, x, h=1e-5):
    """(f(x + h) − f(x)) / h: an error of O(h), not O(h²)."""
    return _differences(x, lambda e: (f(x + h * e) - f(x)) / h)


@mistake("gradient", "The two points are not as far apart as the denominator says.")
def divided_by_h(f, x, h=1e-5):
    """(f(x + h) − f(x − h)) / h."""
    return 2 * gradient(f, x, h)


@mistake("gradient", "The slope has the wrong sign.")
def difference_the_wrong_way_round(f, x, h=1e-5):
    """(f(x − h) − f(x + h)) / 2h."""
    return -gradient(f, x, h)


@mistake("gradient", "The function changes the point at which it differentiates.")
def x_not_restored(f, x, h=1e-5):
    """Leave x − h behind each difference, so that the next one is taken elsewhere."""
    g = torch.zeros_like(x)
    for i in range(x.numel()):
        x.view(-1)[i] += h
        ahead = f(x)
        x.view(-1)[i] -= 2 * h
        g.view(-1)[i] = (ahead - f(x)) / (2 * h)
    return g


@mistake("gradient", "All numbers of x move at the same time.")
def all_numbers_moved(f, x, h=1e-5):
    """The slope along (1, 1, …) for each number."""
    return _differences(x, lambda e: (f(x + h) - f(x - h)) / (2 * h))


def _differences(x, slope):
    """The slope along each unit vector e."""
    units = torch.eye(x.numel(), dtype=x.dtype)
    return torch.stack([torch.as_tensor(slope(e.view_as(x))) for e in units]).view_as(x)
