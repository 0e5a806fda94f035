"""Convolution arithmetic: how large is the map that a sliding window leaves?"""


def output_size(
    n: int, kernel_size: int, stride: int | None = 1, padding: int = 0, strict: bool = False
) -> int:
    """Number of positions of a window along one side: ⌊(N + 2P − F) / S⌋ + 1.

    N is the side in pixels, F = ``kernel_size``, S = ``stride`` (None: F, as torch's pooling has
    it), P = ``padding`` on each border.
    Torch rounds down when the window does not tile the padded side; ``strict=True`` refuses.

    Raises:
        ValueError: a setting is out of range, the window is larger than the padded side, or
            ``strict`` and the size is not whole. Says which nearby settings work.

    Source: the lecture, "Dimension"; Dumoulin & Visin 2016, arXiv:1603.07285, relationship 6.
    """
    for name, value, smallest in (
        ("input size", n, 1),
        ("kernel_size", kernel_size, 1),
        ("stride", kernel_size if stride is None else stride, 1),
        ("padding", padding, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
            raise ValueError(f"{name} must be a whole number ≥ {smallest}, not {value!r}")
    step = kernel_size if stride is None else stride
    room = n + 2 * padding - kernel_size
    if room < 0:
        raise ValueError(
            f"kernel_size={kernel_size} is larger than its padded input {n} + 2·{padding} = "
            f"{n + 2 * padding}; use kernel_size ≤ {n + 2 * padding} or "
            f"padding ≥ {-((n - kernel_size) // 2)}"
        )
    if strict and room % step:
        raise ValueError(
            f"({n} + 2·{padding} − {kernel_size})/{step} + 1 = {room / step + 1:g} "
            f"is not a whole number; use {_nearest_whole(n, kernel_size, stride, padding)}"
        )
    return room // step + 1


def _nearest_whole(n: int, kernel_size: int, stride: int | None, padding: int) -> str:
    """For each setting by itself, the value nearest to today's that makes the size whole."""

    def fits(f: int, s: int | None, p: int) -> bool:
        room = n + 2 * p - f
        return room >= 0 and 2 * p <= f and room % (f if s is None else s) == 0

    padded = n + 2 * padding
    step = kernel_size if stride is None else stride
    found = {
        "kernel_size": [f for f in range(1, padded + 1) if fits(f, stride, padding)],
        "padding": [p for p in range(kernel_size) if fits(kernel_size, stride, p)],
        "stride": [s for s in range(1, padded + 1) if (padded - kernel_size) % s == 0],
    }
    today = {"kernel_size": kernel_size, "padding": padding, "stride": step}
    return " or ".join(
        f"{name}={min(values, key=lambda value: abs(value - today[name]))}"
        for name, values in found.items()
        if values
    )
