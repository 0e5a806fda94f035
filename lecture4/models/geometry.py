"""The geometry of a ConvNet: the size of a map after a sliding window, pooling, sums."""

from collections.abc import Sequence
from types import ModuleType

from torch import nn

from lecture4.byhand.functional.windows import Size, output_size, pair
from lecture4.support.places import located

POOLS = {"max": "MaxPool2d", "avg": "AvgPool2d"}


def window_map(
    map_size: Sequence[int], kernel_size: Size, stride: Size | None, padding: Size, strict: bool
) -> list[int]:
    """(H', W') after a window slid over a map (H, W), each side ⌊(N + 2P − F)/S⌋ + 1.

    Raises:
        ValueError: as ``output_size``; names the side, if height and width differ.
    """
    strides = (None, None) if stride is None else pair(stride)
    sides = list(zip(map_size, pair(kernel_size), strides, pair(padding), strict=True))
    if sides[0] == sides[1]:
        return [output_size(*sides[0], strict)] * 2
    after = []
    for name, side in zip(("height", "width"), sides, strict=True):
        with located(name):
            after.append(output_size(*side, strict))
    return after


def check_sum(before: Sequence[int], after: Sequence[int]) -> None:
    """Refuse to add maps (C, H, W) of different shapes, the input and output of a block.

    Raises:
        ValueError: they differ; names both shapes.
    """
    if tuple(before) != tuple(after):
        raise ValueError(
            f"residual adds the input (C, H, W) = {tuple(before)} to an output of the same shape, "
            f"not {tuple(after)}; use channels={before[0]}, stride=1, padding=(F − 1)/2 and no pool"
        )


def make_pool(
    layers: ModuleType,
    kernel_size: Size = 2,
    stride: Size | None = None,
    padding: Size = 0,
    kind: str = "max",
) -> nn.Module:
    """The pooling layer of ``layers`` with these settings; ``kind`` is max or avg.

    Raises:
        ValueError: the kind is unknown, or a window could see padding alone.
    """
    if kind not in POOLS:
        raise ValueError(f"kind={kind} is unknown; choose one of {', '.join(POOLS)}")
    window, border = pair(kernel_size), pair(padding)
    if any(2 * p > f for p, f in zip(border, window, strict=True)):
        raise ValueError(
            f"padding={padding} is more than half of kernel_size={kernel_size}, so that a window "
            f"could see padding alone; use padding ≤ {min(window) // 2}"
        )
    return getattr(layers, POOLS[kind])(
        window, pair(kernel_size if stride is None else stride), border
    )
