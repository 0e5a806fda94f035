"""Not linearly separable: a line fails, the polar transform succeeds, and a net learns one."""

import math
import statistics

import plotly.graph_objects as go
import torch

from lecture4.data.preprocess import Polar
from lecture4.data.rings import make_rings
from lecture4.lesson.lab.finding import Claim, Finding
from lecture4.lesson.lab.items import Item, Plot, Table, Widget
from lecture4.lesson.lab.plots import COLOURS, add_points, panels, spread
from lecture4.lesson.lab.trainings import Lab, Run, scores_of
from lecture4.models import MLP, SoftmaxClassifier
from lecture4.training.classifier import Classifier

LINEAR = ("data=rings", "model=softmax", "optim.lr=0.3", "trainer.max_epochs=20")
POLAR = (*LINEAR, "preprocess=polar")
# The last two units can be drawn. They are tanh, because two ReLU units may both die.
NET = ("data=rings", "model=mlp", "model.hidden=[16,2]", "model.activation=tanh")
TRAININGS = {"linear": LINEAR, "polar": POLAR, "net": NET}
NAMES = {"linear": "linear, of (x, y)", "polar": "linear, of (r, θ)", "net": "net 2–16–2–2"}
STEPS = 21  # on the way from (x, y) to (r, θ)
REACH = 2.2  # of the drawn plane; the ring ends at 2
FAR = 9.0  # a radius outside of the drawn plane
GRID = 51
DRAWN = 400  # test points in a figure
HALFWAY = 75.0  # %, between guessing and separating two classes


def measure(lab: Lab) -> dict:
    """Train the three classifiers; find the best line on the way from (x, y) to (r, θ)."""
    seeds = lab.seeds(lab.pick(5, 10))
    runs = {
        name: [lab.train(*overrides, seed=seed) for seed in seeds]
        for name, overrides in TRAININGS.items()
    }
    restored = {name: lab.restore(runs[name][0], *TRAININGS[name])[0] for name in runs}
    data = lab.assemble(*LINEAR)[1].dataset
    points, labels = data.test_inputs, data.test_labels
    lab.note("best straight line on the way from (x, y) to (r, θ)")
    way = [best_line(moved(points, i / (STEPS - 1)), labels) for i in range(STEPS)]
    hidden = hidden_layer(restored["net"])
    return {
        "seeds": seeds,
        "accuracy": {name: [100 * run.accuracy for run in runs[name]] for name in runs},
        "loss": {name: [last_loss(run) for run in runs[name]] for name in runs},
        "diverged": {name: sum(run.diverged for run in runs[name]) for name in runs},
        "parameters": {name: runs[name][0].parameters for name in runs},
        "test_size": len(points),
        "class_names": data.class_names,
        "line_limit": 100 * line_limit(),
        "way": way,
        "points": points[:DRAWN].tolist(),
        "labels": labels[:DRAWN].tolist(),
        "representation": scores_of(hidden, points[:DRAWN]).tolist(),
        "planes": {
            **{name: plane(restored[name], REACH) for name in restored},
            "representation": plane(restored["net"].model.scores, 1.1),  # tanh ends at 1
        },
        "circle": polar_boundary(restored["polar"]),
    }


def last_loss(run: Run) -> float:
    """Training loss of the last epoch; ln 2, the loss of guessing, if the run diverged."""
    return math.log(2) if run.diverged else run.curve("train/loss")[-1]


def line_limit(steps: int = 2000) -> float:
    """Accuracy of the best straight line on infinitely many points of the rings.

    The line is at distance d from the centre. A share arccos(d/r)/π of the points at radius r > d
    lies beyond it and is classified as the ring; the radius is uniform in each class.
    """
    u = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    d = torch.linspace(0, 2, steps, dtype=torch.float64)[:, None]
    beyond = [((d / (0.8 * u + 1.2 * k)).clamp(max=1).acos() / math.pi).mean(1) for k in (0, 1)]
    return ((1 - beyond[0] + beyond[1]) / 2).max().item()


def moved(points: torch.Tensor, t: float) -> torch.Tensor:
    """Points (N, 2) interpolated from (x, y) at t = 0 to (r, θ) at t = 1."""
    return torch.lerp(points, Polar((2,))(points), t)


def best_line(points: torch.Tensor, labels: torch.Tensor, directions: int = 360) -> dict:
    """The best straight line among all offsets in each of many directions.

    Returns:
        ``accuracy`` in %, the ``angle`` of the line's normal n, and its ``offset`` c: n·x = c.
    """
    angles = torch.arange(directions, dtype=torch.float64) * (math.pi / directions)
    normals = torch.stack([angles.cos(), angles.sin()])  # (2, A)
    sorted_, order = (points.double() @ normals).sort(0)  # (N, A)
    ones = labels[order].cumsum(0)  # cumulative count
    zeros = torch.arange(1, len(labels) + 1)[:, None] - ones
    right = zeros + (labels.sum() - ones)  # class 0 below the line, class 1 above
    right = torch.maximum(right, len(labels) - right)
    best = int(right[:-1].argmax())
    i, a = best // directions, best % directions
    return {
        "accuracy": 100 * right[i, a].item() / len(labels),
        "angle": angles[a].item(),
        "offset": ((sorted_[i, a] + sorted_[i + 1, a]) / 2).item(),
    }


def plane(classify: torch.nn.Module, reach: float) -> list[list[float]]:
    """P(class 1) on a square grid of side 2·``reach`` around the centre, a row for each y."""
    line = torch.linspace(-reach, reach, GRID)
    y, x = torch.meshgrid(line, line, indexing="ij")
    scores = scores_of(classify, torch.stack([x, y], 2).view(-1, 2))
    return scores.softmax(1)[:, 1].view(GRID, GRID).tolist()


def hidden_layer(classifier: Classifier) -> torch.nn.Module:
    """The net without its last, linear layer."""
    return torch.nn.Sequential(
        classifier.preprocess, classifier.model.flatten, classifier.model.hidden
    )


def polar_boundary(classifier: Classifier) -> list[list[float]]:
    """Points (r, θ) where a linear classifier of (r, θ) gives both classes 1/2.

    Only radii from 0 to ``FAR``; there may be none if the classifier ignores the radius.
    """
    layer = classifier.model.scores
    w, b = (layer.weight[1] - layer.weight[0]).detach(), (layer.bias[1] - layer.bias[0]).item()
    theta = torch.linspace(-math.pi, math.pi, 91)
    r = -(b + w[1] * theta) / w[0]  # not finite if w[0] is 0
    shown = (r >= 0) & (r <= FAR)
    return torch.stack([r[shown], theta[shown]], 1).tolist()


def judge(m: dict) -> list[Finding]:
    """A line fails below halfway between guessing and separating; 99 % counts as separated."""
    accuracy = m["accuracy"]
    return [
        Finding(
            "test points on the right side of the best straight line in (x, y): less than halfway "
            "between guessing and separating",
            [m["way"][0]["accuracy"]],
            at_most=HALFWAY,
            unit="%",
        ),
        Finding(
            "test accuracy of the linear classifier of (x, y): less than halfway between guessing "
            "and separating",
            accuracy["linear"],
            at_most=HALFWAY,
            unit="%",
        ),
        Finding(
            # By symmetry the best W is 0. Three numbers fitted to 1,800 points gain about
            # 3/3600 nats by chance; ten times as much is allowed.
            "ln 2, the loss of guessing, minus its training loss after the last epoch",
            [math.log(2) - loss for loss in m["loss"]["linear"]],
            at_most=0.01,
            unit="nats",
        ),
        Finding(
            "test accuracy of the linear classifier of (r, θ): at most one point in 100 is wrong",
            accuracy["polar"],
            at_least=99,
            unit="%",
        ),
        Finding(
            "test accuracy of the net, whose last layer is a linear classifier of two hidden "
            "units: at most one point in 100 is wrong",
            accuracy["net"],
            at_least=99,
            unit="%",
        ),
    ]


def draw(m: dict) -> list[Item]:
    """Decision boundaries and the hidden representation; accuracies; the slider."""
    return [_planes(m), _accuracies(m), _slider(m)]


def _planes(m: dict) -> Plot:
    right = ", ".join(
        f"{name} {statistics.fmean(m['accuracy'][key]):.1f} %" for key, name in NAMES.items()
    )
    return Plot(
        _boundaries(m),
        f"Decision boundaries over the test points, with test accuracy: {right}; and the boundary "
        "of the net in the plane of its two hidden units.",
        f"Test points over P({m['class_names'][1]}), seed {m['seeds'][0]}; the line is where it is "
        "1/2. The first three panels show the plane (x, y): see which boundary surrounds the disc. "
        "The fourth shows the same points as the net's last layer sees them; it is as linear as "
        "the first classifier, so see whether the classes are separated there.",
    )


def _accuracies(m: dict) -> Table:
    return Table(
        ["classifier", "parameters", "test accuracy, %", "training loss", "diverged"],
        [
            [
                name,
                str(m["parameters"][key]),
                spread(m["accuracy"][key]),
                spread(m["loss"][key], 3),
                m["diverged"][key],
            ]
            for key, name in NAMES.items()
        ],
        f"Mean (lowest–highest) of n = {len(m['seeds'])} seeds; one that diverged counts as "
        f"guessing. The best straight line for the {m['test_size']:,} test points classifies "
        f"{m['way'][0]['accuracy']:.1f} % of them correctly, the best for infinitely many points "
        f"{m['line_limit']:.1f} %: it cuts off a piece of the ring and little of the disc. A "
        "linear classifier can therefore exceed 50 % and be no better than guessing: compare its "
        "loss with ln 2 = 0.693.",
    )


def _slider(m: dict) -> Widget:
    first, last = (m["way"][i]["accuracy"] for i in (0, -1))
    return Widget(
        "polar",
        {key: m[key] for key in ("points", "labels", "class_names", "circle", "way", "test_size")}
        | {"reach": REACH},
        "A slider moves the test points from (x, y) to (r, θ), with the boundary of the trained "
        f"classifier; the accuracy of the best straight line is {first:.1f} % at the start and "
        f"{last:.1f} % at the end.",
        "Each point moves on a straight line from (x, y) to (r, θ). Dashed: the boundary of the "
        "classifier trained on (r, θ), which becomes a straight line. Solid: the best straight "
        "line between the points in their current position.",
    )


def _boundaries(m: dict) -> go.Figure:
    titles = {**NAMES, "representation": "the net's units (h₁, h₂)"}
    spacing = {"horizontal_spacing": 0.1, "vertical_spacing": 0.1}
    made = panels(2, 2, list(titles.values()), height=560, **spacing)
    for i, name in enumerate(titles):
        place = {"row": i // 2 + 1, "col": i % 2 + 1}
        of_net = name == "representation"
        reach = 1.1 if of_net else REACH
        line = [reach * (2 * j / (GRID - 1) - 1) for j in range(GRID)]
        made.add_contour(x=line, y=line, z=m["planes"][name], **_shades(), **place)
        points = m["representation" if of_net else "points"]
        for k, label in enumerate(m["class_names"]):
            own = [p for p, q in zip(points, m["labels"], strict=True) if q == k]
            options = {"legendgroup": label, "showlegend": i == 0, "hoverinfo": "skip", **place}
            add_points(made, *zip(*own, strict=True), label, k, 4, **options)
        axis = {"range": [-reach, reach], "constrain": "domain", "dtick": 1}
        made.update_xaxes(axis, **place)
        made.update_yaxes(axis, scaleanchor=f"x{i + 1}" if i else "x", **place)
    return made


def _shades() -> dict:
    """Options of a contour plot: a colour for each class, and a line at 1/2."""
    clear = "rgba(127,127,127,0.06)"
    return {
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "rgba(47,127,193,0.4)"], [0.5, clear], [1, "rgba(224,128,31,0.4)"]],
        "contours": {"coloring": "heatmap", "start": 0.5, "end": 0.5, "size": 1},
        "line": {"width": 2, "color": COLOURS[6]},
        "showscale": False,
        "hovertemplate": "P = %{z:.3f}<extra></extra>",
    }


CLAIM = Claim(
    name="rings",
    title="Not linearly separable",
    quote=[
        "If data is not linearly separable.",
        "One Solution: feature transforms. E.g data in circle -> polar space.",
        r"$$f(x,y) = (r(x,y), \theta(x,y))$$",
    ],
    text="A disc in a ring: two classes of points in the plane that no straight line separates. A "
    "linear classifier is trained on (x, y), another on (r, θ), and a small net on (x, y); its "
    "last hidden layer has two tanh units, so that it can be drawn. See the boundary of each, and "
    "the plane in which the net's boundary is a straight line: there, and in (r, θ), the classes "
    "should be separated.",
    formulas=[
        r"f(x, y) = (r(x, y), \theta(x, y))",
        r"r = \sqrt{x^2 + y^2}, \quad \theta = \text{atan2}(y, x)",
        r"h = \tanh(W_2 \tanh(W_1 x + b_1) + b_2)",
        r"s = W_3 h + b_3",
    ],
    code=[Polar, SoftmaxClassifier, MLP, make_rings],
    measure=measure,
    judge=judge,
    draw=draw,
)
