"""Mistakes in pooling by maximum and by mean."""

import math

import torch
from torch.nn.functional import pad

from lecture4.byhand.functional import avg_pool2d, max_pool2d
from lecture4.byhand.functional.windows import Windows
from lecture4.lesson.exercises.catalogue.mistake import mistake, with_backward


def _pooled(pool, input, *settings):
    """The windows, and their maxima or means."""
    return Windows.over(input.shape[2:], *settings), pool(input, *settings)


def _corners(windows):
    """Each window as a slice of padded maps, with its position."""
    (f, g), (s, t) = windows.kernel_size, windows.stride
    for i in range(windows.size[0]):
        for j in range(windows.size[1]):
            yield i, j, (..., slice(s * i, s * i + f), slice(t * j, t * j + g))


def _one_hot_maximum(window):
    """1 at the first maximum of each window (N, C, F, F), else 0."""
    cells = window.flatten(2)
    return torch.zeros_like(cells).scatter(2, cells.argmax(2, keepdim=True), 1).view_as(window)


@mistake("max_pool2d", "A pixel keeps the gradient of a single window, though several contain it.")
def assignment_in_pooling(input, kernel_size, stride=None, padding=0):
    """Assign ∂L/∂x (=) instead of adding to it (+=) where windows overlap: the last one wins.

    Layers below learn from a part of their gradient, and may learn as well.
    """
    windows, y = _pooled(max_pool2d, input, kernel_size, stride, padding)

    def backward(dy):
        padded, dx, left = windows.padded(input, -math.inf), windows.zeros(dy), dy
        for _, _, pixels in windows.cells():
            first = (padded[pixels] == y) & (left != 0)
            dx[pixels] = left * first  # should be +=
            left = left * ~first
        return windows.cropped(dx)

    return with_backward(y, (input,), backward)


@mistake("max_pool2d", "A pixel keeps the gradient of a single window, though several contain it.")
def pooling_windows_that_overwrite(input, kernel_size, stride=None, padding=0):
    """Assign the gradient of each window (=): the last window that contains a pixel wins."""
    windows, y = _pooled(max_pool2d, input, kernel_size, stride, padding)

    def backward(dy):
        padded, dx = windows.padded(input, -math.inf), windows.zeros(dy)
        for i, j, pixels in _corners(windows):
            dx[pixels] = _one_hot_maximum(padded[pixels]) * dy[:, :, i, j, None, None]
        return windows.cropped(dx)

    return with_backward(y, (input,), backward)


@mistake("max_pool2d", "A pixel that is the maximum of several windows keeps the gradient of one.")
def pooling_maxima_that_overwrite(input, kernel_size, stride=None, padding=0):
    """Assign the gradient of each window's maximum (=), and leave its other pixels."""
    windows, y = _pooled(max_pool2d, input, kernel_size, stride, padding)

    def backward(dy):
        padded, dx = windows.padded(input, -math.inf), windows.zeros(dy)
        for i, j, pixels in _corners(windows):
            largest = _one_hot_maximum(padded[pixels])
            dx[pixels] = torch.where(largest > 0, dy[:, :, i, j, None, None], dx[pixels])
        return windows.cropped(dx)

    return with_backward(y, (input,), backward)


@mistake("max_pool2d", "Where a window has several maxima, it passes on more than it received.")
def tie_sent_to_every_maximum(input, kernel_size, stride=None, padding=0):
    """∂L/∂x_k += ∂L/∂y for each k with x_k = y."""
    windows, y = _pooled(max_pool2d, input, kernel_size, stride, padding)

    def backward(dy):
        padded, dx = windows.padded(input, -math.inf), windows.zeros(dy)
        for _, _, pixels in windows.cells():
            dx[pixels] += dy * (padded[pixels] == y)
        return windows.cropped(dx)

    return with_backward(y, (input,), backward)


@mistake("max_pool2d", "Pixels that are not the maximum receive a gradient.")
def gradient_to_the_whole_window(input, kernel_size, stride=None, padding=0):
    """∂L/∂x_k += ∂L/∂y for each k."""
    windows, y = _pooled(max_pool2d, input, kernel_size, stride, padding)
    return with_backward(y, (input,), lambda dy: _spread(dy, windows))


@mistake("max_pool2d", "The backward pass is that of mean pooling.")
def maximum_with_the_gradient_of_the_mean(input, kernel_size, stride=None, padding=0):
    """∂L/∂x_k += ∂L/∂y / n for each k."""
    windows, y = _pooled(max_pool2d, input, kernel_size, stride, padding)
    n = math.prod(windows.kernel_size)
    return with_backward(y, (input,), lambda dy: _spread(dy / n, windows))


def _spread(dy, windows):
    """∂L/∂x, where each pixel receives ∂L/∂y of every window that contains it."""
    dx = windows.zeros(dy)
    for _, _, pixels in windows.cells():
        dx[pixels] += dy
    return windows.cropped(dx)


@mistake("max_pool2d", "The padding takes part in the maximum.", alone=True)
def maximum_padded_with_zeros(input, kernel_size, stride=None, padding=0):
    """Pad with 0 in place of −∞, which wins over negative numbers."""
    return max_pool2d(pad(input, [padding] * 4), kernel_size, stride)


@mistake(
    "max_pool2d", "The search for the maximum begins at a number that may be too large.", alone=True
)
def maximum_from_zero(input, kernel_size, stride=None, padding=0):
    """max(0, x₁, x₂, …)."""
    return max_pool2d(input, kernel_size, stride, padding).clamp(min=0)


@mistake("max_pool2d", "Large negative numbers win.", alone=True)
def maximum_of_absolute_values(input, kernel_size, stride=None, padding=0):
    """max |x|."""
    return max_pool2d(input.abs(), kernel_size, stride, padding)


@mistake("max_pool2d", "The windows lie side by side, for any stride.")
def max_pool_stride_ignored(input, kernel_size, stride=None, padding=0):
    """S = F."""
    return max_pool2d(input, kernel_size, kernel_size, padding)


@mistake("max_pool2d", "The last window is missing, at the right and at the bottom.")
def last_window_missing(input, kernel_size, stride=None, padding=0):
    """H′ = (H − F)/S, without + 1."""
    return max_pool2d(input, kernel_size, stride, padding)[:, :, :-1, :-1]


@mistake("max_pool2d", "The windows are not reduced to their largest number.", alone=True)
def mean_in_place_of_the_maximum(input, kernel_size, stride=None, padding=0):
    """The mean of each window."""
    return avg_pool2d(input, kernel_size, stride, padding)


@mistake("avg_pool2d", "The backward pass is not divided by what the forward pass divides by.")
def mean_gradient_not_divided(input, kernel_size, stride=None, padding=0):
    """∂L/∂x_k += ∂L/∂y, without 1/n."""
    windows, y = _pooled(avg_pool2d, input, kernel_size, stride, padding)
    return with_backward(y, (input,), lambda dy: _spread(dy, windows))


@mistake("avg_pool2d", "A pixel keeps the gradient of a single window, though several contain it.")
def assignment_in_mean_pooling(input, kernel_size, stride=None, padding=0):
    """Assign ∂L/∂x (=) instead of adding to it (+=), cell by cell."""
    windows, y = _pooled(avg_pool2d, input, kernel_size, stride, padding)

    def backward(dy):
        dx = windows.zeros(dy)
        for _, _, pixels in windows.cells():
            dx[pixels] = dy / math.prod(windows.kernel_size)
        return windows.cropped(dx)

    return with_backward(y, (input,), backward)


@mistake("avg_pool2d", "A pixel keeps the gradient of a single window, though several contain it.")
def mean_windows_that_overwrite(input, kernel_size, stride=None, padding=0):
    """Assign ∂L/∂x (=) instead of adding to it (+=), window by window."""
    windows, y = _pooled(avg_pool2d, input, kernel_size, stride, padding)

    def backward(dy):
        dx = windows.zeros(dy)
        for i, j, pixels in _corners(windows):
            dx[pixels] = dy[:, :, i, j, None, None] / math.prod(windows.kernel_size)
        return windows.cropped(dx)

    return with_backward(y, (input,), backward)


@mistake("avg_pool2d", "The zeros of the padding do not count in the mean.", alone=True)
def padding_not_counted(input, kernel_size, stride=None, padding=0):
    """Divide by the number of pixels in the window, without the padding."""
    return avg_pool2d(input, kernel_size, stride, padding, count_include_pad=False)


@mistake("avg_pool2d", "The windows are summed.", alone=True)
def sum_in_place_of_the_window_mean(input, kernel_size, stride=None, padding=0):
    """Σₖ x_k, without 1/n."""
    return avg_pool2d(input, kernel_size, stride, padding, divisor_override=1)


@mistake("avg_pool2d", "The windows lie side by side, for any stride.")
def avg_pool_stride_ignored(input, kernel_size, stride=None, padding=0):
    """S = F."""
    return avg_pool2d(input, kernel_size, kernel_size, padding)


@mistake("avg_pool2d", "The windows are not reduced to their mean.", alone=True)
def maximum_in_place_of_the_mean(input, kernel_size, stride=None, padding=0):
    """The largest number of each window."""
    return max_pool2d(input, kernel_size, stride, padding)
