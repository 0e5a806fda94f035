"""Convolution arithmetic: (N + 2P − F)/S + 1 against the output sizes of real layers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch.nn import functional

from lecture4.byhand import functional as F
from lecture4.byhand.functional.windows import Windows, output_size
from lecture4.data.randomness import generator
from lecture4.lesson.lab import Finding, Item, Lab, Plot, Table, Widget, add_line, exact, figure
from lecture4.models import layer_rows

TITLE = "Convolution arithmetic"
QUOTE = [
    "Each number - we calculate dot product between filter and 5x5x3 chunk of image -> "
    "$$w^Tx + b$$",
    "If we get 6 such filter, we stack each activation map and got a result of new imge 28x28x6.",
    "In practice: common to zero pad the border.",
    "Dimension: N + 2P - F / stride + 1 (each side)",
]
TEXT = (
    "The number of positions of a window of F pixels on a side of N pixels, with P zeros on "
    "each border and steps of S; the lecture's formula means (N + 2P − F)/S + 1. Real layers round "
    "a fraction down, and the last pixels are then in no window. Every small setting is tried with "
    "convolution and pooling, torch's and by hand."
)
FORMULAS = [
    r"\left\lfloor \frac{N + 2P - F}{S} \right\rfloor + 1",
    r"\frac{32 + 2 \cdot 0 - 5}{1} + 1 = 28",
    r"P = \frac{F - 1}{2},\; S = 1 \;\Rightarrow\; N + 2P - F + 1 = N",
]
CODE = [output_size, Windows, F.conv2d, F.max_pool2d, layer_rows]
EXAMPLES = {  # N, F, S, P
    "the lecture: six 5×5 filters on 32×32×3": (32, 5, 1, 0),
    "the same, zero padded": (32, 5, 1, 2),
    "3×3 filters, zero padded": (32, 3, 1, 1),
    "3×3 filters in steps of two": (32, 3, 2, 1),
    "1×1 filters": (32, 1, 1, 0),
    "pooling 2×2": (28, 2, 2, 0),
    "pooling 2×2 of an odd side": (7, 2, 2, 0),
    "pooling 3×3, overlapping": (7, 3, 2, 0),
    "pooling 3×3, side by side": (7, 3, 3, 0),
    "first layer of ResNet": (224, 7, 2, 3),
    "first layer of AlexNet": (227, 11, 4, 0),
    "the same on 224 pixels": (224, 11, 4, 0),
    "a window too large": (3, 5, 1, 0),
    "a window too large, zero padded": (3, 5, 1, 1),
}


@dataclass
class Sizes:
    """Side of the output by the formula and by layers, torch's and ours; None: refused."""

    formula: int | None
    convolution: list[int | None]
    pooling: list[int | None]  # empty where a window could contain padding only

    @property
    def agree(self) -> bool:
        """Whether the layers have the formula's size."""
        return {self.formula} == {*self.convolution, *self.pooling}


@dataclass
class Measured:
    """Output sizes, and the maps of the lecture's example."""

    shape: list[int]  # of the maps
    difference: float  # largest, between a number of the maps and wᵀx + b
    examples: dict[str, Sizes]
    largest: int  # N of the settings counted
    counts: dict[str, int]
    stacks: dict[str, list[int]]  # sides of the maps after 0, 1, 2, … layers


def measure(lab: Lab) -> Measured:
    """Sizes by the formula and by layers; each number of the lecture's example."""
    lab.note("output sizes by the formula and by real layers")
    maps, chunks = lecture_example(lab.seed)
    largest = lab.pick(10, 20)
    return Measured(
        shape=list(maps.shape),
        difference=(maps - chunks).abs().max().item(),
        examples={name: sizes(*setting) for name, setting in EXAMPLES.items()},
        largest=largest,
        counts=count_settings(largest),
        stacks={f"F = {f}, P = {p}": stack(32, f, p) for f in (3, 5, 7) for p in (0, (f - 1) // 2)},
    )


def lecture_example(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps of six 5×5 filters on 32×32×3, and wᵀx + b of each chunk: both (6, 28, 28)."""
    draw = generator(int.from_bytes(b"filters"), seed)
    x = torch.randn(3, 32, 32, generator=draw, dtype=torch.float64)
    w = torch.randn(6, 3, 5, 5, generator=draw, dtype=torch.float64)
    b = torch.randn(6, generator=draw, dtype=torch.float64)
    chunks = [
        w.flatten(1) @ x[:, i : i + 5, j : j + 5].flatten() + b
        for i, j in product(range(28), repeat=2)
    ]
    return F.conv2d(x[None], w, b)[0], torch.stack(chunks, 1).view(6, 28, 28)


def sizes(n: int, f: int, s: int, p: int, d: int = 1) -> Sizes:
    """Sizes for N×N pixels."""
    x, w = torch.zeros(1, 1, n, n), torch.zeros(1, 1, f, f)
    options = {"stride": s, "padding": p, "dilation": d}
    pools = (functional.max_pool2d, F.max_pool2d)
    return Sizes(
        attempt(output_size, n, f, **options),
        [attempt(conv2d, x, w, **options) for conv2d in (functional.conv2d, F.conv2d)],
        [attempt(max_pool2d, x, f, **options) for max_pool2d in pools if 2 * p <= f],
    )


def attempt(
    operation: Callable, *inputs: Any, stride: int, padding: int, dilation: int
) -> int | None:
    """A size, or the side of the maps that were returned, or None if the setting is refused."""
    try:
        size = operation(*inputs, stride=stride, padding=padding, dilation=dilation)
    except (ValueError, RuntimeError):  # ours, torch's
        return None
    return size if isinstance(size, int) else size.shape[-1]


def count_settings(largest: int) -> dict[str, int]:
    """Try all settings with N ≤ ``largest`` and small F, S, P and dilation."""
    counts = dict.fromkeys(("all", "refused", "rounded", "disagree", "resized"), 0)
    sides = range(1, largest + 1)
    for n, f, s, p, d in product(sides, range(1, 6), range(1, 4), range(3), range(1, 3)):
        found, reach = sizes(n, f, s, p, d), d * (f - 1) + 1
        counts["all"] += 1
        counts["refused"] += found.formula is None
        counts["rounded"] += found.formula is not None and (n + 2 * p - reach) % s > 0
        counts["disagree"] += not found.agree
        counts["resized"] += s == 1 and 2 * p == reach - 1 and found.formula != n
    return counts


def stack(n: int, f: int, p: int, layers: int = 12) -> list[int]:
    """The side of the maps after 0, 1, 2, … convolutions, until one is refused."""
    sides = [n]
    while len(sides) <= layers and (side := sizes(sides[-1], f, 1, p).convolution[1]):
        sides.append(side)
    return sides


def judge(m: Measured) -> Iterator[Finding]:
    """No disagreement is allowed; wᵀx + b must agree to float64's precision."""
    never = {"at_most": 0, "why": "sizes are whole numbers: rounding excuses no deviation"}
    every = f"{m.counts['all']} settings: N ≤ {m.largest}, F ≤ 5, S ≤ 3, P ≤ 2, dilation D ≤ 2"
    yield Finding(
        "28×28×6",
        "sides and depth of the lecture's maps that differ from 28×28×6",
        [sum(a != b for a, b in zip(m.shape, (6, 28, 28), strict=True))],
        **never,
        definition="Maps of six 5×5 filters on 32×32×3.",
    )
    yield exact(
        "dot products",
        "largest difference between a number of these maps and wᵀx + b",
        m.difference,
        at_most=1e-12,
        definition="x: the number's 5×5×3 chunk of the image, so 75 products; in float64.",
    )
    yield Finding(
        "every setting",
        "settings in which a layer's output size differs from the formula's",
        [m.counts["disagree"]],
        **never,
        definition=f"Of {every}; D(F − 1) + 1 replaces F. Convolution and pooling, torch's and by "
        "hand. A setting that only some of them refuse counts, too.",
    )
    yield Finding(
        "padding keeps the size",
        "settings with P = (F − 1)/2 and S = 1 that change the size",
        [m.counts["resized"]],
        **never,
        definition=f"Of {every}.",
    )
    yield Finding(
        "table",
        "rows of the table in which a layer's size differs from the formula's",
        [sum(not found.agree for found in m.examples.values())],
        **never,
    )


def draw(m: Measured) -> Iterator[Item]:
    """The calculator, the table, and the size after many layers."""
    yield Widget(
        "sizes",
        {"n": 32, "f": 5, "s": 1, "p": 0, "d": 1},
        alt="A calculator: enter N, F, S, P and the dilation to see the output size, the windows, "
        "whether they tile the padded side, and similar settings that do.",
        caption="One side of the image: pixels of the image and of the padding, and below them the "
        "first 60 windows, one below the other. A window with dilation covers only its dots.",
    )
    yield Table(
        ["layer", "(N + 2P − F)/S + 1", "convolution", "pooling"],
        [
            [name, arithmetic(*EXAMPLES[name], e.formula), shown(e.convolution), shown(e.pooling)]
            for name, e in m.examples.items()
        ],
        caption="Output size by the formula, with ⌊ ⌋ where it rounds down, and of real layers "
        "(torch's and by hand; –: a pool's window could contain padding only). Of "
        f"{m.counts['all']} settings tried, {m.counts['rounded']} are rounded down and "
        f"{m.counts['refused']} refused, because the window is larger than the padded side.",
    )
    drawn = figure("convolution layers", "side of the maps (pixels)")
    for i, (name, sides) in enumerate(m.stacks.items()):
        colour, dash = i // 2, ("solid", "dot")[i % 2]  # each F without and with padding
        add_line(drawn, range(len(sides)), sides, name, colour, dash, mode="lines+markers")
    drawn.update_yaxes(rangemode="tozero")
    last = "; ".join(
        f"{name}: {sides[-1]} pixels after {len(sides) - 1} layers"
        for name, sides in m.stacks.items()
    )
    yield Plot(
        drawn,
        alt=f"Side of the maps after each convolution, from 32 pixels. {last}.",
        caption="Why it is common to zero pad the border: without padding, each layer of stride 1 "
        "removes F − 1 pixels from the side, until a window no longer fits; P = (F − 1)/2 keeps "
        "the size.",
    )


def arithmetic(n: int, f: int, s: int, p: int, size: int | None) -> str:
    """The formula with numbers, such as ⌊(32+2·1−3)/2⌋ + 1 = 16."""
    fraction = f"({n}+2·{p}−{f})/{s}"
    if size is None:
        return f"{fraction} < 0: refused"
    return f"{f'⌊{fraction}⌋' if (n + 2 * p - f) % s else fraction} + 1 = {size}"


def shown(several: list[int | None]) -> str:
    """The size on which layers agree, or all sizes."""
    words = ("refused" if size is None else str(size) for size in dict.fromkeys(several))
    return " or ".join(words) or "–"
