import json
import math

import pytest
import torch

from lecture4.byhand import functional as F
from lecture4.lesson.claims import s08_backprop as backprop
from lecture4.lesson.claims.s08_backprop import CLAIM, EDGES, PLACES, example, forward, signed
from lecture4.lesson.lab import Lab

LABEL = torch.tensor([1])


def inputs(b: float = 0.3) -> dict[str, torch.Tensor]:
    given = {"x": [0.5, -1.0], "w": [2.0, 0.25], "b": [b], "u": [1.5, -0.5], "c": [0.1, -0.2]}
    return {name: torch.tensor(v, dtype=torch.float64) for name, v in given.items()}


@pytest.fixture(scope="module")
def measured():
    return json.loads(json.dumps(CLAIM.measure(Lab()), allow_nan=False))


def test_the_claim_holds(measured):
    assert [f.verdict for f in CLAIM.judge(measured)] == ["holds"] * 6
    open_, closed = (measured["examples"][name]["nodes"] for name in ("open", "closed"))
    assert open_["z"]["value"] > 0 > closed["z"]["value"]
    assert closed["w₁"]["gradient"] == 0 != closed["h"]["gradient"]


def test_values_and_gradients_are_those_by_hand():
    """z = 1.05 is the only path; p = softmax(s), ∂L/∂s = p − y."""
    nodes = example(inputs(), LABEL)["nodes"]
    z = 2 * 0.5 - 0.25 + 0.3
    s = [1.5 * z + 0.1, -0.5 * z - 0.2]
    p = 1 / (1 + math.exp(s[1] - s[0]))  # of class 0, which it is not
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
    assert nodes.keys() == expected.keys() == PLACES.keys()
    for name, (value, gradient) in expected.items():
        assert nodes[name]["value"] == pytest.approx(value, abs=1e-14), name
        assert nodes[name]["gradient"] == pytest.approx(gradient, abs=1e-14), name
        assert nodes[name]["torch"] == pytest.approx(gradient, abs=1e-14), name
        assert nodes[name]["numerical"] == pytest.approx(gradient, abs=1e-8), name


def test_a_closed_gate_lets_nothing_through():
    nodes = example(inputs(b=-2.0), LABEL)["nodes"]
    assert nodes["h"]["value"] == 0
    assert nodes["h"]["gradient"] != 0
    assert all(nodes[n]["gradient"] == 0 for n in ("z", "w₁", "w₂", "b", "x₁", "x₂"))


def test_what_is_given_is_not_computed():
    given = {**inputs(), "h": torch.tensor([7.0], dtype=torch.float64)}
    assert forward(given, LABEL, F)["s"].tolist() == pytest.approx([10.6, -3.7])


def test_a_wrong_gradient_is_judged_so(measured):
    for key in ("gradient", "numerical"):
        m = json.loads(json.dumps(measured))
        m["examples"]["open"]["nodes"]["w₁"][key] += 0.01
        assert CLAIM.judge(m)[0].verdict == "does not hold"
    m = json.loads(json.dumps(measured))
    m["examples"]["open"]["through"][0] += 0.01
    assert [f.verdict for f in CLAIM.judge(m)].index("does not hold") == 2


def test_the_graph_shows_every_number(measured):
    *graphs, table = CLAIM.draw(measured)
    for graph, shown in zip(graphs, measured["examples"].values(), strict=True):
        names, values, gradients = (list(trace.text) for trace in graph.figure.data)
        assert names == list(PLACES)
        for name, value, gradient in zip(names, values, gradients, strict=True):
            node = shown["nodes"][name]
            assert float(value.replace("−", "-")) == pytest.approx(node["value"], abs=5.1e-4)
            assert float(gradient.replace("−", "-")) == pytest.approx(node["gradient"], abs=5.1e-4)
        assert len(graph.figure.layout.annotations) == sum(map(len, EDGES.values()))
        assert len(graph.figure.layout.shapes) == len(PLACES)
    assert {row[0] for row in table.rows} == set(PLACES)


def test_without_a_point_on_one_side_of_the_gate_that_graph_is_left_out(measured):
    m = {**measured, "examples": {"closed": measured["examples"]["closed"]}}
    assert len(CLAIM.judge(m)) == 3
    assert len(CLAIM.draw(m)) == 2


def test_a_training_that_diverged_leaves_the_graph_of_initial_weights(monkeypatch):
    monkeypatch.setattr(backprop, "NET", (*backprop.NET, "optim.lr=1e39"))
    lab = Lab()
    assert lab.train(*backprop.NET).diverged
    m = json.loads(json.dumps(CLAIM.measure(lab), allow_nan=False))
    assert {f.verdict for f in CLAIM.judge(m)} == {"holds"}
    assert len(CLAIM.draw(m)) == len(m["examples"]) + 1


@pytest.mark.parametrize(
    ("value", "text"), [(-0.00001, "0.000"), (-1.5, "−1.500"), (0.12345, "0.123")]
)
def test_numbers_have_a_proper_minus_and_no_minus_zero(value, text):
    assert signed(value) == text
