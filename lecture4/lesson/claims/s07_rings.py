"""Not linearly separable: a line fails, the polar transform succeeds, and a net learns one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from lecture4.data.preprocess import Polar
from lecture4.data.rings import make_rings
from lecture4.lesson.lab import Finding, Item, Lab, Plot, Table, Widget, scores_of
from lecture4.lesson.lab.plots import COLOURS, add_points, panels, percent, spread
from lecture4.models import MLP, SoftmaxClassifier
from lecture4.training.classifier import Classifier

TITLE = "Not linearly separable"
QUOTE = [
    "If data is not linearly separable.",
    "One Solution: feature transforms. E.g data in circle -> polar space.",
    r"$$f(x,y) = (r(x,y), \theta(x,y))$$",
]
TEXT = (
    "A disc in a ring: two classes of points in the plane that no straight line separates. A "
    "linear classifier is trained on (x, y), another on (r, θ), and a small net on (x, y); its "
    "last hidden layer has two tanh units, so that it can be drawn. See the boundary of each, and "
    "the plane in which the net's boundary is a straight line: there, and in (r, θ), the classes "
    "should be separated."
)
FORMULAS = [
    r"f(x, y) = (r(x, y), \theta(x, y))",
    r"r = \sqrt{x^2 + y^2}, \quad \theta = \text{atan2}(y, x)",
    r"h = \tanh(W_2 \tanh(W_1 x + b_1) + b_2)",
    r"s = W_3 h + b_3",
]
CODE = [Polar, SoftmaxClassifier, MLP, make_rings]
LINEAR = ("data=rings", "model=softmax", "optim.lr=0.3", "trainer.max_epochs=20")
POLAR = (*LINEAR, "preprocess=polar")
# The last two units can be drawn. They are tanh, because two ReLU units may both die.
NET = ("data=rings", "model=mlp", "model.hidden=[16,2]", "model.activation=tanh")
TRAININGS = {"linear, of (x, y)": LINEAR, "linear, of (r, θ)": POLAR, "net 2–16–2–2": NET}
STEPS = 21  # on the way from (x, y) to (r, θ)
REACH, UNITS = 2.2, 1.1  # of the planes of points, the ring ends at 2, and of tanh units
GRID = 51
DRAWN = 400  # test points in a figure
SHADES = {  # a colour for each class, and a line where P = 1/2
    "zmin": 0,
    "zmax": 1,
    "colorscale": [
        [0, "rgba(47,127,193,0.4)"],
        [0.5, "rgba(127,127,127,0.06)"],
        [1, "rgba(224,128,31,0.4)"],
    ],
    "contours": {"coloring": "heatmap", "start": 0.5, "end": 0.5, "size": 1},
    "line": {"width": 2, "color": COLOURS[6]},
    "showscale": False,
    "hovertemplate": "P = %{z:.3f}<extra></extra>",
}


@dataclass
class Trained:
    """One kind of classifier: accuracy in % and last training loss for each seed, and a map."""

    accuracy: list[float]
    loss: list[float]  # ln 2, the loss of guessing, if it diverged
    diverged: int
    parameters: int
    plane: list[list[float]]  # P(class 1) on a grid, first seed


@dataclass
class Line:
    """The straight line n·x = c: its accuracy in %, the angle of n, and the offset c."""

    accuracy: float
    angle: float
    offset: float


@dataclass
class Measured:
    """The classifiers, and what the figures need of the first seed."""

    seeds: list[int]
    trained: dict[str, Trained]
    test_size: int
    class_names: list[str]
    limit: float  # accuracy in % of the best line for infinitely many points
    way: list[Line]  # the best one at each step from (x, y) to (r, θ)
    points: list[list[float]]
    labels: list[int]
    hidden: list[list[float]]  # the points as the net's last layer sees them
    hidden_plane: list[list[float]]
    circle: list[list[float]]  # the boundary of the classifier of (r, θ)


def measure(lab: Lab) -> Measured:
    """Train the three classifiers; find the best line on the way from (x, y) to (r, θ)."""
    seeds, trained, restored = lab.seeds(lab.pick(5, 10)), {}, {}
    for name, overrides in TRAININGS.items():
        runs = [lab.train(*overrides, seed=seed) for seed in seeds]
        restored[name], data = lab.restore(runs[0], *overrides)
        trained[name] = Trained(
            percent([run.accuracy for run in runs]),
            [math.log(2) if r.diverged else r.curve("train/loss")[-1] for r in runs],
            sum(run.diverged for run in runs),
            runs[0].parameters,
            plane(restored[name], REACH),
        )
    _, linear, net = restored.values()  # the linear one of (r, θ)
    points, labels = data.dataset.test_inputs, data.dataset.test_labels
    polar, steps = Polar((2,))(points), [i / (STEPS - 1) for i in range(STEPS)]
    lab.note("best straight line on the way from (x, y) to (r, θ)")
    hidden = nn.Sequential(net.preprocess, net.model.flatten, net.model.hidden)
    return Measured(
        seeds=seeds,
        trained=trained,
        test_size=len(points),
        class_names=list(data.dataset.class_names),
        limit=100 * line_limit(),
        way=[best_line(torch.lerp(points, polar, t), labels) for t in steps],
        points=points[:DRAWN].tolist(),
        labels=labels[:DRAWN].tolist(),
        hidden=scores_of(hidden, points[:DRAWN]).tolist(),
        hidden_plane=plane(net.model.scores, UNITS),
        circle=polar_boundary(linear),
    )


def line_limit(steps: int = 2000) -> float:
    """Accuracy of the best straight line on infinitely many points of the rings.

    The line is at distance d from the centre. A share arccos(d/r)/π of the points at radius r > d
    lies beyond it and is classified as the ring; the radius is uniform in each class.
    """
    u = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    d = torch.linspace(0, 2, steps, dtype=torch.float64)[:, None]
    beyond = [((d / (0.8 * u + 1.2 * k)).clamp(max=1).acos() / math.pi).mean(1) for k in (0, 1)]
    return ((1 - beyond[0] + beyond[1]) / 2).max().item()


def best_line(points: Tensor, labels: Tensor, directions: int = 360) -> Line:
    """The best straight line among all offsets in each of many directions."""
    angles = torch.arange(directions, dtype=torch.float64) * (math.pi / directions)
    normals = torch.stack([angles.cos(), angles.sin()])  # (2, A)
    sorted_, order = (points.double() @ normals).sort(0)  # (N, A)
    ones = labels[order].cumsum(0)  # cumulative count
    zeros = torch.arange(1, len(labels) + 1)[:, None] - ones
    right = zeros + (labels.sum() - ones)  # class 0 below the line, class 1 above
    right = torch.maximum(right, len(labels) - right)
    i, a = divmod(int(right[:-1].argmax()), directions)
    offset = (sorted_[i, a] + sorted_[i + 1, a]) / 2
    return Line(100 * right[i, a].item() / len(labels), angles[a].item(), offset.item())


def plane(classify: nn.Module, reach: float) -> list[list[float]]:
    """P(class 1) on a square grid of side 2·``reach`` around the centre, a row for each y."""
    line = torch.linspace(-reach, reach, GRID)
    y, x = torch.meshgrid(line, line, indexing="ij")
    scores = scores_of(classify, torch.stack([x, y], 2).view(-1, 2))
    return scores.softmax(1)[:, 1].view(GRID, GRID).tolist()


def polar_boundary(classifier: Classifier) -> list[list[float]]:
    """Points (r, θ), r ≤ 9, where P is 1/2; none if the linear classifier ignores the radius."""
    layer = classifier.model.scores
    w, b = (layer.weight[1] - layer.weight[0]).detach(), (layer.bias[1] - layer.bias[0]).item()
    theta = torch.linspace(-math.pi, math.pi, 91)
    r = -(b + w[1] * theta) / w[0]  # not finite if w[0] is 0
    shown = (r >= 0) & (r <= 9)
    return torch.stack([r[shown], theta[shown]], 1).tolist()


def judge(m: Measured) -> Iterator[Finding]:
    """Does a line fail, and do the polar transform and the net separate the classes?"""
    linear, polar, net = m.trained.values()
    fails = {"at_most": 75.0, "why": "halfway from guessing to separating", "unit": "%"}
    separates = {"at_least": 99, "why": "at most one point in 100 is wrong", "unit": "%"}
    yield Finding(
        "best line",
        "test points on the right side of the best straight line in (x, y)",
        [m.way[0].accuracy],
        **fails,
    )
    yield Finding(
        "linear (x, y)",
        "test accuracy of the linear classifier of (x, y)",
        linear.accuracy,
        **fails,
    )
    yield Finding(
        "linear loss",
        "ln 2, the loss of guessing, minus the training loss of this classifier",
        [math.log(2) - loss for loss in linear.loss],
        at_most=0.01,
        # By symmetry the best W is 0. Three numbers fitted to 1,800 points gain about 3/3600.
        why="ten times what three fitted numbers gain by chance on 1,800 points",
        unit="nats",
        definition="After the last epoch.",
    )
    yield Finding(
        "linear (r, θ)",
        "test accuracy of the linear classifier of (r, θ)",
        polar.accuracy,
        **separates,
    )
    yield Finding(
        "net",
        "test accuracy of the net, whose last layer is linear in two hidden units",
        net.accuracy,
        **separates,
    )


def draw(m: Measured) -> Iterator[Item]:
    """Decision boundaries and the hidden representation; accuracies; the slider."""
    yield _planes(m)
    yield Table(
        ["classifier", "parameters", "test accuracy, %", "training loss", "diverged"],
        [
            [name, t.parameters, spread(t.accuracy), spread(t.loss, 3), t.diverged]
            for name, t in m.trained.items()
        ],
        f"Mean (lowest–highest) of {len(m.seeds)} seeds; one that diverged counts as guessing. A "
        f"straight line may classify {m.way[0].accuracy:.1f} % of the {m.test_size:,} test points "
        f"correctly, and {m.limit:.1f} % of infinitely many: it cuts off a piece of the ring. So "
        "more than 50 % may be no better than guessing: compare the loss with ln 2 = 0.693.",
    )
    data = {key: getattr(m, key) for key in ("points", "labels", "class_names", "circle")}
    yield Widget(
        "polar",
        {**data, "way": list(map(vars, m.way)), "test_size": m.test_size, "reach": REACH},
        "A slider moves the test points from (x, y) to (r, θ). The best straight line classifies "
        f"{m.way[0].accuracy:.1f} % correctly at the start, {m.way[-1].accuracy:.1f} % at the end.",
        "Each point moves on a straight line. Dashed: the boundary of the classifier trained on "
        "(r, θ). Solid: the best straight line between the points in their current position.",
    )


def _planes(m: Measured) -> Plot:
    shown = {name: (t.plane, m.points, REACH) for name, t in m.trained.items()}
    shown["the net's units (h₁, h₂)"] = m.hidden_plane, m.hidden, UNITS
    drawn = panels(2, 2, list(shown), height=560, horizontal_spacing=0.1, vertical_spacing=0.1)
    for i, (grid, points, reach) in enumerate(shown.values()):
        place = {"row": i // 2 + 1, "col": i % 2 + 1}
        line = [reach * (2 * j / (GRID - 1) - 1) for j in range(GRID)]
        drawn.add_contour(x=line, y=line, z=grid, **SHADES, **place)
        for k, label in enumerate(m.class_names):
            own = [point for point, y in zip(points, m.labels, strict=True) if y == k]
            options = {"legendgroup": label, "showlegend": i == 0, "hoverinfo": "skip", **place}
            add_points(drawn, *zip(*own, strict=True), label, k, 4, **options)
        axis = {"range": [-reach, reach], "constrain": "domain", "dtick": 1}
        drawn.update_xaxes(axis, **place)
        drawn.update_yaxes(axis, scaleanchor=f"x{i + 1}" if i else "x", **place)
    right = ", ".join(f"{name} {fmean(t.accuracy):.1f} %" for name, t in m.trained.items())
    return Plot(
        drawn,
        f"Decision boundaries over the test points, with test accuracy: {right}; and the boundary "
        "of the net in the plane of its two hidden units.",
        f"Test points over P({m.class_names[1]}), seed {m.seeds[0]}; P = 1/2 on the line. See "
        "which boundaries surround the disc. The fourth panel shows the points as the net's last, "
        "linear layer sees them: see whether the classes are separated there.",
    )
