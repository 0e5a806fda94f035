"""Cross-entropy: H(P, Q) = H(P) + D_KL(P ‖ Q), logged during training."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lecture4.byhand import functional as F
from lecture4.byhand.optim import Adam
from lecture4.data.randomness import generator
from lecture4.lesson.lab import COLOURS, Finding, Item, Lab, Widget, descend, exact, lines
from lecture4.models import MLP

Loss = Callable[..., Tensor]  # F.cross_entropy with label smoothing

TITLE = "Cross-entropy"
QUOTE = [
    r"Cross Entropy: $$H(P, Q) = H(p) + D_{KL}(P||Q)$$, P = correcct probs, Q = normalized "
    r"probabilities.",
    r"Put all together: $$L_i = -\log (\frac{e^sy_i}{\sum_j e^sj})$$",
]
TEXT = (
    "A small net learns a few images by heart, once with one-hot and once with smoothed "
    "targets. During training its loss is compared, image by image, with H(P) + KL(P ‖ Q), each "
    "computed by its own formula. H(P) depends only on the targets, so it has no gradient: "
    "training can only move Q to P."
)
FORMULAS = [
    r"H(P, Q) = H(P) + D_{KL}(P \| Q)",
    r"H(P, Q) = -\sum_k p_k \log q_k, \quad H(P) = H(P, P)",
    r"D_{KL}(P \| Q) = \sum_k p_k \log \frac{p_k}{q_k}",
    r"p_{y_i} = 1: \quad L_i = -\log \frac{e^{s_{y_i}}}{\sum_j e^{s_j}}",
]
CODE = [F.cross_entropy, F.entropy, F.kl_divergence, F.cross_entropy_of]
TARGETS = {"one-hot": 0.0, "smoothed": 0.1}  # α of each
EPOCHS = 40


@dataclass
class Row:
    """Means over the images, in nats, except the last."""

    loss: float
    entropy: float
    kl: float
    right: float  # Q of the right class
    gap: float  # largest difference between the loss, −Σ p log q and the sum of the parts


@dataclass
class Measured:
    """Nets during training, by kind of target: a row for each epoch of each seed."""

    images: int
    classes: list[str]
    runs: dict[str, list[list[Row]]]
    gradient_gap: float

    def curves(self, targets: str, quantity: str) -> list[list[float]]:
        """One quantity of the rows, for each seed."""
        return [[getattr(row, quantity) for row in run] for run in self.runs[targets]]


def measure(lab: Lab) -> Measured:
    """Fit a small net to a few images, with one-hot and with smoothed targets."""
    n, seeds = lab.pick(500, 2000), lab.seeds(3)
    classifier, data = lab.assemble("model=mlp", "model.hidden=[64]")
    index, classes = data.sample(n, lab.seed), list(classifier.class_names)
    x = classifier.preprocess(data.dataset.train_inputs[index]).flatten(1)
    labels, runs, gaps = data.dataset.train_labels[index], {}, []
    for name, alpha in TARGETS.items():
        lab.note(f"MLP on {n} images, {name} targets, {len(seeds)} seeds")
        p = target(labels, len(classes), alpha)
        loss = partial(F.cross_entropy, label_smoothing=alpha)
        runs[name] = [fit(net(x, p, seed), x, labels, p, loss, seed) for seed in seeds]
        gaps += [gradient_gap(net(x, p, seed)(x), labels, p, loss) for seed in seeds]
    return Measured(n, classes, runs, max(gaps))


def target(labels: Tensor, classes: int, alpha: float) -> Tensor:
    """P = (1 − α) · one-hot + α/K, (N, K)."""
    one_hot = torch.nn.functional.one_hot(labels, classes).double()
    return (1 - alpha) * one_hot + alpha / classes


def net(x: Tensor, p: Tensor, seed: int) -> MLP:
    """An untrained MLP."""
    torch.manual_seed(seed)
    return MLP(x.shape[1:], p.shape[1], hidden=[64])


def fit(model: MLP, x: Tensor, labels: Tensor, p: Tensor, loss: Loss, seed: int) -> list[Row]:
    """Train with Adam; a row before each epoch and after the last."""
    optimizer, draw = Adam(model.parameters(), lr=1e-3), generator(seed)
    rows = [row(model(x), labels, p, loss)]
    for _ in range(EPOCHS):
        batches = torch.randperm(len(x), generator=draw).split(50)
        for _ in descend(model, ((x[b], labels[b]) for b in batches), optimizer, loss):
            pass
        rows.append(row(model(x), labels, p, loss))
    return rows


@torch.no_grad()
def row(scores: Tensor, labels: Tensor, p: Tensor, loss: Loss) -> Row:
    """H(P, Q) and its two parts, each by its own formula in float64."""
    q, h_pq = F.softmax(scores.double(), 1), loss(scores.double(), labels, reduction="none")
    h_p, kl = F.entropy(p), F.kl_divergence(p, q)
    ways = torch.stack([h_pq, F.cross_entropy_of(p, q), h_p + kl])
    means = (each.mean().item() for each in (h_pq, h_p, kl, q.gather(1, labels[:, None])))
    return Row(*means, gap=(ways.amax(0) - ways.amin(0)).max().item())


def gradient_gap(scores: Tensor, labels: Tensor, p: Tensor, loss: Loss) -> float:
    """Largest difference between ∂H(P, Q)/∂s and ∂D_KL(P ‖ Q)/∂s."""
    s = scores.detach().double().requires_grad_()
    (of_loss,) = torch.autograd.grad(loss(s, labels, reduction="sum"), s)
    (of_kl,) = torch.autograd.grad(F.kl_divergence(p, F.softmax(s, 1)).sum(), s)
    return (of_loss - of_kl).abs().max().item()


def smoothed_entropy(classes: int, alpha: float) -> float:
    """H(P) of a target of 1 − α + α/K for one class and α/K for each other."""
    right, other = 1 - alpha + alpha / classes, alpha / classes
    return -right * math.log(right) - (classes - 1) * other * math.log(other)


def judge(m: Measured) -> Iterator[Finding]:
    """Identities must hold to a thousand times float64's round-off of K terms."""
    equal = partial(exact, at_most=1e-12, unit="nats")
    for name in TARGETS:
        yield equal(
            f"sum of parts, {name}",
            f"largest difference between the loss and H(P) + KL, {name} targets",
            max(max(gaps) for gaps in m.curves(name, "gap")),
            definition="F.cross_entropy, −Σ p log q and H(P) + KL, for all images and epochs",
        )
    yield Finding(
        "one-hot entropy",
        "largest H(P) of one-hot targets",
        [max(max(values) for values in m.curves("one-hot", "entropy"))],
        at_most=0,
        why="they are certain, so the loss is the KL divergence",
        unit="nats",
    )
    expected = smoothed_entropy(len(m.classes), TARGETS["smoothed"])
    yield equal(
        "smoothed entropy",
        f"largest distance of H(P) from {expected:.4f} nats, smoothed targets",
        max(abs(h - expected) for values in m.curves("smoothed", "entropy") for h in values),
        definition=f"its value for α = {TARGETS['smoothed']}, which does not depend on the net",
    )
    yield equal(
        "gradient",
        "largest difference between the gradients of H(P, Q) and of KL",
        m.gradient_gap,
        definition="with respect to a score: 0 means that minimising cross-entropy moves Q to P",
    )


def draw(m: Measured) -> Iterator[Item]:
    """The parts of the loss and the probability of the right class, by epoch; the widget."""
    epochs = range(EPOCHS + 1)
    parts = {"H(P)": "entropy", "KL(P ‖ Q)": "kl", "H(P, Q), the loss": "loss"}
    for name, alpha in TARGETS.items():
        plot = lines(
            epochs,
            {label: m.curves(name, quantity) for label, quantity in parts.items()},
            x="epoch",
            y="nats",
            digits=3,
            caption=f"{name.capitalize()} targets, α = {alpha}, {m.images} training images: the "
            "loss (dotted) is KL, raised by the constant H(P), below which it cannot fall.",
        )
        plot.figure.data[-1].update(mode="lines", line_dash="dot")
        yield plot
    goal = 1 - TARGETS["smoothed"] + TARGETS["smoothed"] / len(m.classes)
    confidence = lines(
        epochs,
        {name: m.curves(name, "right") for name in TARGETS},
        x="epoch",
        y="probability of the right class",
        digits=3,
        caption="As KL goes to 0, Q goes to P: to 1 for the right class, or with smoothing to "
        f"1 − α + α/K = {goal:.2f} (dashed).",
    )
    confidence.figure.add_hline(goal, line={"dash": "dash", "color": COLOURS[7]})
    yield confidence
    yield Widget(
        "softmax",
        {"classes": m.classes[:4], "scores": [1.0, 2.5, -0.5, 0.0], "right": 0},
        "Sliders for the scores of four classes, a constant added to all, and the smoothing of the "
        "target; bars of P and Q, and the loss split into H(P) and KL.",
        "Raise the right score: KL goes to 0, never below. With smoothing there is an optimum, and "
        "a Q more certain than P costs. The constant changes every score and no probability.",
    )
