"""Backprop: a small graph with the value (forward) and the gradient (backward) of each node."""

import plotly.graph_objects as go
import torch
from torch.nn import functional as F

from lecture4.byhand import functional as byhand
from lecture4.byhand.numerical import gradient, relative_error
from lecture4.lesson.lab.finding import Claim, Finding
from lecture4.lesson.lab.items import Item, Plot, Table
from lecture4.lesson.lab.plots import COLOURS, figure
from lecture4.lesson.lab.trainings import Lab

NET = ("data=rings", "model=mlp", "model.hidden=[1]", "trainer.max_epochs=2")
# Column and row of each node, on a grid that a phone can show.
PLACES = {
    "x₁": (0, 0),
    "w₁": (1, 0),
    "b": (2, 0),
    "w₂": (3, 0),
    "x₂": (4, 0),
    "z": (2, 1),
    "u₁": (0, 2),
    "c₁": (1, 2),
    "h": (2, 2),
    "c₂": (3, 2),
    "u₂": (4, 2),
    "s₁": (1, 3),
    "s₂": (3, 3),
    "L": (2, 4),
}
OPERATIONS = {"z": "linear", "h": "relu", "s₁": "linear", "s₂": "linear", "L": "cross-entropy"}
EDGES = {
    "z": ("x₁", "w₁", "b", "w₂", "x₂"),
    "h": ("z",),
    "s₁": ("u₁", "c₁", "h"),
    "s₂": ("u₂", "c₂", "h"),
    "L": ("s₁", "s₂"),
}
HALF_WIDTH, HALF_HEIGHT = 0.46, 0.33  # of a node's box
VALUE, GRADIENT = COLOURS[2], COLOURS[6]


def measure(lab: Lab) -> dict:
    """Run points forward and backward through a trained net, in float64."""
    run = lab.train(*NET, seed=lab.seed)
    classifier, data = lab.restore(run, *NET)
    model = classifier.model.double()
    parameters = {
        "w": model.hidden[0].weight[0],  # (2,)
        "b": model.hidden[0].bias,  # (1,)
        "u": model.scores.weight[:, 0],  # (2,)
        "c": model.scores.bias,  # (2,)
    }
    points, labels = data.dataset.test_inputs.double(), data.dataset.test_labels
    with torch.no_grad():
        z = model.hidden[0](points)[:, 0]
    # A point well on each side of ReLU's kink; a dead unit has points on one side only.
    found = {"open": (z - 1).abs().argmin().item(), "closed": (z + 1).abs().argmin().item()}
    chosen = {name: i for name, i in found.items() if (z[i] > 0) == (name == "open")}
    return {
        "seeds": [lab.seed],
        "examples": {
            name: example({"x": points[i], **parameters}, labels[i : i + 1])
            for name, i in chosen.items()
        },
    }


def example(inputs: dict[str, torch.Tensor], label: torch.Tensor) -> dict:
    """Value and gradient of each node for one point; gradients by hand, torch and differences."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}
    hand = forward(leaves, label, byhand)
    for node in hand.values():
        node.retain_grad()
    hand["L"].backward()
    torchs = forward(leaves, label, F)
    by_torch = torch.autograd.grad(torchs["L"], list(torchs.values()))
    nodes = {}
    for (name, node), theirs in zip(hand.items(), by_torch, strict=True):

        def loss(value: torch.Tensor, name=name) -> torch.Tensor:
            return forward({**leaves, name: value}, label, F)["L"]

        four = (node, node.grad, theirs, gradient(loss, node.detach()))
        numbers = zip(*(t.flatten().tolist() for t in four), strict=True)
        names = [name] if node.numel() == 1 else [f"{name}{i}" for i in "₁₂"]
        keys = ("value", "gradient", "torch", "numerical")
        for own, row in zip(names, numbers, strict=True):
            nodes[own] = dict(zip(keys, row, strict=True))
    through = hand["s"].grad * leaves["u"].detach()  # gradient that each score sends back to h
    return {"label": label.item(), "nodes": nodes, "through": through.flatten().tolist()}


def forward(given: dict[str, torch.Tensor], label: torch.Tensor, of) -> dict[str, torch.Tensor]:
    """The graph: z = w·x + b, h = max(0, z), s = u h + c, L = −log softmax(s) of the label.

    Args:
        given: x, w, u, c (2,) and b (1,); a later node that is given is not computed.
        label: (1,).
        of: ``lecture4.byhand.functional`` or ``torch.nn.functional``.
    """
    operations = {
        "z": lambda v: of.linear(v["x"], v["w"][None], v["b"]),  # (1,)
        "h": lambda v: of.relu(v["z"]),
        "s": lambda v: of.linear(v["h"], v["u"][:, None], v["c"]),  # (2,)
        "L": lambda v: of.cross_entropy(v["s"][None], label),
    }
    nodes = dict(given)
    for name, operation in operations.items():
        if name not in nodes:
            nodes[name] = operation(nodes)
    return nodes


def judge(m: dict) -> list[Finding]:
    """Gradients by hand against finite differences and torch; the sum over branches."""
    return [
        finding for name, example in m["examples"].items() for finding in _findings(name, example)
    ]


def _findings(name: str, example: dict) -> list[Finding]:
    nodes, place = example["nodes"], f"point with ReLU's gate {name}"
    columns = {
        key: torch.tensor([node[key] for node in nodes.values()], dtype=torch.float64)
        for key in ("gradient", "torch", "numerical")
    }
    branches = sum(example["through"]) - nodes["h"]["gradient"]
    return [
        Finding(
            # Central differences with h = 1e-5 have an error of about 1e-10 in float64.
            f"{place}: gradient of every node by hand against finite differences, relative error",
            [relative_error(columns["gradient"], columns["numerical"])],
            at_most=1e-6,
        ),
        Finding(
            # A few operations, each of relative precision 2e-16.
            f"{place}: the same against torch's autograd, relative error",
            [relative_error(columns["gradient"], columns["torch"])],
            at_most=1e-12,
        ),
        Finding(
            f"{place}: ∂L/∂h minus the sum over its branches, ∂L/∂s₁ u₁ + ∂L/∂s₂ u₂",
            [abs(branches)],
            at_most=1e-12,
        ),
    ]


def draw(m: dict) -> list[Item]:
    """The graph for each point; the numbers beside finite differences."""
    return [_graph(name, e) for name, e in m["examples"].items()] + [
        Table(
            ["node", "value", "gradient", "finite differences"],
            [
                [
                    name,
                    signed(node["value"], 6),
                    signed(node["gradient"], 8),
                    signed(node["numerical"], 8),
                ]
                for name, node in next(iter(m["examples"].values()))["nodes"].items()
            ],
            "The numbers of the first graph; beside each gradient, ΔL / 0.00002, the change of the "
            "loss when this node alone is moved by ±0.00001.",
        )
    ]


def _graph(name: str, example: dict) -> Plot:
    nodes, label = example["nodes"], example["label"] + 1
    made = figure(height=620)
    _connect(made)
    _fill(made, nodes)
    made.update_xaxes(visible=False, range=[-0.55, 4.55], fixedrange=True)
    made.update_yaxes(visible=False, range=[4.5, -0.5], fixedrange=True)
    flow = _flow(name, example["through"])
    z, h, loss = (signed(nodes[n]["value"]) for n in "zhL")
    return Plot(
        made,
        f"A graph of {len(nodes)} nodes: x, w and b give z = {z}, then h = {h}, two scores and a "
        f"loss of {loss}; {flow}.",
        f"One test point of class {label} through z = w₁x₁ + w₂x₂ + b, h = max(0, z), sₖ = uₖh + "
        f"cₖ, L = −log P(class {label}). In each box the upper number is the value, computed "
        f"downwards, and the lower one is ∂L/∂node, computed upwards: {flow}.",
    )


def _flow(name: str, through: list[float]) -> str:
    """How the gradient flows back from the scores, in words."""
    if name == "closed":
        return "z is negative, the gate is closed: w, b and x get no gradient"
    first, second = map(signed, through)
    return (
        f"both branches send a gradient back to h, {first} and {second}, and their sum passes "
        "through the open gate to w, b and x"
    )


def _connect(made: go.Figure) -> None:
    """Draw the boxes of the nodes, and arrows from the inputs of each."""
    for end, starts in EDGES.items():
        for start in starts:
            (x0, y0), (x1, y1) = PLACES[start], PLACES[end]
            made.add_annotation(
                x=x1 + 0.22 * (x0 - x1) / 2,
                y=y1 - HALF_HEIGHT,
                ax=x0,
                ay=y0 + HALF_HEIGHT,
                xref="x",
                yref="y",
                axref="x",
                ayref="y",
                text="",
                arrowhead=2,
                arrowwidth=1.2,
                arrowcolor=COLOURS[7],
            )
    for x, y in PLACES.values():
        made.add_shape(
            type="rect",
            x0=x - HALF_WIDTH,
            x1=x + HALF_WIDTH,
            y0=y - HALF_HEIGHT,
            y1=y + HALF_HEIGHT,
            line={"color": COLOURS[7], "width": 1},
        )


def _fill(made: go.Figure, nodes: dict[str, dict]) -> None:
    """Write each node's name, value and gradient."""
    for title, shift, texts, style in (
        ("node", -0.2, list(PLACES), {}),
        ("value, forward", 0.01, [signed(nodes[n]["value"]) for n in PLACES], {"color": VALUE}),
        (
            "gradient, backward",
            0.21,
            [signed(nodes[n]["gradient"]) for n in PLACES],
            {"color": GRADIENT},
        ),
    ):
        made.add_scatter(
            x=[x for x, _ in PLACES.values()],
            y=[y + shift for _, y in PLACES.values()],
            mode="text",
            text=texts,
            textfont={"size": 12, **style},
            name=title,
            showlegend=bool(style),
            hovertext=[f"{p}: {OPERATIONS.get(p, 'given')}" for p in PLACES],
            hoverinfo="text",
        )


def signed(value: float, digits: int = 3) -> str:
    """A number with fixed decimals, a typographic minus, and no sign before zero."""
    return f"{value:z.{digits}f}".replace("-", "−")


CLAIM = Claim(
    name="backprop",
    title="Backprop",
    quote=["How to compute gradient?"],
    text="One point passes through a minimal net, trained for two epochs: one hidden unit with "
    "ReLU, two scores, softmax and loss. Forward, each node computes its value from its inputs. "
    "Backward, each node passes on the gradient that it receives times its own derivative; where a "
    "node feeds two others, the two gradients add up.",
    formulas=[
        r"\frac{\partial L}{\partial h} = \frac{\partial L}{\partial s_1}"
        r"\frac{\partial s_1}{\partial h} + \frac{\partial L}{\partial s_2}"
        r"\frac{\partial s_2}{\partial h}",
        r"\frac{\partial L}{\partial z} = \begin{cases} \frac{\partial L}{\partial h} & z > 0 \\"
        r" 0 & z \le 0 \end{cases}",
        r"\frac{\partial L}{\partial w} = \frac{\partial L}{\partial z} x, \quad"
        r"\frac{\partial L}{\partial x} = \frac{\partial L}{\partial z} w",
    ],
    code=[byhand.linear, byhand.relu, byhand.cross_entropy, gradient],
    measure=measure,
    judge=judge,
    draw=draw,
)
