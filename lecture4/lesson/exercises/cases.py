"""Cases for each name of the exercises, in the lecture's order."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from lecture4.lesson.exercises import layer_cases as layers
from lecture4.lesson.exercises.case import F32, F64, Case, distinct, make, normal

TWO_GROUPS = "two groups"  # the second at a tenth of the rate, without decay
SCHEDULE = "rate halved after step 10"


def _output_size() -> Iterable[Case]:
    sizes = [
        (32, 5, 1, 0),
        (32, 3, 1, 1),
        (7, 3, 2, 0),
        (8, 2, 2, 0),
        (227, 11, 4, 0),
        (8, 3, 2, 0),
        (32, 5, 1, 2),
        (10, 3, 3, 1),
        (5, 5, 1, 0),
        (4, 3, 2, 1),
        (9, 2, 3, 1),
        (1, 1, 1, 0),
    ]
    for n, f, s, p in sizes:
        tiles = "" if (n + 2 * p - f) % s == 0 else ", does not tile"
        words = f"{n} pixels, window {f}, stride {s}, padding {p}{tiles}"
        yield make(words, {"n": n, "kernel_size": f, "stride": s, "padding": p})


def _penalty() -> Iterable[Case]:
    for dtype in (F64, F32):
        w = [normal(3, 4, dtype=dtype), distinct(2, 3, 3, 3, dtype=dtype)]
        yield make("two weights", {"weights": w})
    yield make("one weight", {"weights": [distinct(4, 5, seed=2)]})
    yield make("one number", {"weights": [torch.tensor([[-1.5]], dtype=F64)]})


def _initialization() -> Iterable[Case]:
    for words, shape in (("square", (400, 400)), ("wide", (150, 600)), ("tall", (600, 150))):
        for dtype in (F64, F32):
            yield make(f"matrix, {words}", {"weight": torch.zeros(shape, dtype=dtype)}, wrt=())
    filters = torch.zeros(80, 40, 5, 5, dtype=F64)
    yield make("filters, 5×5", {"weight": filters}, wrt=())
    yield make("filters, 3×3", {"weight": filters.new_zeros(30, 120, 3, 3)}, wrt=())
    wide = {"weight": filters.new_zeros(300, 500), "gain": 3.0}
    yield make("matrix, gain 3", wide, wrt=(), optional=True)


def _cubes(x: torch.Tensor) -> torch.Tensor:
    """Σ x³, whose central difference is 3x² + h²."""
    return (torch.as_tensor(x) ** 3).sum()


def _exponentials(x: torch.Tensor) -> torch.Tensor:
    """Σ eˣ + Π x."""
    x = torch.as_tensor(x)
    return x.exp().sum() + x.prod()


def _norm(x: torch.Tensor) -> torch.Tensor:
    """½ Σ i xᵢ², with i from 1 on."""
    x = torch.as_tensor(x)
    return (torch.arange(1, x.numel() + 1, dtype=x.dtype) * x.flatten().square()).sum() / 2


def _gradient() -> Iterable[Case]:
    shapes = {"4 numbers": (4,), "2×3": (2, 3), "one number": (1,), "maps": (1, 2, 2, 2)}
    for words, shape in shapes.items():
        for f, of in ((_cubes, "cubes"), (_exponentials, "exponentials"), (_norm, "squares")):
            h = 0.1 if of == "cubes" else 1e-3
            x = normal(*shape, seed=len(shape))
            yield make(f"{of}, {words}, h {h}", {"f": f, "x": x, "h": h}, wrt=())
    x = distinct(2, 3, dtype=F32)
    yield make("cubes, 2×3, h 0.1", {"f": _cubes, "x": x, "h": 0.1}, wrt=())


def _optimizer(*options: dict[str, Any], **always: Any) -> Iterable[Case]:
    """Cases of an optimizer: the constructor's settings; ``answers`` takes 20 steps with each.

    The first of the options are those that every version of the optimizer has.
    """
    for number, option in enumerate(options):
        settings = (f"{key} {value}".replace(", ", "/") for key, value in option.items())
        words = ", ".join(settings) or "defaults"
        optional = number > 0
        yield make(words, {**always, **option}, optional=optional)
        if number < 2:
            yield make(f"{words}, float32", {**always, **option}, optional=optional)
    yield make(TWO_GROUPS, always)
    yield make(f"{TWO_GROUPS}, weight_decay 0.1", {**always, "weight_decay": 0.1}, optional=True)
    yield make(SCHEDULE, always)


_SGD = (
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.8, "dampening": 0.4},
    {"weight_decay": 0.1},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
    {"momentum": 0.9, "maximize": True},
    {"weight_decay": 0.1, "maximize": True},
)
_ADAM = (
    {},
    {"betas": (0.8, 0.95)},
    {"eps": 0.1},
    {"weight_decay": 0.2},
    {"amsgrad": True, "betas": (0.5, 0.6)},
    {"maximize": True},
    {"weight_decay": 0.2, "amsgrad": True, "betas": (0.5, 0.6), "eps": 0.01},
    {"weight_decay": 0.2, "maximize": True},
)
_RMSPROP = ({}, {"alpha": 0.9}, {"eps": 0.1}, {"alpha": 0.5, "eps": 0.01}, {"weight_decay": 0.1})

_MADE: dict[str, Callable[[], Iterable[Case]]] = {
    "linear": layers.linear,
    "softmax": layers.softmax,
    "log_softmax": layers.softmax,
    "entropy": partial(layers.information, "p"),
    "cross_entropy_of": partial(layers.information, "p", "q"),
    "kl_divergence": partial(layers.information, "p", "q"),
    "cross_entropy": partial(layers.losses, log_p=False),
    "nll_loss": partial(layers.losses, log_p=True),
    "gradient": _gradient,
    "l1_penalty": _penalty,
    "l2_penalty": _penalty,
    "relu": partial(layers.elementwise, kink=True),
    "leaky_relu": partial(layers.elementwise, {"negative_slope": 0.2}, kink=True),
    "sigmoid": layers.elementwise,
    "tanh": layers.elementwise,
    "gelu": layers.elementwise,
    "silu": layers.elementwise,
    "output_size": _output_size,
    "conv2d": layers.conv2d,
    "max_pool2d": partial(layers.pooling, mean=False),
    "avg_pool2d": partial(layers.pooling, mean=True),
    "flatten": layers.flatten,
    "xavier": _initialization,
    "he": _initialization,
    "batch_norm": layers.batch_norm,
    "dropout": layers.dropout,
    "SGD": partial(_optimizer, *_SGD, lr=0.1),
    "RMSprop": partial(_optimizer, *_RMSPROP, lr=0.05),
    "Adam": partial(_optimizer, *_ADAM, lr=0.1),
    "AdamW": partial(_optimizer, *_ADAM, lr=0.1),
}
CASES: dict[str, tuple[Case, ...]] = {name: tuple(cases()) for name, cases in _MADE.items()}
OPTIMIZERS = ("SGD", "RMSprop", "Adam", "AdamW")
