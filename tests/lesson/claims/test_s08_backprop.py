import copy
import math
import re

import pytest
import torch
from claiming import SmallLab, judged, stored

from lecture4.byhand import functional as F
from lecture4.lesson.claims import s08_backprop as backprop

LABEL = torch.tensor([1])


def inputs(b: float = 0.3) -> dict[str, torch.Tensor]:
    given = {"x": [0.5, -1.0], "w": [2.0, 0.25], "b": [b], "u": [1.5, -0.5], "c": [0.1, -0.2]}
    return {name: torch.tensor(v, dtype=torch.float64) for name, v in given.items()}


@pytest.fixture(scope="module")
def measured():
    return stored(backprop, backprop.measure(SmallLab(images=())))


@pytest.fixture
def m(measured):
    return copy.deepcopy(measured)


def test_the_claim_holds(measured):
    assert [f.verdict for f in judged(backprop, measured).values()] == ["holds"] * 6
    open_, closed = (measured.examples[gate].nodes for gate in ("open", "closed"))
    assert open_["z"].value > 0 > closed["z"].value
    assert closed["w₁"].gradient == 0 != closed["h"].gradient


def test_values_and_gradients_worked_out_by_hand():
    """z = 1.05 is the only path; p = softmax(s), ∂L/∂s = p − y."""
    nodes = backprop.example(inputs(), LABEL).nodes
    z = 2 * 0.5 - 0.25 + 0.3
    s = [1.5 * z + 0.1, -0.5 * z - 0.2]
    p = 1 / (1 + math.exp(s[1] - s[0]))  # of class 0; the label is 1
    dz = 1.5 * p - 0.5 * -p
    expected = {
        "z": (z, dz),
        "h": (z, dz),
        "s₁": (s[0], p),
        "s₂": (s[1], -p),
        "L": (-math.log(1 - p), 1),
        "w₁": (2, 0.5 * dz),
        "w₂": (0.25, -dz),
        "x₁": (0.5, 2 * dz),
        "x₂": (-1, 0.25 * dz),
        "b": (0.3, dz),
        "u₁": (1.5, p * z),
        "u₂": (-0.5, -p * z),
        "c₁": (0.1, p),
        "c₂": (-0.2, -p),
    }
    assert nodes.keys() == expected.keys() == backprop.PLACES.keys()
    for name, (value, gradient) in expected.items():
        node = nodes[name]
        exact = [node.value, node.gradient, node.torch]
        assert exact == pytest.approx([value, gradient, gradient], abs=1e-14), name
        assert node.numerical == pytest.approx(gradient, abs=1e-8), name


def test_a_closed_gate_lets_nothing_through():
    nodes = backprop.example(inputs(b=-2.0), LABEL).nodes
    assert nodes["h"].value == 0 != nodes["h"].gradient
    assert all(nodes[n].gradient == 0 for n in ("z", "w₁", "w₂", "b", "x₁", "x₂"))


def test_what_is_given_is_not_computed():
    given = {**inputs(), "h": torch.tensor([7.0], dtype=torch.float64)}
    assert backprop.forward(given, LABEL, F)["s"].tolist() == pytest.approx([10.6, -3.7])


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("gradient", ["open: differences", "open: torch"]),
        ("torch", ["open: torch"]),
        ("numerical", ["open: differences"]),
    ],
)
def test_a_wrong_gradient_is_noticed(m, column, wrong):
    vars(m.examples["open"].nodes["w₁"])[column] += 0.01
    assert [n for n, f in judged(backprop, m).items() if f.verdict != "holds"] == wrong


def test_a_wrong_branch_is_noticed(m):
    m.examples["closed"].through[0] += 0.01
    assert judged(backprop, m)["closed: branches"].verdict == "does not hold"


def test_the_graph_shows_every_number(measured):
    *graphs, table = backprop.draw(measured)
    for graph, example in zip(graphs, measured.examples.values(), strict=True):
        notes = graph.figure.layout.annotations
        boxes = [re.sub("<span[^>]*>|</span>", "", n.text).split("<br>") for n in notes if n.text]
        assert len(notes) - len(boxes) == sum(map(len, map(str.split, backprop.EDGES.values())))
        assert {box[0] for box in boxes} == example.nodes.keys()
        for name, *numbers in boxes:
            shown = [float(number.replace("−", "-")) for number in numbers]
            node = example.nodes[name]
            assert shown == pytest.approx([node.value, node.gradient], abs=5.1e-4)
    assert {row[0] for row in table.rows} == set(backprop.PLACES)


def test_without_a_point_on_one_side_of_the_gate_its_graph_is_left_out(m):
    del m.examples["open"]
    assert len(judged(backprop, m)) == 3
    assert len(list(backprop.draw(m))) == 2


def test_a_training_that_diverged_leaves_the_graph_of_initial_weights(monkeypatch):
    monkeypatch.setattr(backprop, "NET", (*backprop.NET, "optim.lr=1e39"))
    lab = SmallLab(images=())
    assert lab.train(*backprop.NET).diverged
    m = stored(backprop, backprop.measure(lab))
    assert {f.verdict for f in judged(backprop, m).values()} == {"holds"}


@pytest.mark.parametrize(
    ("value", "text"), [(-0.00001, "0.000"), (-1.5, "−1.500"), (0.12345, "0.123")]
)
def test_numbers_have_a_proper_minus_and_no_minus_zero(value, text):
    assert backprop.signed(value) == text
