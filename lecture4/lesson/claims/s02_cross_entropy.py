"""Cross-entropy: H(P, Q) = H(P) + D_KL(P ‖ Q), logged during training."""

import math
import statistics

import torch

from lecture4.byhand import functional as F
from lecture4.byhand.optim import Adam
from lecture4.data.randomness import generator
from lecture4.lesson.lab.finding import Claim, Finding
from lecture4.lesson.lab.items import Item, Plot, Widget
from lecture4.lesson.lab.plots import add_curves, add_line, figure, mean_curve
from lecture4.lesson.lab.trainings import Lab
from lecture4.models import MLP

TARGETS = {"one-hot": 0.0, "smoothed": 0.1}  # α of each
EPOCHS = 40
POINTS = 41  # logged steps of a run
QUANTITIES = ("cross_entropy", "kl", "entropy", "right", "gap")


def measure(lab: Lab) -> dict:
    """Fit a small net to a few images, with one-hot and with smoothed targets."""
    n = lab.pick(500, 2000)
    classifier, data = lab.assemble("model=mlp", "model.hidden=[64]")
    index = data.sample(n, lab.seed)
    x = classifier.preprocess(data.dataset.train_inputs[index]).flatten(1)
    labels, names = data.dataset.train_labels[index], list(classifier.class_names)
    seeds = lab.seeds(3)
    runs = {}
    for name, alpha in TARGETS.items():
        lab.note(f"MLP on {n} images, {name} targets, {len(seeds)} seeds")
        runs[name] = [_fit(x, labels, len(names), alpha, seed) for seed in seeds]
    return {
        "seeds": seeds,
        "images": n,
        "class_names": names,
        "alpha": TARGETS,
        "epochs": [EPOCHS * point / (POINTS - 1) for point in range(POINTS)],
        "runs": {
            name: {key: [[row[key] for row in run] for run in of_seeds] for key in QUANTITIES}
            for name, of_seeds in runs.items()
        },
        "gradient_gap": {
            name: max(_gradient_gap(x, labels, len(names), alpha, seed) for seed in seeds)
            for name, alpha in TARGETS.items()
        },
    }


def _fit(
    x: torch.Tensor, labels: torch.Tensor, classes: int, alpha: float, seed: int
) -> list[dict]:
    """Train with Adam on ``F.cross_entropy``; log ``POINTS`` times."""
    model, draw = _net(x, classes, seed), generator(seed)
    optimizer = Adam(model.parameters(), lr=1e-3)
    p, logged = _target(labels, classes, alpha), []
    for epoch in range(EPOCHS):
        if epoch % (EPOCHS // (POINTS - 1)) == 0:
            logged.append(_log(model, x, labels, p, alpha))
        for batch in torch.randperm(len(x), generator=draw).split(50):
            optimizer.zero_grad()
            scores = model(x[batch])
            F.cross_entropy(scores, labels[batch], label_smoothing=alpha).backward()
            optimizer.step()
    return [*logged, _log(model, x, labels, p, alpha)]


def _net(x: torch.Tensor, classes: int, seed: int) -> MLP:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MLP(x.shape[1:], classes, hidden=[64])


def _target(labels: torch.Tensor, classes: int, alpha: float) -> torch.Tensor:
    """P = (1 − α) · one-hot + α/K."""
    one_hot = torch.nn.functional.one_hot(labels, classes).double()
    return (1 - alpha) * one_hot + alpha / classes  # (N, K)


@torch.no_grad()
def _log(
    model: MLP, x: torch.Tensor, labels: torch.Tensor, p: torch.Tensor, alpha: float
) -> dict[str, float]:
    """Means over the images, in float64, of H(P, Q), its two parts, and Q of the right class.

    ``gap`` is the largest difference, over images, between the training loss, the definition
    −Σ p log q and the sum of the parts.
    """
    scores = model(x).double()
    q = F.softmax(scores, 1)
    loss = F.cross_entropy(scores, labels, reduction="none", label_smoothing=alpha)
    entropy, kl = F.entropy(p), F.kl_divergence(p, q)
    ways = torch.stack([loss, F.cross_entropy_of(p, q), entropy + kl])
    return {
        "cross_entropy": loss.mean().item(),
        "entropy": entropy.mean().item(),
        "kl": kl.mean().item(),
        "right": q.gather(1, labels[:, None]).mean().item(),
        "gap": (ways.amax(0) - ways.amin(0)).max().item(),
    }


def _gradient_gap(
    x: torch.Tensor, labels: torch.Tensor, classes: int, alpha: float, seed: int
) -> float:
    """Largest difference between ∂H(P, Q)/∂s and ∂D_KL(P ‖ Q)/∂s, s of an untrained net."""
    s = _net(x, classes, seed)(x).detach().double().requires_grad_()
    p = _target(labels, classes, alpha)
    F.cross_entropy(s, labels, reduction="sum", label_smoothing=alpha).backward()
    (of_kl,) = torch.autograd.grad(F.kl_divergence(p, F.softmax(s, 1)).sum(), s)
    return (s.grad - of_kl).abs().max().item()


def _smoothed_entropy(classes: int, alpha: float) -> float:
    """H(P) of a target of 1 − α + α/K for one class and α/K for each other."""
    right, other = 1 - alpha + alpha / classes, alpha / classes
    return -right * math.log(right) - (classes - 1) * other * math.log(other)


def judge(m: dict) -> list[Finding]:
    """Identities must hold to 1e-12, a thousand times float64's round-off of K terms."""
    one_hot, smoothed = m["runs"]["one-hot"], m["runs"]["smoothed"]
    alpha = m["alpha"]["smoothed"]
    exact = _smoothed_entropy(len(m["class_names"]), alpha)
    return [
        Finding(
            "largest difference between F.cross_entropy, −Σ p log q and H(P) + KL, over all images "
            f"and logged steps, {name} targets",
            [max(max(gaps) for gaps in m["runs"][name]["gap"])],
            at_most=1e-12,
            unit="nats",
        )
        for name in m["runs"]
    ] + [
        Finding(
            "largest H(P) of one-hot targets (0: the loss is the KL divergence)",
            [max(max(values) for values in one_hot["entropy"])],
            at_most=0,
            unit="nats",
        ),
        Finding(
            f"largest distance of H(P) from {exact:.4f} nats, its value for targets smoothed by α "
            f"= {alpha}, which does not depend on the net",
            [max(abs(value - exact) for values in smoothed["entropy"] for value in values)],
            at_most=1e-12,
            unit="nats",
        ),
        Finding(
            "largest difference between the gradients of H(P, Q) and of KL with respect to a score "
            "(0: minimising cross-entropy moves Q to P)",
            [max(m["gradient_gap"].values())],
            at_most=1e-12,
            unit="nats",
        ),
    ]


def draw(m: dict) -> list[Item]:
    """The parts of the loss and the probability of the right class, by epoch; the widget."""
    return [*(_parts(m, name) for name in m["runs"]), _confidence(m), _widget(m)]


def _ends(m: dict, name: str, quantity: str) -> tuple[float, float]:
    """First and last value, mean over the seeds."""
    runs = m["runs"][name][quantity]
    return tuple(statistics.fmean(run[i] for run in runs) for i in (0, -1))


def _parts(m: dict, name: str) -> Plot:
    run, epochs = m["runs"][name], m["epochs"]
    drawn = figure("epoch", "nats")
    for colour, (key, label) in enumerate({"entropy": "H(P)", "kl": "KL(P ‖ Q)"}.items()):
        values = mean_curve(run[key])
        add_line(drawn, epochs, values, label, colour, width=0.5, stackgroup="parts")
    add_curves(drawn, epochs, run["cross_entropy"], "H(P, Q), the loss", 2, line_dash="dot")
    drawn.update_yaxes(rangemode="tozero")
    (h_first, h), (kl_first, kl) = _ends(m, name, "entropy"), _ends(m, name, "kl")
    return Plot(
        drawn,
        f"With {name} targets, α = {m['alpha'][name]}, H(P) is {h_first:.3f} nats at the start and "
        f"{h:.3f} at the end, KL {kl_first:.3f} and {kl:.3f}; together they are the loss, "
        f"{h + kl:.3f} at the end.",
        f"{name.capitalize()} targets, α = {m['alpha'][name]}: the loss of {m['images']} training "
        f"images (dotted) and, stacked below it, its two parts; mean of {len(m['seeds'])} seeds. "
        + (
            "P is certain, so H(P) = 0 and the loss is all KL."
            if not m["alpha"][name]
            else "The loss cannot fall below H(P), which it would reach at KL = 0."
        ),
    )


def _confidence(m: dict) -> Plot:
    drawn = figure("epoch", "probability of the right class")
    alpha, classes = m["alpha"]["smoothed"], len(m["class_names"])
    goal = 1 - alpha + alpha / classes
    for colour, name in enumerate(m["runs"]):
        add_curves(drawn, m["epochs"], m["runs"][name]["right"], name, colour)
    drawn.add_hline(y=goal, line_dash="dash", line_color="#7f8c8d")
    drawn.update_yaxes(range=[0, 1.02])
    return Plot(
        drawn,
        f"At the end the net gives the right class {_ends(m, 'one-hot', 'right')[1]:.3f} with "
        f"one-hot targets, {_ends(m, 'smoothed', 'right')[1]:.3f} with smoothed ones, whose P "
        f"gives it {goal:.3f}.",
        "As KL goes to 0, Q goes to P: to 1 for the right class, or with smoothing to 1 − α + α/K "
        f"= {goal:.2f} (dashed). Mean of {len(m['seeds'])} seeds, band from lowest to highest.",
    )


def _widget(m: dict) -> Widget:
    return Widget(
        "softmax",
        {"classes": m["class_names"][:4], "scores": [1.0, 2.5, -0.5, 0.0], "right": 0},
        "Sliders for the scores of four classes, a constant added to all, and the smoothing of the "
        "target; bars of P and Q, and the loss split into H(P) and KL.",
        "Raise the right score: KL goes to 0, never below. With smoothing there is an optimum, and "
        "a Q more certain than P costs. The constant changes every score and no probability.",
    )


CLAIM = Claim(
    name="cross_entropy",
    title="Cross-entropy",
    quote=[
        r"Cross Entropy: $$H(P, Q) = H(p) + D_{KL}(P||Q)$$, P = correcct probs, Q = normalized "
        r"probabilities.",
        r"Put all together: $$L_i = -\log (\frac{e^sy_i}{\sum_j e^sj})$$",
    ],
    text="A small net learns a few images by heart, once with one-hot and once with smoothed "
    "targets. During training its loss is compared, image by image, with H(P) + KL(P ‖ Q), each "
    "computed by its own formula. H(P) depends only on the targets, so it has no gradient: "
    "training can only move Q to P.",
    formulas=[
        r"H(P, Q) = H(P) + D_{KL}(P \| Q)",
        r"H(P, Q) = -\sum_k p_k \log q_k, \quad H(P) = H(P, P)",
        r"D_{KL}(P \| Q) = \sum_k p_k \log \frac{p_k}{q_k}",
        r"p_{y_i} = 1: \quad L_i = -\log \frac{e^{s_{y_i}}}{\sum_j e^{s_j}}",
    ],
    code=[F.cross_entropy, F.entropy, F.kl_divergence, F.cross_entropy_of],
    measure=measure,
    judge=judge,
    draw=draw,
)
