"""Bugs and what catches them: the sanity checks before training, and the loss curve."""

import math
import statistics
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn

from lecture4.data.randomness import generator
from lecture4.lesson import planted_bugs
from lecture4.lesson.lab.finding import Claim, Finding
from lecture4.lesson.lab.items import Item, Plot, Table
from lecture4.lesson.lab.plots import COLOURS, add_curves, add_line, figure
from lecture4.lesson.lab.trainings import Lab
from lecture4.training import sanity
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule

SOUND = "sound"
BATCH, HELD_OUT, STRETCH = 64, 500, 10  # STRETCH: steps averaged for a curve's start and end
A_QUARTER = 25  # %: one bug in four would go unnoticed by who only watches the curve
DASHES = ("solid", "dash", "dot")
# Each at the rate, of those tried, at which the sound net learns fastest.
NETS = {
    "MLP": ("model=mlp", "model.hidden=[24,24]", "optim.lr=0.001"),
    "ConvNet": (
        "model=convnet",
        "model.blocks=["
        "{channels: 16, stride: 2, padding: 1, norm: batch, pool: {kernel_size: 3, stride: 2}},"
        "{channels: 16, pool: {kernel_size: 3, stride: 2, kind: avg}}]",
        "model.head=flatten",
        "model.dropout=0.2",
        "optim.lr=0.003",
    ),
}
TRAINING = ("optim=adam", "penalty=l2", "penalty.strength=0.0001", "formulas=byhand")
IN_CONVNET = (  # the others affect every net, and are planted in the MLP
    planted_bugs.flipped_kernel,
    planted_bugs.assignment_in_pooling,
    planted_bugs.dropout_left_on,
    planted_bugs.batch_statistics_left_on,
    planted_bugs.fixed_statistics_in_the_backward,
)


def measure(lab: Lab) -> dict:
    """Train with each bug and without, and run the sanity checks on each."""
    steps, seeds = lab.pick(50, 250), lab.seeds(3)
    untrained, data = lab.assemble("model=softmax")
    rows = []
    for name, net, plant in _rows():
        lab.note(f"{net}, {'no bug' if name == SOUND else name}")
        build = partial(_classifier, lab, net, untrained.preprocess)
        # a check may fail by chance where there is no bug, so check those nets for every seed
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
        for plant in planted_bugs.BUGS:
            if (plant in IN_CONVNET) == (net == "ConvNet"):
                yield plant.__name__.replace("_", " "), net, plant


def _classifier(lab: Lab, net: str, preprocess: nn.Module, seed: int) -> Classifier:
    """An untrained net; every seed's has the same preprocessing, since all train on one split."""
    classifier, _ = lab.assemble(*NETS[net], *TRAINING, seed=seed)
    classifier.preprocess = preprocess
    return classifier


def _train(
    classifier: Classifier, data: DataModule, steps: int, seed: int
) -> tuple[list[float | None], float | None]:
    """Loss of each step, and the final loss of held-out images in evaluation mode."""
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
    """The values of a row that are compared, seed by seed; None where a loss is not finite."""
    return {
        "begin": [_mean_if_finite(losses[:STRETCH]) for losses in row["loss"]],
        "end": [_mean_if_finite(losses[-STRETCH:]) for losses in row["loss"]],
        "held_out": row["held_out"],
    }


def _mean_if_finite(losses: Sequence[float | None]) -> float | None:
    return None if None in losses else statistics.fmean(losses)


def sound(m: dict, net: str) -> dict:
    """The row of a net without a bug."""
    return next(row for row in m["rows"] if row["net"] == net and row["name"] == SOUND)


def buggy(m: dict) -> list[dict]:
    """The rows of nets with a bug."""
    return [row for row in m["rows"] if row["name"] != SOUND]


def changes(m: dict, row: dict) -> dict[str, list[float | None]]:
    """Each mark minus the sound net's, for the same seed."""
    right = marks(sound(m, row["net"]))
    return {
        mark: [
            None if None in pair else pair[0] - pair[1]
            for pair in zip(wrong, right[mark], strict=True)
        ]
        for mark, wrong in marks(row).items()
    }


def apart(m: dict, net: str) -> dict[str, float | None]:
    """The range of the sound net's seeds, for each mark."""
    return {
        mark: None if None in values else max(values) - min(values)
        for mark, values in marks(sound(m, net)).items()
    }


def symptom(m: dict, row: dict) -> str:
    """The bug's effect on the training loss, in words."""
    lost = [losses.index(None) for losses in row["loss"] if None in losses]
    if lost:
        return f"NaN or ∞ from step {min(lost) + 1} on"
    firsts, right = (
        _mean_if_finite([run[0] for run in r["loss"]]) for r in (row, sound(m, row["net"]))
    )
    if right is not None and abs(firsts - right) > 1:
        return f"starts at {firsts:.2f} instead of {right:.2f}"
    change, far = changes(m, row)["end"], apart(m, row["net"])["end"]
    words, blank = _change(change, far), math.log(m["classes"])
    stays = max(abs(end - blank) for end in marks(row)["end"]) < 0.05
    return f"ends at ln {m['classes']} = {blank:.2f}" if stays and "by" in words else words


def _change(differences: list[float | None], far: float | None) -> str:
    difference = _mean_if_finite(differences)
    if difference is None or far is None:
        return "NaN or ∞"
    if abs(difference) <= far:
        return f"as before ({round(difference, 2) + 0:+.2f})".replace("-", "−")
    return f"{'higher' if difference > 0 else 'lower'} by {abs(difference):.2f}"


def in_training(m: dict) -> list[dict]:
    """The rows of bugs that change training, and not only evaluation."""
    return [row for row in buggy(m) if row["loss"] != sound(m, row["net"])["loss"]]


def unremarkable(m: dict) -> list[list[str]]:
    """For each seed, the training bugs whose marks deviate no more than another seed's would."""

    def passes(row: dict, s: int) -> bool:
        far = apart(m, row["net"])
        off = {mark: values[s] for mark, values in changes(m, row).items()}
        return not any(off[k] is None or far[k] is None or abs(off[k]) > far[k] for k in off)

    return [
        [row["name"] for row in in_training(m) if passes(row, s)] for s in range(len(m["seeds"]))
    ]


def judge(m: dict) -> list[Finding]:
    """Checks must find every bug and raise no false alarm; curves must hide some bugs."""
    wrong, trained = buggy(m), in_training(m)
    right = [row for row in m["rows"] if row["name"] == SOUND]
    return [
        Finding(
            f"bugs, of {len(wrong)}, that at least one check finds ({_seeds(m)})",
            [sum(bool(row["failed"][s]) for row in wrong) for s in range(len(m["checked_seeds"]))],
            at_least=len(wrong),
        ),
        Finding(
            "checks that fail where there is no bug",
            [sum(len(row["failed"][s]) for row in right) for s in range(len(m["seeds"]))],
            at_most=0,
        ),
        Finding(
            f"of the {len(trained)} bugs that change training, share for which the start and end "
            "of the curve and the held-out loss differ from the sound net's, for the same seed, by "
            "no more than the sound net's seeds differ",
            [100 * len(names) / max(1, len(trained)) for names in unremarkable(m)],
            at_least=A_QUARTER,
            unit="%",
        ),
    ]


def _seeds(m: dict) -> str:
    seeds = m["checked_seeds"]
    return f"seed {seeds[0]} only" if len(seeds) == 1 else f"each of {len(seeds)} seeds"


def draw(m: dict) -> list[Item]:
    """The curves of each net, and a table of all bugs."""
    return [*(_curves(m, net) for net in NETS), _table(m)]


def _curves(m: dict, net: str) -> Plot:
    made = figure("step", "training loss (nats)", height=460)
    x = list(range(1, m["steps"] + 1))
    right = [_smooth(losses) for losses in sound(m, net)["loss"]]
    add_curves(made, x, right, "no bug", 7, line={"width": 5, "color": COLOURS[7]})
    wrong = [row for row in buggy(m) if row["net"] == net]
    for i, row in enumerate(wrong):
        mean = _over_seeds([_smooth(losses) for losses in row["loss"]])
        add_line(made, x, mean, row["name"], i % 7, DASHES[i % 3], 1.5)
    names = [row["name"] for row in wrong if row in in_training(m)]
    passed = [name for name in names if all(name in of_seed for of_seed in unremarkable(m))]
    return Plot(
        made,
        f"Training loss of the {net} with each of {len(wrong)} planted bugs, and with none. Of the "
        f"{len(names)} bugs that change training, {len(passed)} deviate for every seed no more "
        f"than another seed would: {', '.join(passed) or 'none'}.",
        f"{net}: mean over {len(m['seeds'])} seeds of the loss that the program reports, averaged "
        f"over {STRETCH} steps; band: lowest and highest seed without a bug. A curve ends where "
        "the loss is not finite.",
    )


def _smooth(losses: list[float | None]) -> list[float | None]:
    return [_mean_if_finite(losses[max(0, i - STRETCH + 1) : i + 1]) for i in range(len(losses))]


def _over_seeds(runs: list[list[float | None]]) -> list[float | None]:
    return [_mean_if_finite(step) for step in zip(*runs, strict=True)]


def _table(m: dict) -> Table:
    far = ", ".join(
        f"{net} {_number_or_none(apart(m, net)['end'])} in training and "
        f"{_number_or_none(apart(m, net)['held_out'])} held out"
        for net in NETS
    )
    trained = in_training(m)
    return Table(
        ["bug", "training loss", "held-out loss", "looks sound", "found by"],
        [_row(m, row, row in trained) for row in m["rows"]],
        f"Losses in nats after {m['steps']} steps of {m['batch']} images, mean over "
        f"{len(m['seeds'])} seeds; held out: {m['held_out_images']} images in evaluation mode. “As "
        "before”: differs from the sound net's, for the same seed, by no more than the range of "
        f"the sound net's seeds ({far}). Looks sound: number of seeds for which this is true of "
        f"the curve's first {STRETCH} steps, its last {STRETCH} and the held-out loss; “–”: the "
        "bug does not change training. Found by: the checks of sanity=true that fail "
        f"({_seeds(m)}; all {len(m['seeds'])} without a bug).",
    )


def _row(m: dict, row: dict, in_training: bool) -> list[str]:
    found = [name for name in m["checks"] if any(name in failed for failed in row["failed"])]
    seen = ", ".join(found) or "none"
    if row["name"] == SOUND:
        ends, held_out = (
            _number_or_none(_mean_if_finite(marks(row)[k])) for k in ("end", "held_out")
        )
        return [f"none, {row['net']}", f"ends at {ends}", held_out, "", seen]
    held_out = _change(changes(m, row)["held_out"], apart(m, row["net"])["held_out"])
    alike = sum(row["name"] in names for names in unremarkable(m))
    looks_sound = f"{alike} of {len(m['seeds'])}" if in_training else "–"
    return [row["name"], symptom(m, row), held_out, looks_sound, seen]


def _number_or_none(value: float | None) -> str:
    return "NaN or ∞" if value is None else f"{value:.2f}"


CLAIM = Claim(
    name="bugs",
    title="Bugs and what catches them",
    quote=[
        "Gradient descent: update weights iteratively - move in opposite to gradient.",
        r"$$w^{\tau+1} = w^\tau - \eta \Delta E(w^\tau)$$",
    ],
    text=(
        f"{len(planted_bugs.BUGS)} common bugs are planted, one at a time, in the formulas by "
        "hand: a flipped kernel, a missing bias, = instead of += in a backward. A small net trains "
        "with each and without any, on the same batches, and the checks of sanity=true run on "
        "each. See whether there are bugs that the loss curve does not show, because the net "
        "learns in spite of them."
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
