"""Convolution arithmetic: how large is the map that a sliding window leaves?"""


def output_size(
    n: int, kernel_size: int, stride: int = 1, padding: int = 0, strict: bool = False
) -> int:
    """Number of positions of a window along one side: ⌊(N + 2P − F) / S⌋ + 1.

    N is the side in pixels, F = ``kernel_size``, S = ``stride``, P = ``padding`` on each border.
    Torch rounds down when the window does not tile the padded side; ``strict=True`` refuses.

    Raises:
        ValueError: a setting is out of range, the window is larger than the padded side, or
            ``strict`` and the size is not whole. Says which nearby settings work.

    Source: the lecture, "Dimension"; Dumoulin & Visin 2016, arXiv:1603.07285, relationship 6.
    """
    for name, value, smallest in (
        ("input size", n, 1),
        ("kernel_size", kernel_size, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
            raise ValueError(f"{name} must be a whole number ≥ {smallest}, not {value!r}")
    room = n + 2 * padding - kernel_size
    if room < 0:
        raise ValueError(
            f"kernel_size={kernel_size} is larger than its padded input {n} + 2·{padding} = "
            f"{n + 2 * padding}; use kernel_size ≤ {n + 2 * padding} or "
            f"padding ≥ {-((n - kernel_size) // 2)}"
        )
    if strict and room % stride:
        raise ValueError(
            f"({n} + 2·{padding} − {kernel_size})/{stride} + 1 = {room / stride + 1:g} "
            f"is not a whole number; use {_nearest_whole(n, kernel_size, stride, padding)}"
        )
    return room // stride + 1


def _nearest_whole(n: int, kernel_size: int, stride: int, padding: int) -> str:
    """For each setting by itself, the value nearest to today's that makes the size whole."""

    def nearest(today: int, candidates: range, fits) -> int | None:
        return min(filter(fits, candidates), key=lambda value: abs(value - today), default=None)

    padded = n + 2 * padding
    fits = {
        "kernel_size": nearest(
            kernel_size, range(1, padded + 1), lambda f: (padded - f) % stride == 0
        ),
        "padding": nearest(
            padding,
            range(kernel_size),
            lambda p: n + 2 * p >= kernel_size and (n + 2 * p - kernel_size) % stride == 0,
        ),
        "stride": nearest(stride, range(1, padded + 1), lambda s: (padded - kernel_size) % s == 0),
    }
    return " or ".join(f"{name}={value}" for name, value in fits.items() if value is not None)
