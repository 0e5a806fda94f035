"""Pooling: smaller maps, each on its own, less computation, and robustness to small shifts."""

import time

import torch
from torch.nn import functional

from lecture4.byhand import functional as F
from lecture4.data.randomness import generator
from lecture4.lesson.lab.finding import Claim, Finding, above_chance
from lecture4.lesson.lab.items import Item, Plot, Table
from lecture4.lesson.lab.plots import add_curves, figure, mean_curve, spread
from lecture4.lesson.lab.trainings import Lab, Run, scores_of
from lecture4.models import ConvNet, layer_rows
from lecture4.models.convnet import Block
from lecture4.models.geometry import make_pool

CHANNELS = (16, 32, 64)
# The head flattens: an average over positions would itself be a pooling.
COMMON = ["model=convnet", "model.head=flatten", "augment=none", "data.val_size=1000"]
# Three ends of a block; the first two give maps of the same size with equally many parameters.
REDUCTIONS = {
    "pooling": "pool: {kind: max, kernel_size: 2}",
    "stride": "stride: 2",
    "neither": "stride: 1",
}
SHIFTS = (0, 1, 2, 3, 4)
TIMED, PASSES = 64, 4  # images in a pass; number of passes, of which the fastest counts


def blocks(reduction: str) -> str:
    """The override for a ConvNet of three blocks, each with this reduction of its maps."""
    shared = "kernel_size: 3, padding: 1, norm: batch"
    settings = ",".join(f"{{channels: {c}, {shared}, {REDUCTIONS[reduction]}}}" for c in CHANNELS)
    return f"model.blocks=[{settings}]"


def measure(lab: Lab) -> dict:
    """Measure pooling's effect on maps and cost, and predictions of shifted images."""
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
    """Shares of the test images, for each net, seed and shift, in %."""
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
    """Percentage that is true; 100 if there are none."""
    return 100 * which.double().mean().item() if len(which) else 100.0


def _maps(lab: Lab) -> dict:
    """One image's maps: size after each operation, and how a change of one map spreads."""
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
    """Change each map in turn; count the outputs that change in that map and in the others."""
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
    rows = layer_rows(model, shape)
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
    """The predicted classes (n,) of n test images, for each shift."""
    classifier, data = lab.restore(run, *net)
    images = data.dataset.test_inputs[:n]
    return [scores_of(classifier, shifted(images, d)).argmax(1) for d in SHIFTS]


def shifted(images: torch.Tensor, pixels: int) -> torch.Tensor:
    """Images (N, C, H, W), each moved up, down, left or right, and reflected at the border."""
    way = torch.randint(4, (len(images),), generator=generator(int.from_bytes(b"shift")))
    moved = images.clone()
    for k, (down, right) in enumerate(((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels))):
        rows, columns = _source(images.shape[2], down), _source(images.shape[3], right)
        moved[way == k] = images[way == k][:, :, rows][..., columns]
    return moved


def _source(side: int, shift: int) -> torch.Tensor:
    """The source of each position of a shifted side."""
    position = (torch.arange(side) - shift).abs()
    return side - 1 - (side - 1 - position).abs()


def judge(m: dict) -> list[Finding]:
    """Maps and multiply-adds are exact; predictions are compared seed by seed."""
    pools = {name: o for name, o in m["maps"]["operations"].items() if "pooling" in name}
    size = torch.Size(m["maps"]["before"]).numel()
    cost = {name: c["multiply_adds"] for name, c in m["cost"].items()}
    return [
        Finding(
            "size of an image's maps after pooling 2×2 (max and average, by hand and torch's: the "
            "largest), as a share of the size before",
            [max(100 * torch.Size(o["after"]).numel() / size for o in pools.values())],
            at_least=25,
            at_most=25,
            unit="%",
        ),
        Finding(
            "outputs of pooling that change in maps other than the one that was changed",
            [sum(o["others"] for o in pools.values())],
            at_most=0,
        ),
        Finding(
            "multiply-adds of the net whose maps keep their size, over those with pooling (2: half "
            "of the work is saved)",
            [cost["neither"] / cost["pooling"]],
            at_least=2,
        ),
        *_robustness(m),
    ]


def _robustness(m: dict) -> list[Finding]:
    """The comparisons are meaningful only if the net with pooling has learned something."""
    accuracy = m["nets"]["pooling"]["accuracy"]
    return [
        above_chance("of the net with pooling", accuracy, m["chance"], m["all_test_images"]),
        Finding(
            "predictions that stay the same when the image moves by one to four pixels: pooling "
            "minus stride (less than one in 100 would not matter)",
            _differences(m, "same"),
            at_least=1,
            unit="points",
        ),
        Finding(
            "of the images that both nets classify correctly, those still correct when moved by "
            "one to four pixels: pooling minus stride (the same bound)",
            _differences(m, "kept"),
            at_least=1,
            unit="points",
        ),
    ]


def _differences(m: dict, measured: str) -> list[float]:
    """Pooling minus stride for each seed, mean over the shifts of at least a pixel."""
    pooling, stride = (m["nets"][name][measured] for name in ("pooling", "stride"))
    return [
        sum(p - s for p, s in zip(with_pool[1:], without[1:], strict=True)) / (len(with_pool) - 1)
        for with_pool, without in zip(pooling, stride, strict=True)
    ]


def draw(m: dict) -> list[Item]:
    """Predictions against the shift, and the cost."""
    return [
        _against_shift(
            m,
            "same",
            "predictions unchanged (%)",
            "Share of the test images whose predicted class does not change when they move",
        ),
        _against_shift(
            m,
            "kept",
            "still correct (%)",
            f"Share still classified correctly, of the {min(m['both_right']):,} to "
            f"{max(m['both_right']):,} images (by seed) that both nets classify correctly unmoved",
        ),
        _against_shift(m, "shifted_accuracy", "accuracy (%)", "Accuracy on the moved images"),
        _cost_table(m),
        _alone(m),
    ]


def _against_shift(m: dict, measured: str, axis: str, what: str) -> Plot:
    drawn = figure("shift (pixels)", axis)
    drawn.update_xaxes(dtick=1)
    means = {}
    for i, (name, net) in enumerate(m["nets"].items()):
        values = net[measured]
        add_curves(drawn, m["shifts"], values, f"with {name}", i, mode="lines+markers")
        means[name] = mean_curve(values)
    shares = "; ".join(
        f"with {name} {values[0]:.1f} % unmoved, {values[1]:.1f} % at one pixel, {values[-1]:.1f} "
        f"% at {m['shifts'][-1]}"
        for name, values in means.items()
    )
    return Plot(
        drawn,
        alt=f"{what}: {shares}.",
        caption=f"{what}. Mean and range of {len(m['seeds'])} seeds on {m['test_images']:,} test "
        "images, each moved up, down, left or right.",
    )


def _cost_table(m: dict) -> Table:
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
        caption=f"For one image, and as multiples of the net with pooling. Time: scores of {TIMED} "
        f"images on this machine, the fastest of {PASSES} passes; no finding uses it. Accuracy: on "
        f"the whole test set after about {m['training_images']:,} training images, mean "
        f"(lowest–highest) of {len(m['seeds'])} seeds; the net whose maps keep their size is not "
        "trained.",
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
            [name, *map(_shape, (m["maps"]["before"], o["after"])), o["own"], o["others"]]
            for name, o in m["maps"]["operations"].items()
        ],
        caption="Each of six maps of one image is changed in turn; the last columns count the "
        "outputs that change. Pooling operates over each map independently; a convolution, in "
        "contrast, extends over all of them.",
    )


CLAIM = Claim(
    name="pooling",
    title="Pooling",
    quote=[
        "make representation smaller and more manageable.",
        "operates over each activation map independently.",
        "E.g max pooling (take max)",
    ],
    text="Pooling 2×2 keeps a quarter of the numbers and mixes no maps, so later layers have less "
    "to compute. A maximum also stays the same while it moves within its window, which should make "
    "predictions robust to shifts by a few pixels. To test that, two nets are trained without "
    "flips and crops: one reduces its maps by max pooling 2×2, the other convolves with stride 2, "
    "which equals convolving everywhere and keeping every second row and column. Filters, "
    "parameters and map sizes agree; only the maximum is missing. In both, the last layer sees "
    "every position, and the learning rate is the ConvNet's default.",
    formulas=[
        r"y_{kij} = \max_{0 \le a, e < F} x_{k,\, S i + a,\, S j + e}",
        r"\left\lfloor \frac{28 - 2}{2} \right\rfloor + 1 = 14",
    ],
    code=[F.max_pool2d, F.avg_pool2d, make_pool, Block, ConvNet],
    measure=measure,
    judge=judge,
    draw=draw,
)
