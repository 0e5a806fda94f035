import re

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from lecture4.ops import output_size

sides = st.integers(1, 40)
kernels = st.integers(1, 12)
strides = st.integers(1, 7)
paddings = st.integers(0, 6)


def count_positions(n, kernel_size, stride, padding):
    """Slide the window and count."""
    start, positions = -padding, 0
    while start + kernel_size <= n + padding:
        positions += 1
        start += stride
    return positions


@settings(max_examples=400, deadline=None)
@given(sides, kernels, strides, paddings)
def test_counts_window_positions(n, kernel_size, stride, padding):
    positions = count_positions(n, kernel_size, stride, padding)
    if positions:
        assert output_size(n, kernel_size, stride, padding) == positions
    else:
        with pytest.raises(ValueError, match="larger than its padded input"):
            output_size(n, kernel_size, stride, padding)


@settings(max_examples=200, deadline=None)
@given(sides, kernels, strides, paddings)
def test_agrees_with_torch(n, kernel_size, stride, padding):
    assume(kernel_size <= n + 2 * padding)
    image, weight = torch.zeros(1, 1, n, 20), torch.zeros(1, 1, kernel_size, 1)
    maps = F.conv2d(image, weight, stride=(stride, 1), padding=(padding, 0))
    assert output_size(n, kernel_size, stride, padding) == maps.shape[2]


@pytest.mark.parametrize(
    ("arguments", "size"),
    [((32, 3, 1, 1), 32), ((32, 5), 28), ((7, 3, 2), 3), ((227, 11, 4), 55), ((32, 2, 2), 16)],
)
def test_known_sizes(arguments, size):
    assert output_size(*arguments, strict=True) == size


@settings(max_examples=200, deadline=None)
@given(sides, kernels, strides, paddings)
def test_strict_refuses_exactly_what_leaves_a_rest(n, kernel_size, stride, padding):
    assume(kernel_size <= n + 2 * padding)
    last_start = (count_positions(n, kernel_size, stride, padding) - 1) * stride - padding
    if last_start + kernel_size == n + padding:
        assert output_size(n, kernel_size, stride, padding, strict=True) == output_size(
            n, kernel_size, stride, padding
        )
    else:
        with pytest.raises(ValueError, match="not a whole number"):
            output_size(n, kernel_size, stride, padding, strict=True)


@settings(max_examples=400, deadline=None)
@given(sides, kernels, strides, paddings)
def test_every_strict_suggestion_works(n, kernel_size, stride, padding):
    given_settings = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    assume(kernel_size <= n + 2 * padding)
    assume((n + 2 * padding - kernel_size) % stride)
    with pytest.raises(ValueError, match="not a whole number") as caught:
        output_size(n, **given_settings, strict=True)
    message = str(caught.value)
    exact = (n + 2 * padding - kernel_size) / stride + 1
    assert f"({n} + 2·{padding} − {kernel_size})/{stride} + 1 = {exact:g}" in message
    suggestions = re.findall(r"(kernel_size|stride|padding)=(\d+)", message.partition("use")[2])
    assert "kernel_size" in dict(suggestions)
    assert "stride" in dict(suggestions)
    for name, value in suggestions:
        output_size(n, **given_settings | {name: int(value)}, strict=True)
        nearer = range(
            max(given_settings[name] - abs(int(value) - given_settings[name]) + 1, 1),
            given_settings[name] + abs(int(value) - given_settings[name]),
        )
        for candidate in nearer:
            trial = given_settings | {name: candidate}
            if name != "stride" and 2 * trial["padding"] > trial["kernel_size"]:
                continue  # a window could see padding alone: torch refuses to pool so
            with pytest.raises(ValueError, match=r"not a whole number|larger than"):
                output_size(n, **trial, strict=True)


def test_no_stride_is_the_kernels_own_as_in_pooling():
    assert output_size(8, 3, None) == output_size(8, 3, 3) == 2


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 12), st.integers(1, 30), strides, paddings)
def test_every_suggestion_for_a_large_kernel_works_and_is_tight(n, kernel_size, stride, padding):
    assume(kernel_size > n + 2 * padding)
    with pytest.raises(ValueError, match="larger than its padded input") as caught:
        output_size(n, kernel_size, stride, padding)
    message = str(caught.value)
    assert f"kernel_size={kernel_size} " in message
    assert f"{n} + 2·{padding} = {n + 2 * padding}" in message
    largest = int(re.search(r"kernel_size ≤ (\d+)", message)[1])
    smallest = int(re.search(r"padding ≥ (\d+)", message)[1])
    assert output_size(n, largest, stride, padding) >= 1
    assert output_size(n, kernel_size, stride, smallest) >= 1
    with pytest.raises(ValueError, match="larger than"):
        output_size(n, largest + 1, stride, padding)
    with pytest.raises(ValueError, match="larger than"):
        output_size(n, kernel_size, stride, smallest - 1)


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", True])
@pytest.mark.parametrize("name", ["n", "kernel_size", "stride"])
def test_refuses_values_below_one_and_no_numbers(name, value):
    shown = "input size" if name == "n" else name
    with pytest.raises(ValueError, match=f"{shown} must be a whole number ≥ 1, not {value!r}"):
        output_size(**{"n": 8, "kernel_size": 3, name: value})


@pytest.mark.parametrize("value", [-1, 0.5, "1", None, False])
def test_refuses_wrong_padding(value):
    with pytest.raises(ValueError, match=f"padding must be a whole number ≥ 0, not {value!r}"):
        output_size(8, 3, padding=value)
