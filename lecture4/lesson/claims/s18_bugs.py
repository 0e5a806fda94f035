"""Bugs and what catches them: what the checks before training see, and what a loss curve does."""

import math
import statistics
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn

from lecture4.byhand import nn as byhand_nn
from lecture4.byhand import optim
from lecture4.data.augment import NoAugment
from lecture4.data.randomness import generator
from lecture4.lesson import planted_bugs
from lecture4.lesson.lab import Claim, Finding, Item, Lab, Plot, Table, curves, figure
from lecture4.lesson.lab.drawing import COLOURS
from lecture4.models import MLP, ConvNet
from lecture4.training import sanity
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule
from lecture4.training.schedule import constant

SOUND = "sound"
BATCH, HELD_OUT, STRETCH = 64, 500, 10  # STRETCH: steps whose mean is a curve's begin, or end
A_QUARTER = 25  # %: of four who look at their curves alone, one would not see the mistake
DASHES = ("solid", "dash", "dot")
NETS = {
    "MLP": partial(MLP, hidden=[24, 24], layers=byhand_nn),
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
        layers=byhand_nn,
    ),
}
RATES = {"MLP": 1e-3, "ConvNet": 3e-3}  # of those tried, where the sound net learns fastest
IN_CONVNET = (  # the others are in what every net has, and shown in the MLP
    planted_bugs.flipped_kernel,
    planted_bugs.assignment_in_pooling,
    planted_bugs.dropout_left_on,
    planted_bugs.batch_statistics_left_on,
    planted_bugs.fixed_statistics_in_the_backward,
)


def measure(lab: Lab) -> dict:
    """Train with each mistake and without any, and ask the checks about each."""
    steps, seeds = lab.pick(50, 250), lab.seeds(3)
    untrained, data = lab.assemble("model=softmax")
    rows = []
    for name, net, plant in _rows():
        lab.note(f"{net}, {'no mistake' if name == SOUND else name}")
        build = partial(_classifier, net, untrained.preprocess, data)
        # where there is no mistake, a check may still fail by chance: ask for every seed
        checked = seeds if name == SOUND else lab.pick(seeds[:1], seeds)
        with plant():
            runs = [_train(build(seed), data, steps, seed) for seed in seeds]
            failed = [_failed(build(seed), data) for seed in checked]
        train, held_out = zip(*runs, strict=True)
        rows.append(
            {"name": name, "net": net, "loss": train, "held_out": held_out, "failed": failed}
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
        for plant in planted_bugs.MISTAKES:
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


def marks(row: dict) -> dict[str, list[float | None]]:
    """What is compared of a row, seed by seed; None where a loss was no number."""
    return {
        "begin": [_mean(losses[:STRETCH]) for losses in row["loss"]],
        "end": [_mean(losses[-STRETCH:]) for losses in row["loss"]],
        "held_out": row["held_out"],
    }


def _mean(losses: Sequence[float | None]) -> float | None:
    return None if None in losses else statistics.fmean(losses)


def sound(m: dict, net: str) -> dict:
    """The row of a net without a mistake."""
    return next(row for row in m["rows"] if row["net"] == net and row["name"] == SOUND)


def mistaken(m: dict) -> list[dict]:
    """The rows of nets with a mistake."""
    return [row for row in m["rows"] if row["name"] != SOUND]


def changes(m: dict, row: dict) -> dict[str, list[float | None]]:
    """By how much each mark is above the sound net's of the same seed."""
    right = marks(sound(m, row["net"]))
    return {
        mark: [
            None if None in pair else pair[0] - pair[1]
            for pair in zip(wrong, right[mark], strict=True)
        ]
        for mark, wrong in marks(row).items()
    }


def apart(m: dict, net: str) -> dict[str, float | None]:
    """How far the sound net's own seeds lie from each other, in each mark."""
    return {
        mark: None if None in values else max(values) - min(values)
        for mark, values in marks(sound(m, net)).items()
    }


def symptom(m: dict, row: dict) -> str:
    """What the mistake does to the training loss, in words."""
    lost = [losses.index(None) for losses in row["loss"] if None in losses]
    if lost:
        return f"no number from step {min(lost) + 1} on"
    firsts, right = (_mean([run[0] for run in r["loss"]]) for r in (row, sound(m, row["net"])))
    if right is not None and abs(firsts - right) > 1:
        return f"begins at {firsts:.2f} for {right:.2f}"
    change, far = changes(m, row)["end"], apart(m, row["net"])["end"]
    words, blank = _change(change, far), math.log(m["classes"])
    stays = max(abs(end - blank) for end in marks(row)["end"]) < 0.05
    return f"ends at ln {m['classes']} = {blank:.2f}" if stays and "by" in words else words


def _change(differences: list[float | None], far: float | None) -> str:
    difference = _mean(differences)
    if difference is None or far is None:
        return "no number"
    if abs(difference) <= far:
        return f"as before ({round(difference, 2) + 0:+.2f})".replace("-", "−")
    return f"{'higher' if difference > 0 else 'lower'} by {abs(difference):.2f}"


def in_training(m: dict) -> list[dict]:
    """The mistakes that change training: those of evaluation alone leave its curve as it is."""
    return [row for row in mistaken(m) if row["loss"] != sound(m, row["net"])["loss"]]


def unremarkable(m: dict) -> list[list[str]]:
    """For each seed, mistakes of training whose marks are no further off than another seed's."""

    def passes(row: dict, s: int) -> bool:
        far = apart(m, row["net"])
        off = {mark: values[s] for mark, values in changes(m, row).items()}
        return not any(off[k] is None or far[k] is None or abs(off[k]) > far[k] for k in off)

    return [
        [row["name"] for row in in_training(m) if passes(row, s)] for s in range(len(m["seeds"]))
    ]


def judge(m: dict) -> list[Finding]:
    """What checks see, whether they see what is not there, and what curves do not show."""
    wrong, trained = mistaken(m), in_training(m)
    right = [row for row in m["rows"] if row["name"] == SOUND]
    return [
        Finding(
            f"mistakes, of {len(wrong)}, that at least one check sees ({_seeds(m)})",
            [sum(bool(row["failed"][s]) for row in wrong) for s in range(len(m["checked_seeds"]))],
            at_least=len(wrong),
        ),
        Finding(
            "checks that fail where there is no mistake",
            [sum(len(row["failed"][s]) for row in right) for s in range(len(m["seeds"]))],
            at_most=0,
        ),
        Finding(
            f"share of the {len(trained)} mistakes that change training whose curve begins and "
            f"ends, and whose held-out loss is, no further from the sound net's of the same seed "
            f"than that net's seeds are from each other",
            [100 * len(names) / max(1, len(trained)) for names in unremarkable(m)],
            at_least=A_QUARTER,
            unit="%",
        ),
    ]


def _seeds(m: dict) -> str:
    seeds = m["checked_seeds"]
    return f"seed {seeds[0]} alone" if len(seeds) == 1 else f"each of {len(seeds)} seeds"


def draw(m: dict) -> list[Item]:
    """The curves of each net, and a row for each mistake."""
    return [*(_curves(m, net) for net in NETS), _table(m)]


def _curves(m: dict, net: str) -> Plot:
    made = figure("step", "training loss (nats)", height=460)
    x = list(range(1, m["steps"] + 1))
    right = [_smooth(losses) for losses in sound(m, net)["loss"]]
    curves(made, x, right, "no mistake", 7, line={"width": 5, "color": COLOURS[7]})
    wrong = [row for row in mistaken(m) if row["net"] == net]
    for i, row in enumerate(wrong):
        made.add_scatter(
            x=x,
            y=_over_seeds([_smooth(losses) for losses in row["loss"]]),
            name=row["name"],
            mode="lines",
            line={"color": COLOURS[i % 7], "dash": DASHES[i % 3], "width": 1.5},
        )
    names = [row["name"] for row in wrong if row in in_training(m)]
    passed = [name for name in names if all(name in of_seed for of_seed in unremarkable(m))]
    return Plot(
        made,
        f"Training loss of the {net} with each of {len(wrong)} planted_bugs, and with none. Of the "
        f"{len(names)} mistakes that change training, for every seed nothing is further off than "
        f"another seed's with {len(passed)}: {', '.join(passed) or 'none'}.",
        f"{net}: mean over {len(m['seeds'])} seeds of the loss as the program itself reports it, "
        f"averaged over {STRETCH} steps; band: lowest and highest seed without a mistake. A curve "
        f"breaks off where the loss is no number.",
    )


def _smooth(losses: list[float | None]) -> list[float | None]:
    return [_mean(losses[max(0, i - STRETCH + 1) : i + 1]) for i in range(len(losses))]


def _over_seeds(runs: list[list[float | None]]) -> list[float | None]:
    return [_mean(step) for step in zip(*runs, strict=True)]


def _table(m: dict) -> Table:
    far = ", ".join(
        f"{net} {_number_or_none(apart(m, net)['end'])} in training and "
        f"{_number_or_none(apart(m, net)['held_out'])} held out"
        for net in NETS
    )
    trained = in_training(m)
    return Table(
        ["mistake", "training loss", "held-out loss", "looks sound", "seen by"],
        [_row(m, row, row in trained) for row in m["rows"]],
        f"Losses in nats after {m['steps']} steps of {m['batch']} images, mean over "
        f"{len(m['seeds'])} seeds; held out: of {m['held_out_images']} images in evaluation mode. "
        f"“As before”: no further from the sound net's of the same seed than that net's seeds are "
        f"from each other ({far}). Looks sound: seeds of which this is so of the curve's first "
        f"{STRETCH} steps, its last {STRETCH} and the held-out loss; “–”: training is as without "
        f"the mistake. Seen by: the checks of sanity=true that fail ({_seeds(m)}; all "
        f"{len(m['seeds'])} where there is no mistake).",
    )


def _row(m: dict, row: dict, in_training: bool) -> list[str]:
    found = [name for name in m["checks"] if any(name in failed for failed in row["failed"])]
    seen = ", ".join(found) or "none"
    if row["name"] == SOUND:
        ends, held_out = (_number_or_none(_mean(marks(row)[k])) for k in ("end", "held_out"))
        return [f"none, {row['net']}", f"ends at {ends}", held_out, "", seen]
    held_out = _change(changes(m, row)["held_out"], apart(m, row["net"])["held_out"])
    alike = sum(row["name"] in names for names in unremarkable(m))
    told = f"{alike} of {len(m['seeds'])}" if in_training else "–"
    return [row["name"], symptom(m, row), held_out, told, seen]


def _number_or_none(value: float | None) -> str:
    return "no number" if value is None else f"{value:.2f}"


CLAIM = Claim(
    name="bugs",
    title="Bugs and what catches them",
    quote="Gradient descent: update weights iteratively - move in opposite to gradient.",
    text=(
        f"One at a time, {len(planted_bugs.MISTAKES)} mistakes that people make are planted in the "
        "formulas by hand: a kernel turned round, a bias left out, = written for += in a backward. "
        "A small net trains with each and without any, on the same batches, and each is put before "
        "the checks that sanity=true runs before training. Look whether there are mistakes that "
        "the loss curve does not show, because the net learns in spite of them."
    ),
    formulas=[
        r"L_{\text{start}} \approx \ln K",
        r"\frac{\partial L}{\partial w} \approx \frac{L(w+h) - L(w-h)}{2h}",
    ],
    code=[
        sanity.run,
        sanity.gradients_three_ways,
        sanity.same_as_other_layers,
        planted_bugs.assignment_in_pooling,
    ],
    measure=measure,
    judge=judge,
    draw=draw,
)
