"""Cases of layers and losses: small, of fixed seeds, about a dozen for each function.

No input lies near a kink of ReLU or a maximum, unless its label says so. Scores of ±1e4 in float32
lie far apart: their logarithms round to 6e-4, so close ones would tell apart right formulas.
"""

from collections.abc import Iterable
from typing import Any

import torch

from lecture4.lesson.exercises.case import F32, F64, Case, distinct, labels, make, normal


def linear() -> Iterable[Case]:
    """Rows (N, D), weight (K, D) and bias (K,)."""

    def case(words: str, n: int, d: int, k: int, seed: int, dtype: torch.dtype = F64) -> Case:
        x, w = normal(n, d, seed=seed, dtype=dtype), normal(k, d, seed=seed + 1, dtype=dtype)
        b = normal(k, seed=seed + 2, dtype=dtype)
        return make(words, {"input": x, "weight": w, "bias": b})

    yield case("4 examples, 5 inputs, 3 scores", 4, 5, 3, 0)
    yield case("4 examples, 5 inputs, 3 scores", 4, 5, 3, 0, F32)
    yield case("batch of 1", 1, 5, 3, 10)
    yield case("batch of 1", 1, 5, 3, 10, F32)
    yield case("square weight", 6, 4, 4, 20)
    yield case("square weight", 6, 4, 4, 20, F32)
    yield case("as many examples as inputs and scores", 3, 3, 3, 30)
    yield case("one input", 4, 1, 3, 40)
    yield case("one score", 4, 5, 1, 50)
    yield case("one of everything", 1, 1, 1, 60)
    yield case("40 inputs", 3, 40, 2, 70, F32)


def elementwise(*options: dict[str, Any], kink: bool = False) -> Iterable[Case]:
    """Cases of an activation function; a value alone is compared at a kink in 0."""
    shapes = {"a row": (7,), "4×5": (4, 5), "batch of 1": (1, 6), "maps": (2, 3, 4, 5)}
    for words, shape in shapes.items():
        for dtype in (F64, F32):
            yield make(words, {"input": distinct(*shape, seed=len(shape), dtype=dtype)})
    for dtype in (F64, F32):
        large = torch.tensor([[1e4, -1e4, 30, -30], [100, -100, 0.5, -0.5]], dtype=dtype)
        yield make("±1e4", {"input": large})
    zeros = torch.tensor([0.0, -1.0, 2.0, 0.0], dtype=F64)
    yield make("zeros", {"input": zeros}, wrt=() if kink else None)
    for option in options:
        (name, value), *_ = option.items()
        words = f"{name} {value}"
        yield make(words, {"input": distinct(4, 5), **option})
        yield make(words, {"input": distinct(2, 3, 2, 2, dtype=F32), **option})


def softmax() -> Iterable[Case]:
    """Scores, with the classes in dimension 1 unless the label says so."""
    last = {"dim": 1}, frozenset({"dim"})

    def case(words: str, s: torch.Tensor, dim: dict = last[0], **options: Any) -> Case:
        return make(words, {"input": s, **dim}, **options)

    for dtype in (F64, F32):
        yield case("4 examples, 3 classes", normal(4, 3, dtype=dtype), implied=last[1])
        yield case("batch of 1", normal(1, 5, seed=1, dtype=dtype), implied=last[1])
        large = torch.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4 + 2000, 1e4]], dtype=dtype)
        yield case("±1e4", large, implied=last[1])
    yield case("as many examples as classes", normal(3, 3, seed=2), implied=last[1])
    close = torch.tensor([[1e4, 1e4 - 1], [-1e4, -1e4 + 2], [3, 3]], dtype=F64)
    yield case("±1e4, close to each other", close, implied=last[1])
    yield case("one class", normal(4, 1, seed=3), implied=last[1])
    yield case("equal scores", torch.full((2, 4), 2.0, dtype=F64), implied=last[1])
    yield case("50 classes", 3 * normal(3, 50, seed=4), implied=last[1])
    yield case("dim 0", normal(4, 3, seed=5), {"dim": 0}, optional=True)
    yield case("dim −1 of three", normal(2, 3, 4, seed=6), {"dim": -1}, optional=True)
    yield case("dim 1 of three", normal(2, 3, 4, seed=7), {"dim": 1}, optional=True)


def losses(log_p: bool) -> Iterable[Case]:
    """Cases of ``cross_entropy``; with ``log_p`` those of ``nll_loss``."""

    def case(words: str, s: torch.Tensor, seed: int = 0, **more: Any) -> Case:
        options = {"optional": True} if more else {}
        y = labels(len(s), s.shape[1], seed)
        s = s.log_softmax(1) if log_p else s
        return make(words, {"input": s, "target": y, **more}, **options)

    for dtype in (F64, F32):
        yield case("6 examples, 4 classes", normal(6, 4, dtype=dtype))
        yield case("batch of 1", normal(1, 5, seed=1, dtype=dtype))
        large = torch.tensor([[1e4, -1e4, 0], [-1e4, 0, 1e4], [0, 1e4, -1e4]], dtype=dtype)
        yield case("±1e4", large, seed=3)
    yield case("as many examples as classes", normal(4, 4, seed=2), seed=1)
    yield case("two classes", 2 * normal(5, 2, seed=3))
    yield case("20 examples", normal(20, 3, seed=4), seed=2)
    yield case("equal scores", torch.full((2, 4), 2.0, dtype=F64))
    yield case("sum", normal(5, 4, seed=5), reduction="sum")
    yield case("each example's loss", normal(5, 4, seed=6, dtype=F32), reduction="none")
    if not log_p:
        yield case("label smoothing 0.2", normal(5, 4, seed=7), label_smoothing=0.2)
        yield case("label smoothing 0.1", normal(1, 6, seed=8, dtype=F32), label_smoothing=0.1)


def conv2d() -> Iterable[Case]:
    """Maps, filters, bias, stride and padding."""

    def case(
        words: str, x: tuple, w: tuple, s: int = 1, p: int = 0, dtype: torch.dtype = F64
    ) -> Case:
        seed = sum(x) + sum(w)
        maps, filters = normal(*x, seed=seed, dtype=dtype), normal(*w, seed=seed + 1, dtype=dtype)
        b = normal(w[0], seed=seed + 2, dtype=dtype)
        words = f"{words}, {x[2]}×{x[3]} pixels, stride {s}, padding {p}"
        return make(words, {"input": maps, "weight": filters, "bias": b, "stride": s, "padding": p})

    yield case("3×3 filter", (2, 3, 5, 5), (4, 3, 3, 3))
    yield case("3×3 filter", (2, 3, 5, 5), (4, 3, 3, 3), dtype=F32)
    yield case("batch of 1", (1, 1, 4, 4), (1, 1, 3, 3))
    yield case("non-square map", (2, 2, 5, 7), (3, 2, 3, 3))
    yield case("non-square filter", (2, 2, 5, 6), (3, 2, 2, 3))
    yield case("as many filters as channels", (2, 3, 5, 5), (3, 3, 3, 3), p=1)
    yield case("non-square map", (2, 2, 5, 7), (3, 2, 3, 3), p=1, dtype=F32)
    yield case("side by side", (2, 2, 6, 4), (3, 2, 2, 2), s=2)
    yield case("overlapping windows", (2, 2, 7, 5), (3, 2, 3, 3), s=2)
    yield case("overlapping windows", (2, 2, 5, 7), (2, 2, 3, 3), s=2, p=1, dtype=F32)
    yield case("does not tile", (1, 2, 6, 8), (3, 2, 3, 3), s=2)
    yield case("does not tile", (2, 1, 8, 7), (2, 1, 3, 3), s=3, p=1)
    yield case("1×1 filter", (2, 3, 3, 4), (2, 3, 1, 1))


def pooling(mean: bool) -> Iterable[Case]:
    """Maps and windows; with padding only where a function has it."""

    def case(
        words: str, x: tuple, f: int, s: int, p: int = 0, dtype: torch.dtype = F64, **options: Any
    ) -> Case:
        maps = options.pop("maps", distinct(*x, seed=sum(x), dtype=dtype))
        arguments = {"input": maps, "kernel_size": f, "stride": s}
        arguments |= {"padding": p} if p else {}
        words = f"{words}, {x[2]}×{x[3]} pixels, window {f}, stride {s}" + (
            f", padding {p}" if p else ""
        )
        return make(words, arguments, optional=p > 0, **options)

    yield case("side by side", (2, 3, 4, 4), 2, 2)
    yield case("side by side", (2, 3, 4, 4), 2, 2, dtype=F32)
    yield case("batch of 1", (1, 1, 4, 6), 2, 2)
    yield case("non-square map", (2, 2, 6, 4), 2, 2)
    yield case("overlapping windows", (2, 2, 5, 5), 3, 2)
    yield case("overlapping windows, non-square map", (2, 1, 5, 7), 3, 2, dtype=F32)
    yield case("overlapping windows", (1, 2, 4, 5), 2, 1)
    yield case("does not tile", (2, 2, 5, 7), 2, 2)
    yield case("does not tile", (1, 2, 7, 6), 3, 3, dtype=F32)
    yield case("gaps between windows", (1, 2, 5, 8), 2, 3)
    below = distinct(2, 2, 4, 4) - 10
    yield case("negative numbers", (2, 2, 4, 4), 2, 2, maps=below)
    yield case("padding", (2, 2, 5, 6), 3, 2, 1)
    yield case("padding, negative numbers", (2, 2, 4, 4), 2, 2, 1, maps=below)
    if not mean:
        equal = torch.tensor([[1, 3, 2, 2], [3, 0, 2, 2]], dtype=F64).expand(1, 2, 2, 4)
        yield case("ties", (1, 2, 2, 4), 2, 2, maps=equal.clone(), ties=True)
        relu = distinct(2, 2, 4, 4, seed=9).clamp(min=0)
        yield case("ties of zeros after ReLU", (2, 2, 4, 4), 2, 2, maps=relu, ties=True)


def batch_norm() -> Iterable[Case]:
    """Rows (N, C) and maps (N, C, H, W), in training and evaluation."""

    def case(
        words: str,
        x: tuple,
        training: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
        dtype: torch.dtype = F64,
    ) -> Case:
        c, seed = x[1], sum(x)
        scale = torch.linspace(0.5, 2, c).view(-1, *[1] * (len(x) - 2))
        maps = (normal(*x, seed=seed) * scale + torch.linspace(-1, 1, c).view_as(scale)).to(dtype)
        words = f"{words}, {'training' if training else 'evaluation'}"
        words += f", momentum {momentum}" if momentum != 0.1 else ""
        words += f", eps {eps}" if eps != 1e-5 else ""
        arguments = {
            "input": maps,
            "running_mean": normal(c, seed=seed + 1, dtype=dtype) / 2,
            "running_var": normal(c, seed=seed + 2, dtype=dtype).square() + 0.5,
            "weight": normal(c, seed=seed + 3, dtype=dtype) + 1.5,
            "bias": normal(c, seed=seed + 4, dtype=dtype),
            "training": training,
            "momentum": momentum,
            "eps": eps,
        }
        return make(words, arguments)

    for training in (True, False):
        yield case("rows", (6, 3), training)
        yield case("rows", (6, 3), training, dtype=F32)
        yield case("maps", (3, 2, 4, 5), training)
        yield case("maps", (3, 2, 4, 5), training, dtype=F32)
        yield case("batch of 1, maps", (1, 3, 3, 4), training)
        yield case("rows", (5, 4), training, eps=0.3)
        yield case("as many examples as channels, rows", (4, 4), training)
    yield case("rows", (4, 3), momentum=0.4)
    yield case("maps", (2, 3, 3, 2), momentum=0.25, eps=0.2)
    yield case("one channel, rows", (8, 1), momentum=0.9)


def dropout() -> Iterable[Case]:
    """Many numbers away from 0."""
    for p, dtype in ((0.25, F64), (0.5, F32), (0.8, F64)):
        x = normal(20, 4000, dtype=dtype).abs() + 0.5
        yield make(f"training, p {p}", {"input": x, "p": p, "training": True})
        yield make(f"evaluation, p {p}", {"input": x, "p": p, "training": False})
    maps = normal(10, 8, 30, 30, seed=1).abs() + 0.5
    yield make("maps, training, p 0.3", {"input": maps, "p": 0.3, "training": True})
    yield make("training, p 0.0", {"input": maps, "p": 0.0, "training": True})


def flatten() -> Iterable[Case]:
    """Maps and rows; a function that leaves ``start_dim`` out stretches from dimension 1 on."""
    implied = {"implied": frozenset({"start_dim"})}
    for dtype in (F64, F32):
        x = distinct(2, 3, 4, 5, dtype=dtype)
        yield make("maps, start_dim 1", {"input": x, "start_dim": 1}, **implied)
    maps, rows = distinct(1, 2, 3, 3), distinct(3, 4)
    yield make("batch of 1, start_dim 1", {"input": maps, "start_dim": 1}, **implied)
    yield make("rows, start_dim 1", {"input": rows, "start_dim": 1}, **implied)
    yield make("start_dim 0", {"input": distinct(2, 3, 2), "start_dim": 0}, optional=True)
    partial = {"input": distinct(2, 3, 4, 5), "start_dim": 1, "end_dim": 2}
    yield make("start_dim 1, end_dim 2", partial, optional=True)


def information(*names: str) -> Iterable[Case]:
    """Cases of ``entropy`` of p, or of a measure of p and q; zeros have no finite gradient."""

    def case(words: str, *shape: int, seed: int = 0, dtype: torch.dtype = F64, **more: Any) -> Case:
        given = {n: normal(*shape, seed=seed + i).softmax(-1) for i, n in enumerate(names)}
        given = {n: p.to(dtype) for n, p in given.items()}
        return make(words, {**given, **more}, optional=bool(more))

    for dtype in (F64, F32):
        yield case("one distribution", 4, dtype=dtype)
        yield case("3 distributions, 5 outcomes", 3, 5, seed=2, dtype=dtype)
    yield case("batch of 1", 1, 3, seed=4)
    yield case("two outcomes", 4, 2, seed=6)
    yield case("2×3 distributions, 4 outcomes", 2, 3, 4, seed=8)
    yield case("base 2", 3, 5, seed=10, base=2.0)
    yield case("base 10", 2, 4, seed=12, dtype=F32, base=10.0)
    p = torch.tensor([[0, 0.5, 0.5], [1, 0, 0], [0.2, 0.3, 0.5]], dtype=F64)
    q = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.4, 0], [0.2, 0.3, 0.5]], dtype=F64)
    yield make("outcomes of probability 0", dict(zip(names, (p, q), strict=False)), wrt=())
