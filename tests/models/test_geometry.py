import pytest
import torch
from torch import nn

from lecture4.byhand import nn as byhand_nn
from lecture4.models.geometry import check_sum, make_pool, window_map


@pytest.mark.parametrize("layers", [nn, byhand_nn])
def test_pool_defaults(layers):
    pool = make_pool(layers)
    assert type(pool) is layers.MaxPool2d
    assert (pool.kernel_size, pool.stride, pool.padding) == ((2, 2), (2, 2), (0, 0))
    assert type(make_pool(layers, kind="avg")) is layers.AvgPool2d


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "min"}, "kind=min is unknown; choose one of max, avg"),
        ({"kernel_size": (4, 2), "padding": 2}, r"more than half of .*\(4, 2\).*padding ≤ 1"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_pool(nn, **settings)


@pytest.mark.parametrize(
    ("window", "expected"),
    [((3, 1, 1), [9, 12]), (((3, 4), (2, 3), 0), [4, 3]), ((2, None, (1, 0)), [5, 6])],
)
def test_the_map_after_a_window_is_torchs(window, expected):
    kernel_size, stride, padding = window
    assert window_map([9, 12], kernel_size, stride, padding, False) == expected
    pooled = nn.functional.max_pool2d(torch.zeros(1, 9, 12), kernel_size, stride, padding)
    assert list(pooled.shape[1:]) == expected


def test_an_error_names_the_side_where_they_differ():
    with pytest.raises(ValueError, match="^width: kernel_size=7 is larger"):
        window_map([9, 4], 7, 1, 0, False)
    with pytest.raises(ValueError, match=r"^\(9 \+ 2·0 − 2\)/2 \+ 1 = 4.5 is not a whole number"):
        window_map([9, 9], 2, 2, 0, True)


def test_maps_of_one_shape_add():
    check_sum((3, 8, 8), [3, 8, 8])
    for after in [(4, 8, 8), (3, 8, 7)]:
        with pytest.raises(
            ValueError, match=r"\(3, 8, 8\) to an output .* use channels=3"
        ) as error:
            check_sum((3, 8, 8), after)
        assert f"not {after}" in str(error.value)
