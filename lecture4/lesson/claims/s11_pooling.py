"""Pooling: smaller maps, each by itself, less to compute, and a shift of a few pixels forgiven."""

import time

import torch
from torch.nn import functional

from lecture4.byhand import functional as F
from lecture4.data.randomness import generator
from lecture4.lesson.lab import (
    Claim,
    Finding,
    Item,
    Lab,
    Plot,
    Run,
    Table,
    curves,
    figure,
    paired,
    resolution,
    scores_of,
    spread,
)
from lecture4.models import ConvNet, layer_table
from lecture4.models.convnet import Block
from lecture4.models.geometry import make_pool

CHANNELS = (16, 32, 64)
# The last layer sees every position: an average over them all would itself be a pooling.
COMMON = ["model=convnet", "model.head=flatten", "augment=none", "data.val_size=1000"]
# Three ways out of a block: the first two leave maps of the same size with as many parameters.
REDUCTIONS = {
    "pooling": "pool: {kind: max, kernel_size: 2}",
    "stride": "stride: 2",
    "neither": "stride: 1",
}
SHIFTS = (0, 1, 2, 3, 4)
TIMED, PASSES = 64, 4  # images in a pass, and passes, of which the fastest counts


def blocks(reduction: str) -> str:
    """The override that makes a ConvNet of three blocks, each with this reduction of its maps."""
    shared = "kernel_size: 3, padding: 1, norm: batch"
    settings = ",".join(f"{{channels: {c}, {shared}, {REDUCTIONS[reduction]}}}" for c in CHANNELS)
    return f"model.blocks=[{settings}]"


def measure(lab: Lab) -> dict:
    """What pooling does to maps and cost, and how predictions bear a shift with and without it."""
    seeds, dataset = lab.seeds(lab.pick(4, 5)), lab.dataset
    images, n = lab.pick(10_000, 45_000), min(lab.pick(1_500, 4_000), len(dataset.test_labels))
    lab.note("pooling the maps of one image")
    m = {
        "seeds": seeds,
        "maps": _maps(lab),
        "cost": {name: _cost(lab, name) for name in REDUCTIONS},
        "shifts": list(SHIFTS),
        "training_images": images,
        "test_images": n,
        "all_test_images": len(dataset.test_labels),
        "chance": 1 / len(dataset.class_names),
    }
    runs, classes = {}, {}
    for name in ("pooling", "stride"):
        net = [*COMMON, blocks(name), *lab.length(images, *COMMON)]
        runs[name] = [lab.train(*net, seed=seed) for seed in seeds]
        lab.note(f"shifted test images, {name}")
        classes[name] = [_classes(lab, run, net, n) for run in runs[name]]
    return {**m, **_compared(runs, classes, dataset.test_labels[:n])}


def _compared(
    runs: dict[str, list[Run]], classes: dict[str, list[list[torch.Tensor]]], labels: torch.Tensor
) -> dict:
    """Shares of the test images, for each net, seed and shift."""
    right = [[seed[0] == labels for seed in classes[name]] for name in ("pooling", "stride")]
    both = [a & b for a, b in zip(*right, strict=True)]
    return {
        "both_right": [int(images.sum()) for images in both],
        "nets": {
            name: {
                "accuracy": [run.accuracy for run in runs[name]],
                "shifted_accuracy": [[_share(moved == labels) for moved in seed] for seed in found],
                "same": [[_share(moved == seed[0]) for moved in seed] for seed in found],
                "kept": [
                    [_share((moved == labels)[images]) for moved in seed]
                    for seed, images in zip(found, both, strict=True)
                ],
            }
            for name, found in classes.items()
        },
    }


def _share(which: torch.Tensor) -> float:
    """Percent that are true; 100 of none."""
    return 100 * which.double().mean().item() if len(which) else 100.0


def _maps(lab: Lab) -> dict:
    """One image's maps: their size after each operation, and where a change in one spreads."""
    classifier, data = lab.assemble(*COMMON, blocks("neither"))
    with torch.no_grad():
        image = classifier.preprocess(data.dataset.test_inputs[:1])
        x = classifier.model.blocks[0](image)[:, :6].double()
    filters = torch.randn(6, 6, 3, 3, generator=generator(0), dtype=torch.float64)
    operations = {
        "max pooling 2×2": lambda x: F.max_pool2d(x, 2),
        "max pooling 2×2, torch": lambda x: functional.max_pool2d(x, 2),
        "average pooling 2×2": lambda x: F.avg_pool2d(x, 2),
        "average pooling 2×2, torch": lambda x: functional.avg_pool2d(x, 2),
        "convolution 3×3, zero padded": lambda x: F.conv2d(x, filters, padding=1),
    }
    return {
        "before": list(x.shape[1:]),
        "operations": {
            name: {"after": list(f(x).shape[1:]), **_spread(f, x)} for name, f in operations.items()
        },
    }


def _spread(operation, x: torch.Tensor) -> dict:
    """Change each map in turn: how many numbers change in that map, and in all the others?"""
    before, own, others = operation(x), 0, 0
    for k in range(x.shape[1]):
        changed = x.clone()
        changed[:, k] += 1
        differs = (operation(changed) != before).sum((0, 2, 3))
        own += int(differs[k])
        others += int(differs.sum() - differs[k])
    return {"own": own, "others": others}


def _cost(lab: Lab, reduction: str) -> dict:
    classifier, data = lab.assemble(*COMMON, blocks(reduction))
    model, shape = classifier.model.eval(), data.dataset.input_shape
    rows = layer_table(model, shape)
    images = torch.zeros(TIMED, *shape)
    with torch.no_grad():
        seconds = min(_seconds(model, images) for _ in range(PASSES))
    return {
        "maps": [list(row.output_shape) for row in rows if row.name.endswith("activation")],
        "parameters": sum(row.parameters for row in rows),
        "multiply_adds": sum(row.multiply_adds for row in rows),
        "microseconds": 1e6 * seconds / len(images),
    }


def _seconds(model: torch.nn.Module, images: torch.Tensor) -> float:
    start = time.perf_counter()
    model(images)
    return time.perf_counter() - start


def _classes(lab: Lab, run: Run, net: list[str], n: int) -> list[torch.Tensor]:
    """The classes that a run's net predicts for n test images, (n,) for each shift."""
    classifier, data = lab.restore(run, *net)
    images = data.dataset.test_inputs[:n]
    return [scores_of(classifier, shifted(images, d)).argmax(1) for d in SHIFTS]


def shifted(images: torch.Tensor, pixels: int) -> torch.Tensor:
    """Images (N, C, H, W), each moved up, down, left or right; the reflection fills the border."""
    way = torch.randint(4, (len(images),), generator=generator(int.from_bytes(b"shift")))
    moved = images.clone()
    for k, (down, right) in enumerate(((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels))):
        rows, columns = _source(images.shape[2], down), _source(images.shape[3], right)
        moved[way == k] = images[way == k][:, :, rows][..., columns]
    return moved


def _source(side: int, shift: int) -> torch.Tensor:
    """Where each position of a moved side comes from."""
    position = (torch.arange(side) - shift).abs()
    return side - 1 - (side - 1 - position).abs()


def judge(m: dict) -> list[Finding]:
    """Maps and multiply-adds are exact; what nets predict is compared seed by seed."""
    pools = {name: o for name, o in m["maps"]["operations"].items() if "pooling" in name}
    size = torch.Size(m["maps"]["before"]).numel()
    cost = {name: c["multiply_adds"] for name, c in m["cost"].items()}
    return [
        Finding(
            "share of the numbers in an image's maps that pooling 2×2 leaves (max and average, by "
            "hand and torch's: the largest)",
            [max(100 * torch.Size(o["after"]).numel() / size for o in pools.values())],
            at_least=25,
            at_most=25,
            unit="%",
        ),
        Finding(
            "numbers that change in pooled maps other than the one that was changed",
            [sum(o["others"] for o in pools.values())],
            at_most=0,
        ),
        Finding(
            "multiply-adds of the net whose maps keep their size, over those with pooling (at "
            "least half of the work saved)",
            [cost["neither"] / cost["pooling"]],
            at_least=2,
        ),
        *_of_shifts(m),
    ]


def _of_shifts(m: dict) -> list[Finding]:
    """The comparisons mean nothing where the net with pooling has learned nothing."""
    n, accuracy = m["all_test_images"], m["nets"]["pooling"]["accuracy"]
    return [
        Finding(
            "test accuracy of the net with pooling minus chance, against what the draw of "
            f"{n:,} test images alone could make",
            paired(accuracy, [m["chance"]] * len(accuracy)),
            at_least=resolution(n),
            unit="points",
        ),
        Finding(
            "predictions that stay the same when the image moves by one to four pixels: with "
            "pooling minus with stride (less than one in a hundred would not matter)",
            _differences(m, "same"),
            at_least=1,
            unit="points",
        ),
        Finding(
            "of the images that both nets classify rightly, those still right when moved by one to "
            "four pixels: with pooling minus with stride (likewise)",
            _differences(m, "kept"),
            at_least=1,
            unit="points",
        ),
    ]


def _differences(m: dict, measured: str) -> list[float]:
    """For each seed, pooling minus stride, mean over the shifts of a pixel and more."""
    pooling, stride = (m["nets"][name][measured] for name in ("pooling", "stride"))
    return [
        sum(p - s for p, s in zip(with_pool[1:], without[1:], strict=True)) / (len(with_pool) - 1)
        for with_pool, without in zip(pooling, stride, strict=True)
    ]


def draw(m: dict) -> list[Item]:
    """Predictions against the shift, and the bill."""
    return [
        _against_shift(
            m,
            "same",
            "predictions unchanged (%)",
            "Share of the test images whose predicted class stays what it was before the move",
        ),
        _against_shift(
            m,
            "kept",
            "still right (%)",
            f"Share still classified rightly, of the {min(m['both_right']):,} to "
            f"{max(m['both_right']):,} images, by seed, that both nets classify rightly unmoved",
        ),
        _against_shift(m, "shifted_accuracy", "accuracy (%)", "Accuracy on the moved images"),
        _bill(m),
        _alone(m),
    ]


def _against_shift(m: dict, measured: str, axis: str, what: str) -> Plot:
    drawn = figure("shift (pixels)", axis)
    drawn.update_xaxes(dtick=1)
    means = {}
    for i, (name, net) in enumerate(m["nets"].items()):
        values = net[measured]
        curves(drawn, m["shifts"], values, f"with {name}", i, mode="lines+markers")
        means[name] = [sum(column) / len(column) for column in zip(*values, strict=True)]
    told = "; ".join(
        f"with {name} {values[0]:.1f} % unmoved, {values[1]:.1f} % at one pixel, "
        f"{values[-1]:.1f} % at {m['shifts'][-1]}"
        for name, values in means.items()
    )
    return Plot(
        drawn,
        alt=f"{what}: {told}.",
        caption=f"{what}. Mean and range of {len(m['seeds'])} seeds on {m['test_images']:,} test "
        f"images, each moved up, down, left or right.",
    )


def _bill(m: dict) -> Table:
    base = m["cost"]["pooling"]
    return Table(
        ["each block ends with", "maps", "parameters", "multiply-adds", "time", "test accuracy, %"],
        [
            [
                name,
                ", ".join(map(_shape, cost["maps"])),
                f"{cost['parameters']:,}",
                f"{cost['multiply_adds']:,} (×{cost['multiply_adds'] / base['multiply_adds']:.2f})",
                f"×{cost['microseconds'] / base['microseconds']:.2f}",
                _accuracy(m["nets"].get(name)),
            ]
            for name, cost in m["cost"].items()
        ],
        caption="For one image, and as multiples of the net with pooling; time is that of the "
        f"scores of {TIMED} images on this machine, the fastest of {PASSES} passes, without a "
        "verdict. Accuracy is on the whole test set after about "
        f"{m['training_images']:,} images of training, mean (lowest–highest) of "
        f"{len(m['seeds'])} seeds; the net whose maps keep their size is not trained.",
    )


def _accuracy(net: dict | None) -> str:
    if net is None:
        return "–"
    return spread([100 * accuracy for accuracy in net["accuracy"]])


def _shape(maps: list[int]) -> str:
    channels, height, width = maps
    return f"{height}×{width}×{channels}"


def _alone(m: dict) -> Table:
    return Table(
        ["operation", "maps before", "after", "changed in the same map", "in other maps"],
        [
            [
                name,
                *map(_shape, (m["maps"]["before"], o["after"])),
                o["own"],
                o["others"],
            ]
            for name, o in m["maps"]["operations"].items()
        ],
        caption="Each of six maps of one image is changed in turn; the last columns count the "
        "numbers that change in what the operation makes of them. Pooling operates over each map "
        "by itself; a convolution, for contrast, extends over them all.",
    )


CLAIM = Claim(
    name="pooling",
    title="Pooling",
    quote="make representation smaller and more manageable. operates over each activation map "
    "independently. E.g max pooling (take max)",
    text="Pooling 2×2 leaves a quarter of the numbers and mixes no maps, so that what follows has "
    "less to compute. A maximum also stays the same while it moves within its window, which should "
    "help an image that moves by a few pixels. To see that, two nets are trained without flips and "
    "crops: one reduces its maps by max pooling 2×2, the other convolves in steps of two, which is "
    "the same as to convolve everywhere and keep every second row and column. So filters, "
    "parameters and map sizes agree, and only the maximum is missing; in both, the last layer sees "
    "every position, and both have the learning rate of the ConvNet's recipe.",
    formulas=[
        r"y_{kij} = \max_{0 \le a, e < F} x_{k,\, S i + a,\, S j + e}",
        r"\left\lfloor \frac{28 - 2}{2} \right\rfloor + 1 = 14",
    ],
    code=[F.max_pool2d, F.avg_pool2d, make_pool, Block, ConvNet],
    measure=measure,
    judge=judge,
    draw=draw,
)
