import json
import math

import pytest
import torch

from lecture4.lesson.claims.s12_activations import CLAIM, SCHEMES, gradient_norms
from lecture4.lesson.lab import Lab, Plot, Run, Table

SMALL = ("data=shapes", "data.train_size=400", "data.test_size=100", "data.val_size=100")


class SmallLab(Lab):
    def compose(self, *overrides, seed=None):
        return super().compose(*SMALL, *overrides, seed=seed)


class ScriptedLab(SmallLab):
    """Trains nothing: 0.3 on validation, 0.25 on test; one activation diverges at once."""

    def __init__(self, lost, budget="quick"):
        super().__init__(budget)
        self.lost = lost

    def train(self, *overrides, seed=None):
        self.commands.append(" ".join([*overrides, f"seed={seed}"]))
        if f"model.activation={self.lost}" in overrides:
            return Run("", seed, [], 0.1, 0.0, 1, True, {})
        epochs = next(int(w[-1]) for w in overrides if w.startswith("trainer.max_epochs="))
        return Run("", seed, [{"val/accuracy": 0.3}] * epochs, 0.25, 0.0, 1, False, {})


@pytest.fixture(scope="module")
def measured():
    return json.loads(json.dumps(CLAIM.measure(SmallLab()), allow_nan=False))


def test_measurements_are_of_three_seeds_and_what_was_trained(measured):
    assert measured["seeds"] == [0, 1, 2]
    assert list(measured["gradients"]) == list(measured["trainings"]) == ["sigmoid", "tanh", "relu"]
    assert all(len(layers) == 11 for of in measured["gradients"].values() for layers in of)
    for of in measured["trainings"].values():
        best = max(of["sweep"], key=lambda step: step["validation"])
        assert (of["optim"], of["rate"]) == (best["optim"], best["rate"])
        assert of["at_edge"] == (of["rate"] != 0.03)
        assert [len(curve) for curve in of["validation"]] == [len(measured["examples"])] * 3
        assert max(of["validation"][0]) == best["validation"]
    assert measured["tested"] == 100
    assert measured["examples"] == [2 * 128, 4 * 128, 6 * 128]


def test_each_activation_is_trained_with_its_scheme_on_every_seed():
    lab = ScriptedLab(lost="none")
    m = CLAIM.measure(lab)
    for activation, scheme in SCHEMES.items():
        words = f"model.activation={activation} model.init={scheme} "
        commands = [command for command in lab.commands if words in command]
        chosen = [c for c in commands if f"optim.lr={m['trainings'][activation]['rate']} " in c]
        assert [c[-6:] for c in chosen] == ["seed=0", "seed=1", "seed=2"]
        assert len(commands) == 5  # two more rates on the first seed
    assert len(lab.commands) == 15


def test_gradients_are_those_that_torch_finds(measured):
    lab = SmallLab()
    classifier, data = lab.assemble(
        "model=mlp",
        f"model.hidden={[100] * 10}",
        "model.activation=tanh",
        "model.init=xavier",
        seed=1,
    )
    x, y = data.train_inputs(), data.dataset.train_labels[data.train_index]
    torch.nn.functional.cross_entropy(classifier(x), y).backward()
    expected = [p.grad.norm().item() for p in classifier.model.parameters() if p.ndim > 1]
    inputs = classifier.preprocess(x)
    assert gradient_norms("tanh", inputs, y, 10, seed=1) == pytest.approx(expected, rel=1e-4)


def test_a_sigmoid_net_of_ten_layers_has_no_gradient_in_its_first(measured):
    sigmoid, through, *_ = CLAIM.judge(measured)
    assert sigmoid.verdict == through.verdict == "holds"
    first = measured["gradients"]["sigmoid"][0]
    assert sigmoid.values[0] == pytest.approx(math.log10(first[1] / first[9]))
    # E[σ′(z)²] lies near 1/16, and Var[w]·100 is 1: each layer passes on about a quarter.
    assert sigmoid.mean == pytest.approx(8 * math.log10(0.23), abs=0.6)


@pytest.fixture
def told(measured):
    made = json.loads(json.dumps(measured)) | {"tested": 10_000}
    for activation, accuracy in {"sigmoid": 0.1, "tanh": 0.4, "relu": 0.45}.items():
        made["trainings"][activation]["accuracy"] = [accuracy, accuracy + 0.01, accuracy + 0.02]
    return made


def verdicts(m):
    return [finding.verdict for finding in CLAIM.judge(m)]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda m: m["gradients"].update(sigmoid=[[1.0] * 11] * 3), 0),
        (lambda m: m["gradients"].update(relu=m["gradients"]["sigmoid"]), 1),
        (lambda m: m.update(chance=0.5), 2),
        (lambda m: m["trainings"]["sigmoid"].update(accuracy=[0.45, 0.46, 0.47]), 3),
        (lambda m: m["trainings"]["tanh"].update(accuracy=[0.5, 0.5, 0.5]), 4),
        (lambda m: m.update(tested=200), 4),  # 5 points are within luck on so few images
    ],
)
def test_other_measurements_are_judged_otherwise(told, change, finding):
    assert verdicts(told) == ["holds"] * 5
    change(told)
    expected = ["holds"] * 5
    expected[finding] = "does not hold"
    assert verdicts(told) == expected


def test_what_is_drawn_holds_the_numbers(told):
    gradients, curves, table = CLAIM.draw(told)
    assert [type(item) for item in (gradients, curves, table)] == [Plot, Plot, Table]
    lines = {trace.name: trace for trace in gradients.figure.data if trace.name}
    assert list(lines) == ["sigmoid", "tanh", "ReLU"]
    of_seeds = torch.tensor(told["gradients"]["tanh"])
    assert list(lines["tanh"].y) == pytest.approx(of_seeds.mean(0).tolist(), rel=1e-3)
    assert "ReLU 46.0 (45.0–47.0) %" in curves.alt
    assert [row[-2].endswith("*") for row in table.rows] == [
        of["at_edge"] for of in told["trainings"].values()
    ]
    assert [row[-1] for row in table.rows] == [
        "10.0, 11.0, 12.0",
        "40.0, 41.0, 42.0",
        "45.0, 46.0, 47.0",
    ]


def test_a_training_that_diverged_counts_as_chance():
    m = json.loads(json.dumps(CLAIM.measure(ScriptedLab("tanh")), allow_nan=False))
    assert m["trainings"]["tanh"]["validation"] == [[0.1] * 3] * 3
    assert m["trainings"]["tanh"]["sweep"][0]["validation"] == 0.1
    assert CLAIM.judge(m)[4].mean == pytest.approx(15)
    assert len(CLAIM.draw(m)) == 3


def test_the_edge_is_that_of_the_optimizers_own_rates():
    class Adam(ScriptedLab):
        def train(self, *overrides, seed=None):
            run = super().train(*overrides, seed=seed)
            better = "optim=adam" in overrides and f"optim.lr={self.best}" in overrides
            run.history = [{"val/accuracy": 0.4 if better else 0.3}] * 4
            return run

    lab = Adam("none", "full")
    for lab.best, at_edge in ((0.001, True), (0.003, False), (0.01, True)):
        of = CLAIM.measure(lab)["trainings"]["relu"]
        assert (of["optim"], of["rate"], of["at_edge"]) == ("adam", lab.best, at_edge)
