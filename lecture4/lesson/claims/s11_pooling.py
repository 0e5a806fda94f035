"""Pooling: smaller maps, each on its own, less computation, and robustness to small shifts."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from timeit import repeat

import torch
from torch.nn import functional

from lecture4.byhand import functional as F
from lecture4.data.randomness import generator
from lecture4.lesson.lab import (
    Finding,
    Item,
    Lab,
    Published,
    Run,
    Table,
    learned,
    lines,
    paired,
    percent,
    ratio,
    scores_of,
    spread,
)
from lecture4.models import ConvNet, layer_rows
from lecture4.models.convnet import Block
from lecture4.models.geometry import make_pool

TITLE = "Pooling"
QUOTE = [
    "make representation smaller and more manageable.",
    "operates over each activation map independently.",
    "E.g max pooling (take max)",
]
TEXT = (
    "Pooling 2×2 keeps a quarter of the numbers and mixes no maps, so later layers have less "
    "to compute. A maximum also stays the same while it moves within its window, which should make "
    "predictions robust to shifts by a few pixels. To test that, two nets are trained without "
    "flips and crops: one reduces its maps by max pooling 2×2, the other convolves with stride 2, "
    "which equals convolving everywhere and keeping every second row and column. Filters, "
    "parameters and map sizes agree; only the maximum is missing. In both, the last layer sees "
    "every position, and the learning rate is the ConvNet's default."
)
FORMULAS = [
    r"y_{kij} = \max_{0 \le a, e < F} x_{k,\, S i + a,\, S j + e}",
    r"\left\lfloor \frac{28 - 2}{2} \right\rfloor + 1 = 14",
]
CODE = [F.max_pool2d, F.avg_pool2d, make_pool, Block, ConvNet]
CHANNELS = (16, 32, 64)
# The head flattens: an average over positions would itself be a pooling.
COMMON = ["model=convnet", "model.head=flatten", "augment=none", "data.val_size=1000"]
# Three ends of a block; the first two give maps of the same size with equally many parameters.
REDUCTIONS = {
    "pooling": "pool: {kind: max, kernel_size: 2}",
    "stride": "stride: 2",
    "neither": "stride: 1",
}
FILTERS = torch.randn(6, 6, 3, 3, generator=generator(0), dtype=torch.float64)
OPERATIONS = {
    "max pooling 2×2": lambda x: F.max_pool2d(x, 2),
    "max pooling 2×2, torch": lambda x: functional.max_pool2d(x, 2),
    "average pooling 2×2": lambda x: F.avg_pool2d(x, 2),
    "average pooling 2×2, torch": lambda x: functional.avg_pool2d(x, 2),
    "convolution 3×3, zero padded": lambda x: F.conv2d(x, FILTERS, padding=1),
}
SHIFTS = (0, 1, 2, 3, 4)
SEED = int.from_bytes(b"shift")
TIMED, PASSES = 64, 4  # images in a pass; number of passes, of which the fastest counts
Curves = dict[str, list[list[float]]]  # of a net, for each seed: % at each shift


@dataclass
class Operation:
    """Size of maps (C, H, W) before and after, and numbers of outputs that one map affects."""

    before: list[int]
    after: list[int]
    own: int  # in the same map
    others: int  # in other maps


@dataclass
class Cost:
    """Of a net, for one image."""

    maps: list[list[int]]
    parameters: int
    multiply_adds: int
    microseconds: float


@dataclass
class Measured:
    """Maps and cost of pooling; nets with pooling and with stride on shifted test images."""

    operations: dict[str, Operation]
    costs: dict[str, Cost]
    images: int  # of a training
    chance: float
    tested: int
    accuracy: dict[str, list[float]]
    moved: int  # test images that were shifted
    moved_accuracy: Curves
    unchanged: Curves
    still_correct: Curves  # of the images that both nets classify correctly unmoved
    both: list[int]  # number of these images, for each seed


def measure(lab: Lab) -> Measured:
    """Measure pooling's effect on maps and cost, and predictions of shifted images."""
    lab.note("pooling the maps of one image")
    maps = first_maps(lab)
    operations = {name: affected(operation, maps) for name, operation in OPERATIONS.items()}
    costs = {name: cost(lab, name) for name in REDUCTIONS}
    images, labels = lab.pick(10_000, 45_000), lab.dataset.test_labels
    moved = labels[: lab.pick(1_500, 4_000)]
    accuracy, classes = {}, {}
    for name in ("pooling", "stride"):
        words = [*net(name), *lab.length(images, *COMMON)]
        runs = [lab.train(*words, seed=seed) for seed in lab.seeds(lab.pick(4, 5))]
        accuracy[name] = [run.accuracy for run in runs]
        lab.note(f"shifted test images, {name}")
        classes[name] = torch.stack([predicted(lab, run, words, len(moved)) for run in runs])
    right = {name: c == moved for name, c in classes.items()}  # (seeds, shifts, images)
    both = right["pooling"][:, :1] & right["stride"][:, :1]
    each = torch.ones_like(both)
    return Measured(
        operations,
        costs,
        images,
        1 / len(lab.dataset.class_names),
        len(labels),
        accuracy,
        len(moved),
        moved_accuracy={name: share(r, each) for name, r in right.items()},
        unchanged={name: share(c == c[:, :1], each) for name, c in classes.items()},
        still_correct={name: share(r & both, both) for name, r in right.items()},
        both=both.sum((1, 2)).tolist(),
    )


def share(which: torch.Tensor, among: torch.Tensor) -> list[list[float]]:
    """Percentage of some images (seeds, 1, images), at each seed and shift; 100 if of none."""
    return (100 * (which.sum(-1) / among.sum(-1).double())).nan_to_num(100.0).tolist()


def net(reduction: str) -> list[str]:
    """Overrides for a ConvNet of three blocks, each with this reduction of its maps."""
    shared = "kernel_size: 3, padding: 1, norm: batch"
    blocks = ",".join(f"{{channels: {c}, {shared}, {REDUCTIONS[reduction]}}}" for c in CHANNELS)
    return [*COMMON, f"model.blocks=[{blocks}]"]


def first_maps(lab: Lab) -> torch.Tensor:
    """Six maps (1, 6, H, W) of one image, after the first block of an untrained net."""
    classifier, data = lab.assemble(*net("neither"))
    with torch.no_grad():
        image = classifier.preprocess(data.dataset.test_inputs[:1])
        return classifier.model.blocks[0](image)[:, :6].double()


def affected(operation: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> Operation:
    """Change each map in turn; count the outputs that change in that map and in the others."""
    before, own, others = operation(x), 0, 0
    for k in range(x.shape[1]):
        changed = x.clone()
        changed[:, k] += 1
        differs = (operation(changed) != before).sum((0, 2, 3))  # (C,)
        own += int(differs[k])
        others += int(differs.sum() - differs[k])
    return Operation(list(x.shape[1:]), list(before.shape[1:]), own, others)


def cost(lab: Lab, reduction: str) -> Cost:
    """Cost of the net with this reduction."""
    classifier, data = lab.assemble(*net(reduction))
    model, shape = classifier.model.eval(), data.dataset.input_shape
    rows = layer_rows(model, shape)
    images = torch.zeros(TIMED, *shape)
    with torch.no_grad():
        seconds = min(repeat(lambda: model(images), number=1, repeat=PASSES))
    return Cost(
        [list(row.output_shape) for row in rows if row.name.endswith("activation")],
        sum(row.parameters for row in rows),
        sum(row.multiply_adds for row in rows),
        1e6 * seconds / TIMED,
    )


def predicted(lab: Lab, run: Run, words: list[str], n: int) -> torch.Tensor:
    """The predicted classes (shifts, n) of n test images."""
    classifier, data = lab.restore(run, *words)
    images = data.dataset.test_inputs[:n]
    return torch.stack([scores_of(classifier, shifted(images, d)).argmax(1) for d in SHIFTS])


def shifted(images: torch.Tensor, pixels: int) -> torch.Tensor:
    """Images (N, C, H, W), each moved up, down, left or right, and reflected at the border."""
    n, _, height, width = images.shape
    padded = functional.pad(images.float(), [pixels] * 4, mode="reflect").to(images.dtype)
    corners = (0, pixels), (2 * pixels, pixels), (pixels, 0), (pixels, 2 * pixels)
    moved = torch.stack([padded[:, :, y : y + height, x : x + width] for y, x in corners])
    return moved[torch.randint(4, (n,), generator=generator(SEED)), torch.arange(n)]


def judge(m: Measured) -> Iterator[Finding]:
    """Maps and multiply-adds are exact; predictions are compared seed by seed."""
    pools = [operation for name, operation in m.operations.items() if "pooling" in name]
    yield Finding(
        "size",
        "size of the maps after pooling 2×2, as a share of before",
        [max(100 * math.prod(pool.after) / math.prod(pool.before) for pool in pools)],
        at_least=25,
        at_most=25,
        why="four numbers become one",
        unit="%",
        definition="The largest of max and average pooling, by hand and torch's.",
    )
    yield Finding(
        "independence",
        "outputs of pooling that change in maps other than the one changed",
        [sum(pool.others for pool in pools)],
        at_most=0,
        why="pooling operates over each map independently",
    )
    yield ratio(
        "work",
        "multiply-adds of the net whose maps keep their size, over pooling's",
        m.costs["neither"].multiply_adds / m.costs["pooling"].multiply_adds,
        at_least=2,
        why="pooling saves half of the work",
    )
    # Without it, the comparisons would mean nothing.
    yield learned("the net with pooling", m.accuracy["pooling"], m.chance, m.tested)
    for what, curves, images in (
        ("unchanged", m.unchanged, "the test images"),
        ("still correct", m.still_correct, "those that both nets classify correctly unmoved"),
    ):
        yield Finding(
            what,
            f"predictions {what} when the image moves: pooling minus stride",
            differences(curves),
            at_least=1,
            why="less than one image in 100 would not matter",
            unit="points",
            definition=f"Share of {images}, mean over moves by one to four pixels.",
        )


def differences(curves: Curves) -> list[float]:
    """Pooling minus stride for each seed, mean over the shifts of at least a pixel."""
    return [
        sum(a - b for a, b in zip(pooling[1:], stride[1:], strict=True)) / (len(SHIFTS) - 1)
        for pooling, stride in zip(curves["pooling"], curves["stride"], strict=True)
    ]


def published(m: Measured) -> Iterator[Published]:
    """Max pooling against the same net with a stride in its place."""
    yield Published(
        "test accuracy with max pooling, minus a stride in its place",
        theirs=0.45,
        ours=paired(m.accuracy["pooling"], m.accuracy["stride"]),
        reported="errors of 9.74 % and 10.19 %",
        source="Springenberg et al. 2015",
        differs="Theirs: a deeper net, pools of 3×3, trained to convergence. Ours: three blocks, "
        f"pools of 2×2, about {m.images:,} training images.",
    )


def draw(m: Measured) -> Iterator[Item]:
    """Predictions against the shift, and the cost."""
    both = f"{min(m.both):,} to {max(m.both):,} images (by seed)"
    for y, curves, images in (
        ("predictions unchanged", m.unchanged, f"{m.moved:,} test images"),
        ("still correct", m.still_correct, f"{both} that both nets classify correctly unmoved"),
        ("accuracy", m.moved_accuracy, f"{m.moved:,} test images"),
    ):
        caption = f"On {images}, moved up, down, left or right: mean and range of the seeds."
        plot = lines(SHIFTS, curves, x="shift (pixels)", y=f"{y} (%)", caption=caption)
        plot.figure.update_xaxes(dtick=1)
        yield plot
    base = m.costs["pooling"]
    yield Table(
        ["each block ends with", "maps", "parameters", "multiply-adds", "time", "test accuracy, %"],
        [
            [
                name,
                ", ".join(map(shape, cost.maps)),
                f"{cost.parameters:,}",
                f"{cost.multiply_adds:,} (×{cost.multiply_adds / base.multiply_adds:.2f})",
                f"×{cost.microseconds / base.microseconds:.2f}",
                spread(percent(m.accuracy[name])) if name in m.accuracy else "–",
            ]
            for name, cost in m.costs.items()
        ],
        caption=f"For one image, and as multiples of the net with pooling. Time: scores of {TIMED} "
        f"images on this machine, the fastest of {PASSES} passes; no finding uses it. Accuracy: "
        f"after about {m.images:,} training images, mean (lowest–highest) of the seeds, on all "
        f"{m.tested:,} test images; the net whose maps keep their size is not trained.",
    )
    yield Table(
        ["operation", "maps before", "after", "changed in the same map", "in other maps"],
        [
            [name, shape(o.before), shape(o.after), o.own, o.others]
            for name, o in m.operations.items()
        ],
        caption="Each of six maps of one image is changed in turn; the last columns count the "
        "outputs that change. Pooling operates over each map independently; a convolution, in "
        "contrast, extends over all of them.",
    )


def shape(maps: list[int]) -> str:
    """(C, H, W) as the lecture writes it: H×W×C."""
    channels, height, width = maps
    return f"{height}×{width}×{channels}"
