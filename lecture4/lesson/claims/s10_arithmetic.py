"""Convolution arithmetic: (N + 2P − F)/S + 1 against the output sizes of real layers."""

from collections.abc import Callable
from itertools import product

import torch
from torch.nn import functional

from lecture4.byhand import functional as F
from lecture4.byhand.functional.windows import Windows, output_size
from lecture4.data.randomness import generator
from lecture4.lesson.lab.finding import Claim, Finding
from lecture4.lesson.lab.items import Item, Plot, Table, Widget
from lecture4.lesson.lab.plots import add_line, figure
from lecture4.lesson.lab.trainings import Lab
from lecture4.models import layer_rows

LAYERS = {
    "convolution": (functional.conv2d, F.conv2d),
    "pooling": (functional.max_pool2d, F.max_pool2d),
}
EXAMPLES = (  # N, F, S, P
    ("the lecture: six 5×5 filters on 32×32×3", 32, 5, 1, 0),
    ("the same, zero padded", 32, 5, 1, 2),
    ("3×3 filters, zero padded", 32, 3, 1, 1),
    ("3×3 filters in steps of two", 32, 3, 2, 1),
    ("1×1 filters", 32, 1, 1, 0),
    ("pooling 2×2", 28, 2, 2, 0),
    ("pooling 2×2 of an odd side", 7, 2, 2, 0),
    ("pooling 3×3, overlapping", 7, 3, 2, 0),
    ("pooling 3×3, side by side", 7, 3, 3, 0),
    ("first layer of ResNet", 224, 7, 2, 3),
    ("first layer of AlexNet", 227, 11, 4, 0),
    ("the same on 224 pixels", 224, 11, 4, 0),
    ("a window too large", 3, 5, 1, 0),
    ("the same, zero padded", 3, 5, 1, 1),
)
FILTERS = (3, 5, 7)  # F of the stacks of layers


def measure(lab: Lab) -> dict:
    """Sizes by the formula and by layers; each number of the lecture's example."""
    lab.note("output sizes by the formula and by real layers")
    return {
        "seeds": [lab.seed],
        "examples": [_example(*row) for row in EXAMPLES],
        "every": _every(lab.pick(10, 20)),
        "lecture": _lecture_example(lab.seed),
        "stacks": [
            {"f": f, "p": p, "sides": _stack(32, f, p)} for f in FILTERS for p in (0, (f - 1) // 2)
        ],
    }


def _example(layer: str, n: int, f: int, s: int, p: int) -> dict:
    return {
        "layer": layer,
        "setting": [n, f, s, p],
        "exact": (n + 2 * p - f) / s + 1,
        "formula": _size(output_size, n, f, s, p),
        **{
            kind: [_size(_side_of(layer), n, f, s, p) for layer in layers]
            for kind, layers in LAYERS.items()
            if kind == "convolution" or 2 * p <= f  # with more, a window could contain padding only
        },
    }


def _size(size: Callable[..., int], *setting: int, **more: int) -> int | None:
    """A size, or None if the setting is refused."""
    try:
        return size(*setting, **more)
    except (ValueError, RuntimeError):  # ours, torch's
        return None


def _side_of(layer: Callable) -> Callable[..., int]:
    """N, F, S, P -> the side of a real layer's output for N × N pixels."""
    weight = layer in LAYERS["convolution"]

    def side(n: int, f: int, s: int, p: int, dilation: int = 1) -> int:
        window = torch.zeros(1, 1, f, f) if weight else f
        maps = layer(torch.zeros(1, 1, n, n), window, stride=s, padding=p, dilation=dilation)
        return maps.shape[-1]

    return side


def _every(largest: int) -> dict:
    """Count all small settings, and those in which a layer deviates from the formula."""
    count = {"settings": 0, "refused": 0, "rounded": 0, "differ": 0, "same_changes": 0}
    for n, f, s, p, d in product(
        range(1, largest + 1), range(1, 6), range(1, 4), range(3), range(1, 3)
    ):
        expected = _size(output_size, n, f, s, p, dilation=d)
        layers = LAYERS["convolution"] + (LAYERS["pooling"] if 2 * p <= f else ())
        sizes = {_size(_side_of(layer), n, f, s, p, dilation=d) for layer in layers}
        whole = (n + 2 * p - d * (f - 1) - 1) % s == 0
        count["settings"] += 1
        count["refused"] += expected is None
        count["rounded"] += expected is not None and not whole
        count["differ"] += sizes != {expected}
        count["same_changes"] += s == 1 and 2 * p == d * (f - 1) and expected != n
    return {"largest": largest, **count}


def _lecture_example(seed: int) -> dict:
    """Six 5×5 filters on 32×32×3: shape of the maps, and each number against wᵀx + b."""
    draw = generator(int.from_bytes(b"filters"), seed)
    x = torch.randn(3, 32, 32, generator=draw, dtype=torch.float64)
    weight = torch.randn(6, 3, 5, 5, generator=draw, dtype=torch.float64)
    bias = torch.randn(6, generator=draw, dtype=torch.float64)
    maps = F.conv2d(x[None], weight, bias)[0]
    by_chunk = torch.stack(
        [
            weight.flatten(1) @ x[:, i : i + 5, j : j + 5].flatten() + bias
            for i, j in product(range(28), repeat=2)
        ],
        1,
    ).view(6, 28, 28)
    return {
        "shape": list(maps.shape),
        "difference": (maps - by_chunk).abs().max().item(),
        "terms": weight[0].numel(),
    }


def _stack(n: int, f: int, p: int, layers: int = 12) -> list[int]:
    """The side of the maps after 0, 1, 2, … convolutions, until one is refused."""
    sides = [n]
    conv = _side_of(F.conv2d)
    while len(sides) <= layers and (side := _size(conv, sides[-1], f, 1, p)) is not None:
        sides.append(side)
    return sides


def judge(m: dict) -> list[Finding]:
    """No disagreement is allowed; wᵀx + b must agree to float64's precision."""
    every, lecture = m["every"], m["lecture"]
    shape = "×".join(map(str, (*lecture["shape"][1:], lecture["shape"][0])))
    return [
        Finding(
            f"sides and depth in which the maps of six 5×5 filters on 32×32×3, {shape}, differ "
            "from 28×28×6",
            [sum(a != b for a, b in zip(lecture["shape"], (6, 28, 28), strict=True))],
            at_most=0,
        ),
        Finding(
            "largest difference between a number of these maps and wᵀx + b of its 5×5×3 chunk, "
            f"{lecture['terms']} terms, in float64",
            [lecture["difference"]],
            at_most=1e-12,  # 75 products of size 1 in another order: about 75 · 2e-16
        ),
        Finding(
            f"of {every['settings']} settings with N ≤ {every['largest']}, F ≤ 5, S ≤ 3, P ≤ 2 and "
            "dilation ≤ 2, those in which a convolution or pooling, torch's or by hand, has "
            "another output size than ⌊(N + 2P − F)/S⌋ + 1 or refuses another setting (with "
            "dilation D, D(F − 1) + 1 replaces F)",
            [every["differ"]],
            at_most=0,
        ),
        Finding(
            "of these settings with P = (F − 1)/2 and S = 1, those that change the size",
            [every["same_changes"]],
            at_most=0,
        ),
        Finding(
            "rows of the table in which a real layer has another output size than the formula",
            [sum(_sizes_of(row) != {row["formula"]} for row in m["examples"])],
            at_most=0,
        ),
    ]


def _sizes_of(row: dict) -> set[int | None]:
    return {size for kind in LAYERS for size in row.get(kind, [])}


def draw(m: dict) -> list[Item]:
    """The calculator, the table, and the size after many layers."""
    return [_calculator(), _table(m), _shrinking(m)]


def _calculator() -> Widget:
    return Widget(
        "sizes",
        {"n": 32, "f": 5, "s": 1, "p": 0, "d": 1},
        alt="A calculator: enter N, F, S, P and the dilation to see the output size, the windows, "
        "whether they tile the padded side, and similar settings that do.",
        caption="One side of the image: pixels of the image and of the padding, and below them the "
        "first 60 windows, one below the other. A window with dilation covers only its dots.",
    )


def _table(m: dict) -> Table:
    every = m["every"]
    return Table(
        ["layer", "(N + 2P − F)/S + 1", "convolution", "pooling"],
        [
            [row["layer"], _arithmetic(row), *(_shown(row.get(kind, ["–"])) for kind in LAYERS)]
            for row in m["examples"]
        ],
        caption="Output size by the formula, with ⌊ ⌋ where it rounds down, and of real layers "
        "(torch's and by hand; –: a pool's window could contain padding only). Of "
        f"{every['settings']} settings tried, {every['rounded']} are rounded down and "
        f"{every['refused']} refused, because the window is larger than the padded side.",
    )


def _arithmetic(row: dict) -> str:
    n, f, s, p = row["setting"]
    fraction = f"({n}+2·{p}−{f})/{s}"
    if row["formula"] is None:
        return f"{fraction} < 0: refused"
    if row["exact"] == row["formula"]:
        return f"{fraction} + 1 = {row['formula']}"
    return f"⌊{fraction}⌋ + 1 = {row['formula']}"


def _shown(sizes: list) -> str:
    return " or ".join("refused" if size is None else str(size) for size in dict.fromkeys(sizes))


def _shrinking(m: dict) -> Plot:
    drawn = figure("convolution layers", "side of the maps (pixels)")
    for stack in m["stacks"]:
        x, name = range(len(stack["sides"])), f"F = {stack['f']}, P = {stack['p']}"
        colour, dash = FILTERS.index(stack["f"]), "dot" if stack["p"] else "solid"
        add_line(drawn, x, stack["sides"], name, colour, dash, mode="lines+markers")
    drawn.update_yaxes(rangemode="tozero")
    last = "; ".join(
        f"F = {stack['f']}, P = {stack['p']}: {stack['sides'][-1]} pixels after "
        f"{len(stack['sides']) - 1} layers"
        for stack in m["stacks"]
    )
    return Plot(
        drawn,
        alt=f"Side of the maps after each convolution, from 32 pixels. {last}.",
        caption="Why it is common to zero pad the border: without padding, each layer of stride 1 "
        "removes F − 1 pixels from the side, until a window no longer fits; P = (F − 1)/2 keeps "
        "the size.",
    )


CLAIM = Claim(
    name="arithmetic",
    title="Convolution arithmetic",
    quote=[
        r"Each number - we calculate dot product between filter and 5x5x3 chunk of image -> "
        r"$$w^Tx + b$$",
        "If we get 6 such filter, we stack each activation map and got a result of new imge "
        "28x28x6.",
        "In practice: common to zero pad the border.",
        "Dimension: N + 2P - F / stride + 1 (each side)",
    ],
    text="The number of positions of a window of F pixels on a side of N pixels, with P zeros on "
    "each border and steps of S; the lecture's formula means (N + 2P − F)/S + 1. Real layers round "
    "a fraction down, and the last pixels are then in no window. Every small setting is tried with "
    "convolution and pooling, torch's and by hand.",
    formulas=[
        r"\left\lfloor \frac{N + 2P - F}{S} \right\rfloor + 1",
        r"\frac{32 + 2 \cdot 0 - 5}{1} + 1 = 28",
        r"P = \frac{F - 1}{2},\; S = 1 \;\Rightarrow\; N + 2P - F + 1 = N",
    ],
    code=[output_size, Windows, F.conv2d, F.max_pool2d, layer_rows],
    measure=measure,
    judge=judge,
    draw=draw,
)
