import re

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lecture4.byhand.functional import output_size
from lecture4.byhand.functional.windows import Windows, memory_format, pair

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


@settings(max_examples=400, deadline=None, derandomize=True)
@given(sides, kernels, strides, paddings, st.integers(1, 4))
def test_a_dilated_window_counts_as_its_reach(n, kernel_size, stride, padding, dilation):
    reach = dilation * (kernel_size - 1) + 1
    positions = count_positions(n, reach, stride, padding)
    if positions:
        assert output_size(n, kernel_size, stride, padding, dilation=dilation) == positions
    else:
        with pytest.raises(ValueError, match="larger than its padded input") as caught:
            output_size(n, kernel_size, stride, padding, dilation=dilation)
        message = str(caught.value)
        assert (f"dilation={dilation} reaches over {reach} pixels" in message) == (dilation > 1)
        largest = int(re.search(r"kernel_size ≤ (\d+)", message)[1])
        smallest = int(re.search(r"padding ≥ (\d+)", message)[1])
        assert output_size(n, largest, stride, padding, dilation=dilation) >= 1
        assert output_size(n, kernel_size, stride, smallest, dilation=dilation) >= 1
        for f, p in ((largest + 1, padding), (kernel_size, smallest - 1)):
            with pytest.raises(ValueError, match="larger than"):
                output_size(n, f, stride, p, dilation=dilation)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(sides, kernels, strides, paddings, st.integers(1, 4), st.booleans())
def test_rounding_up_is_that_of_torchs_pooling(n, kernel_size, stride, padding, dilation, ceil):
    padding = min(padding, kernel_size // 2)
    assume(dilation * (kernel_size - 1) + 1 <= n + 2 * padding)
    maps = F.max_pool2d(
        torch.zeros(1, 1, n, 1),
        (kernel_size, 1),
        (stride, 1),
        (padding, 0),
        (dilation, 1),
        ceil_mode=ceil,
    )
    size = output_size(n, kernel_size, stride, padding, dilation=dilation, ceil_mode=ceil)
    assert size == maps.shape[2]


def test_the_sides_of_a_size():
    assert pair(3) == pair((3, 3)) == pair([3]) == pair((3,)) == pair(torch.Size([3, 3])) == (3, 3)
    assert pair((3, 5)) == pair([3, 5]) == (3, 5)


@pytest.mark.parametrize(
    "size", [(1, 2, 3), (), "33", "same", 2.0, (1, 2.0), True, (1, True), None]
)
def test_an_invalid_size_is_refused(size):
    with pytest.raises(ValueError, match="a size must be a whole number or two") as caught:
        pair(size)
    assert repr(size) in str(caught.value)


@st.composite
def windows_over_maps(draw):
    """Settings of windows that fit a map."""
    kernel_size = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    stride, dilation, padding = (
        (draw(st.integers(low, 3)), draw(st.integers(low, 3))) for low in (1, 1, 0)
    )
    map_size = tuple(
        max(1, d * (f - 1) + 1 - 2 * p) + draw(st.integers(0, 4))
        for f, p, d in zip(kernel_size, padding, dilation, strict=True)
    )
    return map_size, kernel_size, stride, padding, dilation, draw(st.booleans())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(windows_over_maps())
def test_cells_meet_the_pixels_under_the_window_at_each_position(case):
    map_size, kernel_size, stride, padding, dilation, ceil_mode = case
    windows = Windows.over(map_size, kernel_size, stride, padding, dilation, ceil_mode)
    pixels = torch.arange(map_size[0] * map_size[1]).view(1, 1, *map_size)
    padded = windows.padded(pixels, -1)
    met = {(a, e): padded[index][0, 0] for a, e, index in windows.cells()}
    assert len(met) == kernel_size[0] * kernel_size[1]
    for (a, e), numbers in met.items():
        assert numbers.shape == windows.size
        for i in range(windows.size[0]):
            for j in range(windows.size[1]):
                row = stride[0] * i + dilation[0] * a - padding[0]
                column = stride[1] * j + dilation[1] * e - padding[1]
                inside = 0 <= row < map_size[0] and 0 <= column < map_size[1]
                assert numbers[i, j] == (row * map_size[1] + column if inside else -1)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(windows_over_maps())
def test_what_is_cropped_is_what_was_padded(case):
    maps = torch.randn(2, 3, *case[0])
    windows = Windows.over(*case)
    padded = windows.padded(maps, 7)
    assert torch.equal(windows.cropped(padded), maps)
    assert padded.sum().item() == pytest.approx(
        maps.sum().item() + 7 * (padded.numel() - maps.numel()), rel=1e-4, abs=1e-3
    )
    zeros = windows.zeros(maps)
    assert zeros.shape == padded.shape
    assert (zeros == 0).all()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(*[st.integers(1, 9)] * 2, *[st.integers(1, 5)] * 2, *[st.integers(1, 3)] * 2)
def test_same_keeps_the_size_and_an_odd_cell_goes_to_the_right_and_bottom(h, w, f, g, d, e):
    windows = Windows.over((h, w), (f, g), 1, "same", (d, e))
    left, right, top, bottom = windows.borders
    assert windows.size == (h, w)
    assert (top + bottom, left + right) == (d * (f - 1), e * (g - 1))
    assert 0 <= bottom - top <= 1
    assert 0 <= right - left <= 1


def test_valid_is_no_padding():
    assert Windows.over((5, 6), 3, 1, "valid") == Windows.over((5, 6), 3, 1, 0)
    assert Windows.over((5, 6), 3, 1, 0).borders == (0, 0, 0, 0)


def test_borders_and_size_by_hand():
    """Rows: (6 + 2·1 − 3)/2 + 1 = 3.5, so 4 windows; the last ends at 2·3 + 3 = 9 of 8.

    Columns: (6 + 0 − 3)/3 + 1 = 2 windows, which end at 6.
    """
    windows = Windows.over((6, 6), 3, (2, 3), (1, 0), ceil_mode=True)
    assert windows.size == (4, 2)
    assert windows.borders == (0, 0, 1, 2)


@pytest.mark.parametrize("stride", [2, (1, 2), (2, 1)])
def test_same_is_refused_where_the_stride_shrinks_maps(stride):
    with pytest.raises(ValueError, match="padding='same' keeps the size of a map at stride=1"):
        Windows.over((5, 5), 3, stride, "same")


def test_an_unknown_word_for_padding_is_refused():
    with pytest.raises(ValueError, match="'foo'"):
        Windows.over((5, 5), 3, 1, "foo")


def test_padded_maps_and_zeros_lie_as_the_maps_do():
    windows = Windows.over((5, 4), 3, 1, 1)
    maps = torch.randn(2, 3, 5, 4)
    last = maps.to(memory_format=torch.channels_last)
    assert windows.zeros(maps).is_contiguous()
    assert windows.zeros(last).is_contiguous(memory_format=torch.channels_last)
    assert memory_format(maps) == memory_format(maps.transpose(2, 3)) == torch.contiguous_format
    assert memory_format(last) == torch.channels_last
    assert memory_format(torch.randn(2, 1, 5, 4)) == torch.contiguous_format  # both at once
    assert windows.zeros(maps.to(torch.bfloat16)).dtype == torch.float32  # to sum up in
