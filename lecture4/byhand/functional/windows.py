"""Sliding windows: along each side a window fits (N + 2P − F)/S + 1 times.

N is the side of the map in pixels, F the window's, P the padding on each border and S the stride.
Used by convolution and pooling. Source: the lecture, "Dimension".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch.nn.functional import pad

from lecture4.byhand.functional._torch_options import at_least_float32

Size = int | Sequence[int]  # for height and width, or one for each
Sizes = tuple[int, int]


def output_size(
    n: int,
    kernel_size: int,
    stride: int | None = 1,
    padding: int = 0,
    strict: bool = False,
    *,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """Number of positions of a window along one side: ⌊(N + 2P − F)/S⌋ + 1.

    Args:
        n: N, the side in pixels.
        kernel_size: F.
        stride: S; None is F, as in torch's pooling.
        padding: P, on each border.
        strict: refuse a window that does not tile the padded side, instead of rounding down.
        dilation: D; the window spans D(F − 1) + 1 pixels in place of F.
        ceil_mode: round up, so that a last window may extend beyond the padded side, but not start
            beyond the image and the padding before it.

    Raises:
        ValueError: a setting is out of range, the window is larger than the padded side, or
            ``strict`` and the size is not whole. Names the nearest settings that work.

    Source: the lecture, "Dimension"; Dumoulin & Visin 2016, arXiv:1603.07285, relationships 6, 15.
    """
    n = _whole("input size", n, 1)
    kernel_size, dilation = _whole("kernel_size", kernel_size, 1), _whole("dilation", dilation, 1)
    stride = None if stride is None else _whole("stride", stride, 1)
    padding = _whole("padding", padding, 0)
    s, p = kernel_size if stride is None else stride, padding
    f = dilation * (kernel_size - 1) + 1

    size = (n + 2 * p - f) // s + 1

    if ceil_mode and (n + 2 * p - f) % s and size * s < n + p:
        size += 1
    _check_fit(size, strict, n, kernel_size, stride, padding, dilation)
    return size


def pair(size: Size, name: str = "a size") -> Sizes:
    """A size for height and width: 3 -> (3, 3), [3, 5] -> (3, 5).

    Raises:
        ValueError: ``size`` is neither a whole number nor two of them.
    """
    sides = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else (size,)
    sides = sides * 2 if len(sides) == 1 else sides
    if len(sides) != 2 or not all(is_whole(side) for side in sides):
        raise ValueError(f"{name} must be a whole number or two of them, not {size!r}")
    return int(sides[0]), int(sides[1])


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, NumPy's included; true and false are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _whole(name: str, value: int, smallest: int) -> int:
    if not is_whole(value) or value < smallest:
        raise ValueError(f"{name} must be a whole number ≥ {smallest}, not {value!r}")
    return int(value)


@dataclass(frozen=True)
class Windows:
    """The positions of a window over maps (N, C, H, W), and the pixels under it at each position.

    Attributes:
        map_size: H and W.
        kernel_size: F, for height and width, as are the next two.
        stride: S.
        dilation: D.
        borders: cells around the map, at its left, right, top and bottom (as torch's pad has them).
        size: H' and W', the number of positions.
    """

    map_size: Sizes
    kernel_size: Sizes
    stride: Sizes
    dilation: Sizes
    borders: tuple[int, int, int, int]
    size: Sizes

    @classmethod
    def over(
        cls,
        map_size: Sequence[int],
        kernel_size: Size,
        stride: Size | None,
        padding: Size | str,
        dilation: Size = 1,
        ceil_mode: bool = False,
    ) -> "Windows":
        """Windows over a map of size (H, W); settings and errors as in ``output_size``.

        ``padding`` may also be ``valid``, which is 0, or ``same``, which keeps the size of the map;
        an odd one goes to the right and the bottom.
        """
        kernel_size, dilation = pair(kernel_size, "kernel_size"), pair(dilation, "dilation")
        stride = kernel_size if stride is None else pair(stride, "stride")
        same = padding == "same"
        if same and stride != (1, 1):
            raise ValueError(f"padding='same' keeps the size of a map at stride=1, not {stride}")
        if same:
            padding = [d * (f - 1) // 2 for f, d in zip(kernel_size, dilation, strict=True)]
        padding = pair(0 if padding == "valid" else padding, "padding")  # type: ignore[arg-type]
        sizes, beyond = [], []
        for n, f, s, p, d in zip(map_size, kernel_size, stride, padding, dilation, strict=True):
            sizes.append(n if same else output_size(n, f, s, p, dilation=d, ceil_mode=ceil_mode))
            end = s * (sizes[-1] - 1) + d * (f - 1) + 1  # of the last window
            beyond.append(max(0, end - (n + 2 * p)))  # by ceil_mode, or same with an even kernel
        borders = (padding[1], padding[1] + beyond[1], padding[0], padding[0] + beyond[0])
        return cls(pair(map_size), kernel_size, stride, dilation, borders, pair(sizes))

    def cells(self) -> Iterator[tuple[int, int, tuple]]:
        """Each cell (a, e) of the window, and the index of its pixels in padded maps.

        Cell a of the window at position i lies on row S·i + D·a, so over all H' positions it meets
        rows D·a, D·a + S, …, D·a + S(H' − 1); and likewise columns.
        """
        for a in range(self.kernel_size[0]):
            for e in range(self.kernel_size[1]):
                rows, columns = (
                    slice(d * cell, d * cell + s * (size - 1) + 1, s)
                    for cell, s, d, size in zip(
                        (a, e), self.stride, self.dilation, self.size, strict=True
                    )
                )
                yield a, e, (..., rows, columns)

    def padded(self, x: torch.Tensor, value: float = 0.0) -> torch.Tensor:
        """Maps with their borders."""
        return pad(x, self.borders, value=value) if any(self.borders) else x

    def zeros(self, maps: torch.Tensor) -> torch.Tensor:
        """Padded maps of zeros to accumulate in, with N, C and memory format of ``maps``."""
        left, right, top, bottom = self.borders
        size = self.map_size[0] + top + bottom, self.map_size[1] + left + right
        dtype = at_least_float32(maps[:0]).dtype
        shape, layout = (*maps.shape[:2], *size), memory_format(maps)
        return torch.empty(shape, dtype=dtype, device=maps.device, memory_format=layout).zero_()

    def cropped(self, padded: torch.Tensor) -> torch.Tensor:
        """Padded maps without their borders."""
        left, right, top, bottom = self.borders
        return padded[..., top : padded.shape[-2] - bottom, left : padded.shape[-1] - right]


def memory_format(maps: torch.Tensor) -> torch.memory_format:
    """The memory format of maps: ``channels_last``, or else contiguous."""
    last = maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _check_fit(
    size: int,
    strict: bool,
    n: int,
    kernel_size: int,
    stride: int | None,
    padding: int,
    dilation: int,
) -> None:
    if size < 1:
        raise ValueError(_too_large(n, kernel_size, padding, dilation))
    step = kernel_size if stride is None else stride
    reach = dilation * (kernel_size - 1) + 1
    if strict and (n + 2 * padding - reach) % step:
        raise ValueError(
            f"({n} + 2·{padding} − {reach})/{step} + 1 = {(n + 2 * padding - reach) / step + 1:g} "
            f"is not a whole number; use "
            f"{_nearest_whole(n, kernel_size, stride, padding, dilation)}"
        )


def _too_large(n: int, kernel_size: int, padding: int, dilation: int) -> str:
    padded = n + 2 * padding
    reach = dilation * (kernel_size - 1) + 1
    dilated = f" with dilation={dilation} reaches over {reach} pixels and" if dilation > 1 else ""
    return (
        f"kernel_size={kernel_size}{dilated} is larger than its padded input {n} + 2·{padding} = "
        f"{padded}; use kernel_size ≤ {(padded - 1) // dilation + 1} or "
        f"padding ≥ {-((n - reach) // 2)}"
    )


def _nearest_whole(
    n: int, kernel_size: int, stride: int | None, padding: int, dilation: int
) -> str:
    """For each setting by itself, the nearest value that makes the size whole."""

    def fits(f: int, s: int | None, p: int) -> bool:
        reach = dilation * (f - 1) + 1
        room = n + 2 * p - reach
        return room >= 0 and 2 * p <= reach and room % (f if s is None else s) == 0

    padded, reach = n + 2 * padding, dilation * (kernel_size - 1) + 1
    step = kernel_size if stride is None else stride
    found = {
        "kernel_size": [f for f in range(1, padded + 1) if fits(f, stride, padding)],
        "padding": [p for p in range(kernel_size) if fits(kernel_size, stride, p)],
        "stride": [s for s in range(1, padded + 1) if (padded - reach) % s == 0],
    }
    given = {"kernel_size": kernel_size, "padding": padding, "stride": step}
    return " or ".join(
        f"{name}={min(values, key=lambda value: abs(value - given[name]))}"
        for name, values in found.items()
        if values
    )
