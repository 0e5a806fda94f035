"""Bugs and what catches them: see the claim's text below."""

import math
import statistics
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn

from lecture4 import mistakes, optim, sanity
from lecture4.augment import NoAugment
from lecture4.classifier import Classifier
from lecture4.data.module import DataModule
from lecture4.lab import Claim, Finding, Item, Lab, Plot, Table, curves, figure
from lecture4.lab.drawing import COLOURS
from lecture4.models import MLP, ConvNet
from lecture4.randomness import generator
from lecture4.schedule import constant

SOUND = "sound"
BATCH, HELD_OUT, LAST = 64, 500, 10  # LAST: steps whose mean is a curve's end
DASHES = ("solid", "dash", "dot")
NETS = {
    "MLP": partial(MLP, hidden=[24, 24], layers="byhand"),
    "ConvNet": partial(
        ConvNet,
        blocks=[
            {
                "channels": 16,
                "stride": 2,
                "padding": 1,
                "norm": "batch",
                "pool": {"kernel_size": 3, "stride": 2},
            },
            {"channels": 16, "pool": {"kernel_size": 3, "stride": 2, "kind": "avg"}},
        ],
        head="flatten",
        dropout=0.2,
        layers="byhand",
    ),
}
RATES = {"MLP": 1e-3, "ConvNet": 3e-3}  # of those tried, where the sound net learns fastest
IN_CONVNET = (  # the others are in what every net has, and shown in the MLP
    mistakes.flipped_kernel,
    mistakes.assignment_in_pooling,
    mistakes.dropout_left_on,
    mistakes.batch_statistics_left_on,
    mistakes.fixed_statistics_in_the_backward,
)


def measure(lab: Lab) -> dict:
    """Train with each mistake and without any, and ask the checks about each."""
    steps, seeds = lab.pick(60, 250), lab.seeds(3)
    untrained, data = lab.assemble("model=softmax")
    rows = []
    for name, net, plant in _rows():
        lab.note(name)
        build = partial(_classifier, net, untrained.preprocess, data)
        with plant():
            runs = [_train(build(seed), data, steps, seed) for seed in seeds]
            checks = [_failed(build(seed), data) for seed in lab.pick(seeds[:1], seeds)]
        train, held_out = zip(*runs, strict=True)
        rows.append(
            {"name": name, "net": net, "loss": train, "held_out": held_out, "failed": checks}
        )
    return {
        "seeds": seeds,
        "checked_seeds": lab.pick(seeds[:1], seeds),
        "checks": [row[0] for row in sanity.CHECKS],
        "classes": len(untrained.class_names),
        "steps": steps,
        "batch": BATCH,
        "held_out_images": len(_held_out(data)),
        "rows": rows,
    }


def _rows():
    for net in NETS:
        yield SOUND, net, nullcontext
        for plant in mistakes.MISTAKES:
            if (plant in IN_CONVNET) == (net == "ConvNet"):
                yield plant.__name__.replace("_", " "), net, plant


def _classifier(net: str, preprocess: nn.Module, data: DataModule, seed: int) -> Classifier:
    torch.manual_seed(seed)
    names, shape = data.dataset.class_names, data.dataset.input_shape
    return Classifier(
        NETS[net](shape, len(names)),
        preprocess,
        NoAugment(shape),
        names,
        partial(optim.Adam, lr=RATES[net]),
        constant,
        penalty="l2",
        penalty_strength=1e-4,
        seed=seed,
    )


def _train(
    classifier: Classifier, data: DataModule, steps: int, seed: int
) -> tuple[list[float | None], float | None]:
    """Loss of each step, and at the end that of held-out images in evaluation mode."""
    pick = torch.randint(len(data.train_index), (steps, BATCH), generator=generator(seed))
    inputs, labels = data.dataset.train_inputs, data.dataset.train_labels
    optimizer = classifier.optimizer(classifier.model.parameters())
    losses = []
    for index in data.train_index[pick]:
        scores = classifier(inputs[index])
        losses.append(_number(classifier.cross_entropy(scores, labels[index])))
        optimizer.zero_grad()
        classifier.objective(scores, labels[index]).backward()
        optimizer.step()
    index = _held_out(data)
    with torch.no_grad():
        scores = classifier.eval()(inputs[index])
    return losses, _number(classifier.cross_entropy(scores, labels[index]))


def _held_out(data: DataModule) -> torch.Tensor:
    return data.val_index[:HELD_OUT]


def _number(loss: torch.Tensor) -> float | None:
    return loss.item() if math.isfinite(loss.item()) else None


def _failed(classifier: Classifier, data: DataModule) -> list[str]:
    return [check.name for check in sanity.run(classifier, data)[0] if check.passed is False]


def end(losses: list[float | None]) -> float | None:
    """Where a curve ends: the mean of its last steps, or None if a loss was no number."""
    return None if None in losses else statistics.fmean(losses[-LAST:])


def sound(m: dict, net: str) -> dict:
    """The row of a net without a mistake."""
    return next(row for row in m["rows"] if row["net"] == net and row["name"] == SOUND)


def changes(m: dict, row: dict) -> tuple[list[float | None], list[float | None]]:
    """By how much training and held-out loss end above the sound net's of the same seed."""
    right = sound(m, row["net"])
    pairs = (
        (map(end, row["loss"]), map(end, right["loss"])),
        (row["held_out"], right["held_out"]),
    )
    return tuple(
        [None if a is None else a - b for a, b in zip(*pair, strict=True)] for pair in pairs
    )


def spreads(m: dict, net: str) -> tuple[float, float]:
    """How far the sound net's own seeds lie apart, in training and held-out loss."""
    right = sound(m, net)
    ends = [end(losses) for losses in right["loss"]], right["held_out"]
    return tuple(max(values) - min(values) for values in ends)


def symptom(m: dict, row: dict) -> str:
    """What the mistake does to the training loss, in words."""
    blank, first = math.log(m["classes"]), statistics.fmean(_firsts(sound(m, row["net"])))
    ends = [end(losses) for losses in row["loss"]]
    if None in ends:
        lost = min(losses.index(None) for losses in row["loss"] if None in losses)
        return f"no number from step {lost + 1} on"
    if abs(statistics.fmean(_firsts(row)) - first) > 1:
        return f"begins at {statistics.fmean(_firsts(row)):.2f} for {first:.2f}"
    change, spread = changes(m, row)[0], spreads(m, row["net"])[0]
    if abs(statistics.fmean(change)) > spread and max(abs(e - blank) for e in ends) < 0.05:
        return f"ends at ln {m['classes']} = {blank:.2f}"
    return _change(change, spread)


def _firsts(row: dict) -> list[float]:
    return [losses[0] for losses in row["loss"]]


def _change(differences: list[float | None], spread: float) -> str:
    if None in differences:
        return "no number"
    difference = statistics.fmean(differences)
    if abs(difference) <= spread:
        return f"as before ({round(difference, 2) + 0:+.2f})".replace("-", "−")
    return f"{'higher' if difference > 0 else 'lower'} by {abs(difference):.2f}"


def unseen(m: dict) -> list[list[str]]:
    """For each seed, the mistakes whose curve ends no further off than another seed's would."""
    wrong = [row for row in m["rows"] if row["name"] != SOUND]
    return [
        [
            row["name"]
            for row in wrong
            if (change := changes(m, row)[0][s]) is not None
            and abs(change) <= spreads(m, row["net"])[0]
        ]
        for s in range(len(m["seeds"]))
    ]


def judge(m: dict) -> list[Finding]:
    """What checks see is exact, float64 against tolerances of rounding; what curves show is not."""
    wrong = [row for row in m["rows"] if row["name"] != SOUND]
    right = [row for row in m["rows"] if row["name"] == SOUND]
    n = range(len(m["checked_seeds"]))
    return [
        Finding(
            f"mistakes, of {len(wrong)}, that at least one check sees",
            [sum(bool(row["failed"][s]) for row in wrong) for s in n],
            at_least=len(wrong),
        ),
        Finding(
            "checks that fail where there is no mistake",
            [sum(len(row["failed"][s]) for row in right) for s in n],
            at_most=0,
        ),
        Finding(  # one that the curve lets pass is reason enough to check before training
            f"mistakes, of {len(wrong)}, whose loss ends no further off than another seed's would",
            [len(names) for names in unseen(m)],
            at_least=1,
        ),
    ]


def draw(m: dict) -> list[Item]:
    """The curves of each net, and a row for each mistake."""
    return [*(_curves(m, net) for net in NETS), _table(m)]


def _curves(m: dict, net: str) -> Plot:
    made = figure("step", "training loss (nats)", height=460)
    x = list(range(1, m["steps"] + 1))
    right = [_smooth(losses) for losses in sound(m, net)["loss"]]
    curves(made, x, right, "no mistake", 7, line={"width": 5, "color": COLOURS[7]})
    wrong = [row for row in m["rows"] if row["net"] == net and row["name"] != SOUND]
    for i, row in enumerate(wrong):
        made.add_scatter(
            x=x,
            y=_mean([_smooth(losses) for losses in row["loss"]]),
            name=row["name"],
            mode="lines",
            line={"color": COLOURS[i % 7], "dash": DASHES[i % 3], "width": 1.5},
        )
    passed = [row["name"] for row in wrong if all(row["name"] in names for names in unseen(m))]
    return Plot(
        made,
        f"Training loss of the {net} with each of {len(wrong)} mistakes, and with none: "
        f"{len(passed)} curves end no further off than another seed's, for every seed: "
        f"{', '.join(passed) or 'none'}.",
        f"{net}: mean over {len(m['seeds'])} seeds of the loss as the program itself reports it, "
        f"averaged over {LAST} steps; band: lowest and highest seed without a mistake. A curve "
        f"breaks off where the loss is no number.",
    )


def _smooth(losses: list[float | None]) -> list[float | None]:
    windows = (losses[max(0, i - LAST + 1) : i + 1] for i in range(len(losses)))
    return [None if None in window else statistics.fmean(window) for window in windows]


def _mean(runs: list[list[float | None]]) -> list[float | None]:
    steps = zip(*runs, strict=True)
    return [None if None in step else round(statistics.fmean(step), 4) for step in steps]


def _table(m: dict) -> Table:
    rows = []
    for row in m["rows"]:
        found = [name for name in m["checks"] if any(name in failed for failed in row["failed"])]
        held_out = _change(changes(m, row)[1], spreads(m, row["net"])[1])
        is_sound = row["name"] == SOUND
        ends = statistics.fmean(map(end, row["loss"])) if is_sound else None
        rows.append(
            [
                f"none, {row['net']}" if is_sound else row["name"],
                f"ends at {ends:.2f}" if is_sound else symptom(m, row),
                f"{statistics.fmean(row['held_out']):.2f}" if is_sound else held_out,
                ", ".join(found) or "none",
            ]
        )
    apart = ", ".join(
        f"{net} {spreads(m, net)[0]:.2f} in training and {spreads(m, net)[1]:.2f} held out"
        for net in NETS
    )
    return Table(
        ["mistake", "training loss", "held-out loss", "seen by"],
        rows,
        f"Losses in nats after {m['steps']} steps of {m['batch']} images, mean over seeds; held "
        f"out: of {m['held_out_images']} images in evaluation mode. “As before”: no further from "
        f"the sound net's of the same seed than that net's seeds are "
        f"from each other ({apart}). Seen by: the checks of sanity=true that fail.",
    )


CLAIM = Claim(
    name="bugs",
    title="Bugs and what catches them",
    quote="How to compute gradient?",
    text=(
        "Thirteen mistakes that people make are planted, one at a time, in the formulas by hand: a "
        "kernel turned round, a bias left out, = written for += in a backward. A small net trains "
        "with each and without any, on the same batches, and each is put before the checks that "
        "sanity=true runs before training. Look for the mistakes whose loss curve says nothing: "
        "the net learns in spite of them."
    ),
    formulas=[
        r"L_{\text{start}} \approx \ln K",
        r"\frac{\partial L}{\partial w} \approx \frac{L(w+h) - L(w-h)}{2h}",
    ],
    code=[
        sanity.run,
        sanity.gradients_three_ways,
        sanity.same_as_other_layers,
        mistakes.assignment_in_pooling,
    ],
    measure=measure,
    judge=judge,
    draw=draw,
)
