"""Backprop: a small graph with the value (forward) and the gradient (backward) of each node."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from lecture4.byhand import functional as F
from lecture4.byhand.numerical import gradient, relative_error
from lecture4.lesson.lab import COLOURS, Finding, Item, Lab, Plot, Table, exact, figure

TITLE = "Backprop"
QUOTE = ["How to compute gradient?"]
TEXT = (
    "One point passes through a minimal net, trained for two epochs: one hidden unit with "
    "ReLU, two scores, softmax and loss. Forward, each node computes its value from its inputs. "
    "Backward, each node passes on the gradient that it receives times its own derivative; where a "
    "node feeds two others, the two gradients add up."
)
FORMULAS = [
    r"\frac{\partial L}{\partial h} = \frac{\partial L}{\partial s_1}"
    r"\frac{\partial s_1}{\partial h} + \frac{\partial L}{\partial s_2}"
    r"\frac{\partial s_2}{\partial h}",
    r"\frac{\partial L}{\partial z} = \begin{cases} \frac{\partial L}{\partial h} & z > 0 \\"
    r" 0 & z \le 0 \end{cases}",
    r"\frac{\partial L}{\partial w} = \frac{\partial L}{\partial z} x, \quad"
    r"\frac{\partial L}{\partial x} = \frac{\partial L}{\partial z} w",
]
CODE = [F.linear, F.relu, F.cross_entropy, gradient]
NET = ("data=rings", "model=mlp", "model.hidden=[1]", "trainer.max_epochs=2")
# Rows of nodes from the top; a node's column is its place in the row, which a phone can show.
ROWS = ("x₁ w₁ b w₂ x₂", "_ _ z _ _", "u₁ c₁ h c₂ u₂", "_ s₁ _ s₂ _", "_ _ L _ _")
PLACES = {
    name: (column, row)
    for row, names in enumerate(ROWS)
    for column, name in enumerate(names.split())
    if name != "_"
}
EDGES = {"z": "x₁ w₁ b w₂ x₂", "h": "z", "s₁": "u₁ c₁ h", "s₂": "u₂ c₂ h", "L": "s₁ s₂"}


@dataclass
class Node:
    """A number of the graph, and its gradient by hand, by torch and by finite differences."""

    value: float
    gradient: float
    torch: float
    numerical: float


@dataclass
class Example:
    """All nodes for one point; what each score sends back to h."""

    label: int
    nodes: dict[str, Node]
    through: list[float]


@dataclass
class Measured:
    """A point for which ReLU's gate is ``open`` and one for which it is ``closed``, if any."""

    examples: dict[str, Example]


def measure(lab: Lab) -> Measured:
    """Run points forward and backward through a trained net, in float64."""
    classifier, data = lab.restore(lab.train(*NET, seed=lab.seed), *NET)
    model = classifier.model.double()
    parameters = {
        "w": model.hidden[0].weight[0],  # (2,)
        "b": model.hidden[0].bias,  # (1,)
        "u": model.scores.weight[:, 0],  # (2,)
        "c": model.scores.bias,  # (2,)
    }
    points, labels = data.dataset.test_inputs.double(), data.dataset.test_labels
    z = model.hidden[0](points)[:, 0].detach()
    examples = {}
    for gate, goal in {"open": 1, "closed": -1}.items():  # well on each side of ReLU's kink
        i = (z - goal).abs().argmin().item()
        if z[i] * goal > 0:  # a dead unit has points on one side only
            examples[gate] = example({"x": points[i], **parameters}, labels[i : i + 1])
    return Measured(examples)


def example(inputs: dict[str, Tensor], label: Tensor) -> Example:
    """Value and gradient of each node for one point."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}
    by_hand, by_torch = (forward(leaves, label, of) for of in (F, functional))
    hand, torchs = (
        dict(zip(nodes, torch.autograd.grad(nodes["L"], list(nodes.values())), strict=True))
        for nodes in (by_hand, by_torch)
    )

    def differences(name: str) -> Tensor:
        """ΔL over Δnode."""
        at = by_hand[name].detach()
        return gradient(lambda v: forward({**leaves, name: v}, label, functional)["L"], at)

    nodes = {}
    for name, value in by_hand.items():
        columns = value, hand[name], torchs[name], differences(name)
        numbers = zip(*(column.flatten().tolist() for column in columns), strict=True)
        names = [name] if value.numel() == 1 else [f"{name}₁", f"{name}₂"]
        nodes |= {n: Node(*row) for n, row in zip(names, numbers, strict=True)}
    return Example(label.item(), nodes, (hand["s"] * leaves["u"]).flatten().tolist())


def forward(given: dict[str, Tensor], label: Tensor, of: ModuleType) -> dict[str, Tensor]:
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


def judge(m: Measured) -> Iterator[Finding]:
    """Gradients by hand against finite differences and torch; the sum over branches."""
    for gate, example in m.examples.items():
        nodes = example.nodes.values()
        by_hand, by_torch, differences = (
            torch.tensor([getattr(node, how) for node in nodes], dtype=torch.float64)
            for how in ("gradient", "torch", "numerical")
        )
        yield Finding(
            f"{gate}: differences",
            f"ReLU's gate {gate}: relative error of gradients by hand, against finite differences",
            [relative_error(by_hand, differences)],
            at_most=1e-6,
            why="central differences with h = 1e-5 have an error of about 1e-10 in float64",
        )
        yield exact(
            f"{gate}: torch",
            f"ReLU's gate {gate}: relative error of gradients by hand, against torch's autograd",
            relative_error(by_hand, by_torch),
            at_most=1e-12,
        )
        yield exact(
            f"{gate}: branches",
            f"ReLU's gate {gate}: ∂L/∂h minus the sum over both scores",
            abs(sum(example.through) - example.nodes["h"].gradient),
            at_most=1e-12,
            definition="The sum is ∂L/∂s₁ u₁ + ∂L/∂s₂ u₂.",
        )


def draw(m: Measured) -> Iterator[Item]:
    """The graph for each point; the numbers beside finite differences."""
    for gate, example in m.examples.items():
        yield _graph(gate, example)
    first = next(iter(m.examples.values()))
    yield Table(
        ["node", "value", "gradient", "finite differences"],
        [
            [name, signed(n.value, 6), signed(n.gradient, 8), signed(n.numerical, 8)]
            for name, n in first.nodes.items()
        ],
        "The numbers of the first graph; beside each gradient, ΔL / 0.00002, the change of the "
        "loss when this node alone is moved by ±0.00001.",
    )


def _graph(gate: str, example: Example) -> Plot:
    drawn = figure(height=620)
    drawn.update_xaxes(visible=False, range=[-0.55, 4.55], fixedrange=True)
    drawn.update_yaxes(visible=False, range=[4.5, -0.5], fixedrange=True)
    for end, starts in EDGES.items():
        for start in starts.split():
            (x, y), (ax, ay) = PLACES[end], PLACES[start]
            refs = {"axref": "x", "ayref": "y", "standoff": 32, "startstandoff": 32}
            drawn.add_annotation(x=x, y=y, ax=ax, ay=ay, arrowhead=2, arrowcolor=COLOURS[7], **refs)
    for name, (x, y) in PLACES.items():
        lines = [name]
        for number, colour in (example.nodes[name].value, 2), (example.nodes[name].gradient, 6):
            lines.append(f'<span style="color:{COLOURS[colour]}">{signed(number)}</span>')
        box = {"showarrow": False, "bordercolor": COLOURS[7], "borderpad": 3}
        drawn.add_annotation(x=x, y=y, text="<br>".join(lines), **box)
    z, h, loss = (signed(example.nodes[n].value) for n in "zhL")
    first, second = map(signed, example.through)
    flow = {
        "closed": "z is negative, the gate is closed: w, b and x get no gradient",
        "open": f"both branches send a gradient back to h, {first} and {second}, and their sum "
        "passes through the open gate to w, b and x",
    }[gate]
    label = example.label + 1
    return Plot(
        drawn,
        f"A graph of {len(PLACES)} nodes: x, w and b give z = {z}, then h = {h}, two scores and a "
        f"loss of {loss}; {flow}.",
        f"One test point of class {label} through z = w₁x₁ + w₂x₂ + b, h = max(0, z), sₖ = uₖh + "
        f"cₖ, L = −log P(class {label}). The upper number (green) in a box is the value, computed "
        f"downwards, and the lower one (red) is ∂L/∂node, computed upwards: {flow}.",
    )


def signed(value: float, digits: int = 3) -> str:
    """A number with fixed decimals, a typographic minus, and no sign before zero."""
    return f"{value:z.{digits}f}".replace("-", "−")
