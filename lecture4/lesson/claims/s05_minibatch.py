"""Minibatches: unbiased gradients, their spread of 1/√N, and the effect on training."""

import itertools
import math
import statistics
import time
from collections.abc import Callable

import torch

from lecture4.byhand import functional as F
from lecture4.byhand.optim import SGD
from lecture4.data.randomness import generator
from lecture4.lesson.lab.finding import Claim, Finding
from lecture4.lesson.lab.items import Item, Plot, Table
from lecture4.lesson.lab.plots import add_curves, add_line, add_points, figure, panels, spread
from lecture4.lesson.lab.trainings import Lab
from lecture4.models import SoftmaxClassifier
from lecture4.training.datamodule import DataModule

SMALLEST = 32
UNBIASED = 128  # the N whose gradients are averaged
RATE = 0.012  # tried first; then doubled or halved while the loss falls
MOST_RATES = 8


def measure(lab: Lab) -> dict:
    """Draw minibatch gradients at fixed weights; then train with several batch sizes."""
    n = lab.pick(4096, 8192)
    x, y = _examples(lab, n)
    seeds = lab.seeds(5)
    lab.note(f"minibatch gradients at fixed W, {len(seeds)} seeds")
    gradients = [_gradients(x, y, seed, *lab.pick((4, 512), (16, 2048))) for seed in seeds]
    sizes = lab.pick([32, 128, 512, n], [32, 64, 128, 512, 2048, n])
    epochs, training_seeds = lab.pick(5, 15), lab.seeds(3)
    return {
        "seeds": seeds,
        "images": n,
        "gradients": gradients,
        "training_seeds": training_seeds,
        "epochs": epochs,
        "training": [_training(lab, x, y, size, epochs, training_seeds) for size in sizes],
    }


def _examples(lab: Lab, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """n training images, flattened and with a 1 for the bias, (n, D + 1); one-hot labels (n, K)."""
    classifier, data = lab.assemble("model=softmax")
    index = data.sample(n, lab.seed)
    x = classifier.preprocess(data.dataset.train_inputs[index]).flatten(1)
    y = torch.nn.functional.one_hot(data.dataset.train_labels[index], len(classifier.class_names))
    return torch.cat([x, torch.ones(n, 1)], 1), y.to(x.dtype)


def _gradient(weight: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """∂L/∂W of s = W x, the mean over the images: (1/N) Σᵢ (pᵢ − yᵢ) xᵢᵀ."""
    return (F.softmax(x @ weight.T, 1) - y).T @ x / len(x)  # (K, D + 1)


def _descend(
    x: torch.Tensor, y: torch.Tensor, size: int, rate: float, epochs: int, seed: int
) -> tuple[torch.Tensor, list[float], list[float]]:
    """W ← W − η ∂L/∂W; returns W, the loss before and after each epoch, seconds per epoch."""
    draw = generator(seed)
    weight = 1e-3 * torch.randn(y.shape[1], x.shape[1], generator=draw)
    losses, seconds = [F.cross_entropy(x @ weight.T, y).item()], []
    for _ in range(epochs):
        start = time.perf_counter()
        order = torch.randperm(len(x), generator=draw)
        for batch in order.split(size) if size < len(x) else [None]:
            rows = (x, y) if batch is None else (x.index_select(0, batch), y[batch])
            weight -= rate * _gradient(weight, *rows)
        seconds.append(time.perf_counter() - start)
        losses.append(F.cross_entropy(x @ weight.T, y).item())
    return weight, losses, seconds


def _gradients(x: torch.Tensor, y: torch.Tensor, seed: int, passes: int, batches: int) -> dict:
    """Minibatch gradients and the full gradient, at the W of one epoch of training."""
    weight, _, _ = _descend(x, y, UNBIASED, 0.006, 1, seed)
    n, draw = len(x), generator(seed, 1)
    full, error = _gradient(weight, x, y), F.softmax(x @ weight.T, 1) - y
    # An image's gradient is (p − y) xᵀ, whose norm is ‖p − y‖ ‖x‖.
    square = (error.square().sum(1).double() * x.square().sum(1)).mean().item()
    orders = {
        "with": [torch.randint(n, (n,), generator=draw) for _ in range(passes)],
        "without": [torch.randperm(n, generator=draw) for _ in range(passes)],
    }
    mean, distances = torch.zeros_like(full), {}
    for m in range(1, batches + 1):
        batch = torch.randperm(n, generator=draw)[:UNBIASED]
        mean += (_gradient(weight, x[batch], y[batch]) - mean) / m
        if m & (m - 1) == 0:  # 1, 2, 4, …
            distances[m] = (mean - full).norm().item()
    return {
        "norm": full.norm().item(),
        "deviation": math.sqrt(square - full.square().sum().item()),
        "spread": {how: _spread(x, error, full, drawn) for how, drawn in orders.items()},
        "batches": list(distances),
        "distance": list(distances.values()),
    }


def _spread(
    x: torch.Tensor, error: torch.Tensor, full: torch.Tensor, orders: list[torch.Tensor]
) -> dict[str, list]:
    """√E‖g_N − g‖² for N = 32, 64, …: two consecutive batches of N make one of 2N."""
    squares: dict[int, list[torch.Tensor]] = {}
    for order in orders:
        of = order.view(-1, SMALLEST)
        gradients = error[of].transpose(1, 2) @ x[of] / SMALLEST - full  # (n/32, K, D + 1)
        size = SMALLEST
        while len(gradients) > 1:
            squares.setdefault(size, []).append(gradients.square().sum((1, 2)))
            gradients, size = (gradients[::2] + gradients[1::2]) / 2, 2 * size
    spreads = [torch.cat(values).mean().sqrt().item() for values in squares.values()]
    return {"sizes": list(squares), "spread": spreads}


def _training(
    lab: Lab, x: torch.Tensor, y: torch.Tensor, size: int, epochs: int, seeds: list[int]
) -> dict:
    """Train with one batch size, at the rate of the lowest mean final loss.

    A single seed would not do: with a rate so high that the loss jumps, it may be lucky.
    """
    lab.note(f"softmax classifier, batches of {size}, by several rates, {len(seeds)} seeds")
    runs, last = {}, {}

    def last_loss(rate: float) -> float:
        runs[rate] = [_descend(x, y, size, rate, epochs, seed)[1:] for seed in seeds]
        losses = [losses[-1] for losses, _ in runs[rate]]
        last[rate] = statistics.mean(losses) if _finite(losses) else math.inf
        return last[rate]

    best = _climb(last_loss)
    return {
        "size": size,
        "rate": best,
        "at_edge": best in (min(last), max(last)),
        "tried": [[rate, loss if _finite([loss]) else None] for rate, loss in sorted(last.items())],
        "losses": [_learned(losses) for losses, _ in runs[best]],
        "seconds": statistics.median(
            s for tried in runs.values() for _, spent in tried for s in spent
        ),
    }


def _climb(last_loss: Callable[[float], float]) -> float:
    """The rate RATE · 2ᵏ of lowest final loss: search down, then up, until the loss rises.

    After a rate at which training diverges, the next lower one is tried.
    """
    last = {RATE: last_loss(RATE)}
    while len(last) < MOST_RATES:
        best, tried = min(last, key=last.get), sorted(last)
        if best == tried[0] or math.isinf(last[best]):
            rate = tried[0] / 2
        elif best == tried[-1]:
            rate = 2 * best
        else:
            return best
        last[rate] = last_loss(rate)
    return min(last, key=last.get)


def _finite(values: list[float]) -> bool:
    return all(map(math.isfinite, values))


def _learned(losses: list[float]) -> list[float]:
    """The losses of a run; if it diverged, its first loss throughout."""
    return losses if _finite(losses) else losses[:1] * len(losses)


def _predicted(n: int, size: int, how: str) -> float:
    """Spread over one image's: 1/√N, times √((n − N)/(n − 1)) if drawn without replacement."""
    return math.sqrt((1 / size) * ((n - size) / (n - 1) if how == "without" else 1))


def _distance_ratio(seed: dict, n: int) -> float:
    """Distance of the mean of all minibatch gradients from the full one, in standard errors."""
    error = seed["deviation"] * _predicted(n, UNBIASED, "without") / math.sqrt(seed["batches"][-1])
    return seed["distance"][-1] / error


def _slope(spread: dict) -> float:
    """Slope of log spread against log N, by least squares."""
    return statistics.linear_regression(
        [math.log(size) for size in spread["sizes"]], [math.log(s) for s in spread["spread"]]
    ).slope


def _level(seed: dict, n: int, how: str) -> float:
    """Measured over predicted spread, geometric mean over N."""
    spread = seed["spread"][how]
    return statistics.geometric_mean(
        value / (seed["deviation"] * _predicted(n, size, how))
        for size, value in zip(spread["sizes"], spread["spread"], strict=True)
    )


def _epochs_to(losses: list[float], goal: float) -> float:
    """Epochs until a loss reaches the goal, interpolated; one more than there are if it never does.

    A loss that ends no lower than it started never reaches a goal.
    """
    if losses[-1] >= losses[0]:
        return len(losses)
    for epoch, (before, after) in enumerate(itertools.pairwise(losses)):
        if after <= goal:
            return epoch + (before - goal) / (before - after) if before > goal else epoch
    return len(losses)


def judge(m: dict) -> list[Finding]:
    """Gradients are compared with statistics' prediction, trainings with the full batch's."""
    return [*_gradients_found(m), *_trainings_found(m)]


def _gradients_found(m: dict) -> list[Finding]:
    n = m["images"]
    return [
        Finding(  # chance gives about one standard error; a bias would grow without bound
            f"distance of the mean of {m['gradients'][0]['batches'][-1]} minibatch gradients (N = "
            f"{UNBIASED}) from the full gradient, in standard errors; about 1 if unbiased",
            [_distance_ratio(seed, n) for seed in m["gradients"]],
            at_most=2,
        ),
        Finding(  # a tenth of the exponent
            "slope of log spread against log N, drawn with replacement; 1/√N has −0.5",
            [_slope(seed["spread"]["with"]) for seed in m["gradients"]],
            at_least=-0.55,
            at_most=-0.45,
        ),
        Finding(
            "spread drawn with replacement over one image's spread / √N, mean over N",
            [_level(seed, n, "with") for seed in m["gradients"]],
            at_least=0.9,
            at_most=1.1,
        ),
        Finding(
            f"the same drawn without replacement, as in an epoch, over √((n − N)/(n − 1)), n = {n}",
            [_level(seed, n, "without") for seed in m["gradients"]],
            at_least=0.9,
            at_most=1.1,
        ),
    ]


def _trainings_found(m: dict) -> list[Finding]:
    full, findings = m["training"][-1], []
    for run in (run for run in m["training"] if run["size"] in (32, 64, 128)):
        pairs = list(zip(run["losses"], full["losses"], strict=True))
        findings += [
            Finding(
                f"training loss after {m['epochs']} epochs, N = {run['size']} minus full batch",
                [losses[-1] - of_full[-1] for losses, of_full in pairs],
                at_most=0,
                unit="nats",
            ),
            Finding(
                f"images that N = {run['size']} needs to reach the full batch's final loss, over "
                "the images that the full batch has seen (at most half: SGD should save a factor "
                "of 2)",
                [_epochs_to(losses, of_full[-1]) / m["epochs"] for losses, of_full in pairs],
                at_most=0.5,
            ),
        ]
    return findings


def draw(m: dict) -> list[Item]:
    """The spread against N, the mean of many gradients, the loss against epochs and seconds."""
    return [_spread_plot(m), _mean_plot(m), _race(m), _table(m)]


def _spread_plot(m: dict) -> Plot:
    n, gradients = m["images"], m["gradients"]
    drawn = figure("N, images in a batch", "spread / spread of one image", log_x=True, log_y=True)
    styles = {
        "with": ("1/√N", "dash", "circle"),
        "without": ("1/√N · √((n − N)/(n − 1))", "dot", "diamond"),
    }
    for colour, how in enumerate(styles):
        sizes = gradients[0]["spread"][how]["sizes"]
        law, dash, symbol = styles[how]
        add_line(drawn, sizes, [_predicted(n, size, how) for size in sizes], law, colour, dash)
        values = [
            v / seed["deviation"] for seed in gradients for v in seed["spread"][how]["spread"]
        ]
        name, x = f"drawn {how} replacement", sizes * len(gradients)
        add_points(drawn, x, values, name, colour, symbol=symbol)
    drawn.update_yaxes(dtick="D2")  # ticks at 2 and 5 between powers of ten
    drawn.update_xaxes(tickvals=sizes, tickangle=0, ticktext=[str(size) for size in sizes])
    drawn.update_layout(height=420)
    slopes = {
        how: statistics.mean(_slope(seed["spread"][how]) for seed in gradients)
        for how in ("with", "without")
    }
    return Plot(
        drawn,
        f"The spread of minibatch gradients scales as N to the power {slopes['with']:.3f} if drawn "
        f"with replacement, and {slopes['without']:.3f} without, up to N = {sizes[-1]} of {n} "
        "images.".replace("-", "−"),
        f"Root mean square distance of a minibatch gradient from the full gradient of {n} images, "
        f"a mark for each of {len(gradients)} seeds. By 1/√N, halving it takes four times the "
        "images. An epoch draws without replacement, and at N = n the spread is 0.",
    )


def _mean_plot(m: dict) -> Plot:
    gradients, batches = m["gradients"], m["gradients"][0]["batches"]
    drawn = figure("minibatch gradients averaged", "distance / ‖∇L‖", log_x=True, log_y=True)
    distances = [[d / seed["norm"] for d in seed["distance"]] for seed in gradients]
    add_curves(drawn, batches, distances, "measured", mode="lines+markers")
    drawn.update_xaxes(dtick=1)
    drawn.update_yaxes(dtick="D2")
    deviation = statistics.mean(seed["deviation"] / seed["norm"] for seed in gradients)
    one = deviation * _predicted(m["images"], UNBIASED, "without")
    unbiased = [one / math.sqrt(count) for count in batches]
    add_line(drawn, batches, unbiased, "if unbiased", 1, "dash")
    first, last = (statistics.mean(d[i] for d in distances) for i in (0, -1))
    errors = spread([_distance_ratio(seed, m["images"]) for seed in gradients], 2)
    return Plot(
        drawn,
        f"One minibatch gradient of {UNBIASED} images is {first:.2f} ‖∇L‖ from the full gradient; "
        f"the mean of {batches[-1]} is {last:.3f} ‖∇L‖ from it, {errors} times the prediction.",
        f"The mean of independent minibatch gradients (N = {UNBIASED}) should approach the full "
        "gradient along the dashed line; a bias would bend the curve to a floor. Mean of "
        f"{len(gradients)} seeds, band from lowest to highest.",
    )


def _name(run: dict, n: int) -> str:
    return f"full, {n}" if run["size"] == n else f"N = {run['size']}"


def _race(m: dict) -> Plot:
    drawn = panels(2, 1, height=620, vertical_spacing=0.16)
    epochs = range(m["epochs"] + 1)
    for colour, run in enumerate(m["training"]):
        name = _name(run, m["images"])
        add_curves(drawn, epochs, run["losses"], name, colour, row=1, col=1)
        seconds = [epoch * run["seconds"] for epoch in epochs]
        add_curves(drawn, seconds, run["losses"], name, colour, row=2, col=1, showlegend=False)
    drawn.update_xaxes(title="epochs", row=1, col=1)
    drawn.update_xaxes(title="seconds, as measured here", row=2, col=1)
    drawn.update_yaxes(title="training loss")
    last = {_name(run, m["images"]): _final(run) for run in m["training"]}
    return Plot(
        drawn,
        f"Training loss after {m['epochs']} epochs: "
        + "; ".join(f"{name}: {loss:.3f}" for name, loss in last.items())
        + ". The full batch takes one step in an epoch.",
        f"Softmax classifier on {m['images']} images by w ← w − η ∇L, each N with the best of its "
        f"rates (see the table); mean of {len(m['training_seeds'])} seeds, band from lowest to "
        "highest. Seconds are the median epoch's on this machine, and vary with it.",
    )


def _final(run: dict) -> float:
    return statistics.mean(losses[-1] for losses in run["losses"])


def _epochs_to_full(m: dict, run: dict) -> float:
    """Epochs until the full batch's final loss is reached, mean over the seeds."""
    pairs = zip(run["losses"], m["training"][-1]["losses"], strict=True)
    return statistics.mean(_epochs_to(losses, of_full[-1]) for losses, of_full in pairs)


def _table(m: dict) -> Table:
    edge = any(run["at_edge"] for run in m["training"])
    return Table(
        ["batch", "steps in an epoch", "η", "tried", "ms an epoch", "final loss", "ms to full's"],
        [
            [
                _name(run, m["images"]),
                m["images"] // run["size"],
                f"{run['rate']:g}" + " *" * run["at_edge"],
                "{:g}–{:g}".format(run["tried"][0][0], run["tried"][-1][0]),
                f"{1000 * run['seconds']:.0f}",
                f"{_final(run):.3f}",
                f"{1000 * run['seconds'] * _epochs_to_full(m, run):.0f}",
            ]
            for run in m["training"]
        ],
        f"Loss after {m['epochs']} epochs, and the time to reach the full batch's final loss. η is "
        "the best of the rates tried, each twice the one before"
        + (" (*: the smallest or largest, so a better one may lie beyond). " if edge else ". ")
        + "A larger batch has fewer steps in an epoch, and more work in each. Times depend on the "
        "machine and its load, so no finding uses them.",
    )


CLAIM = Claim(
    name="minibatch",
    title="Minibatches",
    quote=["SGD: Full sum is expensive. Common minibatch: 32,64,128"],
    text="At one W, of a softmax classifier after one epoch, gradients of many minibatches are "
    "compared with the gradient of all images: their mean should be the full gradient, and their "
    "spread around it should fall as 1/√N. Then the classifier is trained with several batch sizes "
    "and with the full batch, each at its best learning rate, for equally many epochs. See how "
    "many images minibatches need to reach the full batch's final loss.",
    formulas=[
        r"g_N = \frac{1}{N} \sum_{i=1}^{N} \nabla_W L_i(x_i, y_i, W)",
        r"\mathbb{E}[g_N] = \nabla_W L, \quad "
        r"\sqrt{\mathbb{E} \|g_N - \nabla_W L\|^2} = \frac{\sigma}{\sqrt{N}}",
        r"\text{without replacement: } \frac{\sigma}{\sqrt{N}} \sqrt{\frac{n - N}{n - 1}}",
    ],
    code=[SGD, DataModule, SoftmaxClassifier, F.cross_entropy],
    measure=measure,
    judge=judge,
    draw=draw,
)
