import copy
import math

import pytest
import torch
from claiming import SmallLab, beside, judged, stored

from lecture4.lesson.claims import s12_activations as activations

IMAGES = ("data=shapes", "data.train_size=400", "data.test_size=100", "data.val_size=100")


def accuracy(words, seed):
    """Of a scripted training: ReLU learns with Adam at 0.003 best, tanh a little, sigmoid not."""
    best = words["optim"] == "adam" and words["optim.lr"] == "0.003"
    learned = {"sigmoid": 0.1, "tanh": 0.4, "relu": 0.45}[words["model.activation"]]
    return learned + 0.01 * seed if best else 0.05


@pytest.fixture(scope="module")
def lab():
    return SmallLab(script=accuracy, images=IMAGES, budget="full")


@pytest.fixture(scope="module")
def scripted(lab):
    m = stored(activations, activations.measure(lab))
    m.trained.tested = 10_000
    return m


@pytest.fixture
def measured(scripted):
    return copy.deepcopy(scripted)


@pytest.mark.slow
def test_the_claim_runs_on_a_few_shapes():
    m = stored(activations, activations.measure(SmallLab(images=IMAGES)))
    judged(activations, m)
    assert len(list(activations.draw(m))) == 3
    assert m.trained.images == 6 * 128
    assert all(len(v.curves) == 3 and len(v.curves[0]) == 3 for v in m.trained.variants.values())


def test_each_activation_is_trained_with_its_scheme_on_every_seed(lab, scripted):
    rates = ("sgd", 0.01), ("sgd", 0.03), ("sgd", 0.1), ("adam", 0.001), ("adam", 0.003)
    tried = [f"optim={optim} optim.lr={rate} seed=0" for optim, rate in (*rates, ("adam", 0.01))]
    tried += [f"optim=adam optim.lr=0.003 seed={seed}" for seed in (1, 2)]
    for activation, init in {"sigmoid": "xavier", "tanh": "xavier", "relu": "he"}.items():
        words = f"model.activation={activation} model.init={init} "
        assert [c.split(words)[1] for c in lab.commands if words in c] == tried
    assert len(lab.commands) == 3 * len(tried)


def test_gradients_are_those_that_torch_finds(lab, scripted):
    assert all(len(norms) == 11 for seeds in scripted.gradients.values() for norms in seeds)
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
    found = activations.gradient_norms("tanh", "xavier", classifier.preprocess(x), y, 10, seed=1)
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_sigmoid_net_of_ten_layers_has_no_gradient_in_its_first(scripted):
    sigmoid = judged(activations, scripted)["sigmoid's gradient"]
    norms = scripted.gradients["sigmoid"][0]
    assert sigmoid.values[0] == pytest.approx(math.log10(norms[1] / norms[9]))
    # E[σ′(z)²] lies near 1/16, and Var[w]·100 is 1: each layer passes on about a quarter.
    assert sigmoid.mean == pytest.approx(8 * math.log10(0.23), abs=0.6)


def change_accuracy(name, *accuracies):
    return lambda m: setattr(m.trained.variants[name], "accuracy", accuracies)


@pytest.mark.parametrize(
    ("finding", "change"),
    [
        ("sigmoid's gradient", lambda m: m.gradients.update(sigmoid=[[1.0] * 11] * 3)),
        ("ReLU's gradient", lambda m: m.gradients.update(ReLU=m.gradients["sigmoid"])),
        ("ReLU learned", lambda m: setattr(m.trained, "chance", 0.5)),
        ("ReLU better than sigmoid", change_accuracy("sigmoid", 0.45, 0.46, 0.47)),
        ("ReLU better than tanh", change_accuracy("tanh", 0.5, 0.5, 0.5)),
        # 5 points are within luck on so few images.
        ("ReLU better than tanh", lambda m: setattr(m.trained, "tested", 200)),
    ],
)
def test_a_contradiction_is_judged_so(measured, finding, change):
    assert {found.verdict for found in judged(activations, measured).values()} == {"holds"}
    change(measured)
    verdicts = {name: found.verdict for name, found in judged(activations, measured).items()}
    assert verdicts.pop(finding) == "does not hold"
    assert set(verdicts.values()) == {"holds"}


def test_relu_is_as_many_times_as_fast_as_its_epochs_are_fewer(measured):
    for name, curve in {"tanh": [0.1, 0.2, 0.3], "ReLU": [0.2, 0.4, 0.5]}.items():
        measured.trained.variants[name].curves = [curve] * 3
    [number] = beside(activations, measured)
    assert number.ours == pytest.approx([3 / 1.5] * 3)  # 0.3 after 3 epochs, and after 1 ½
    assert number.direction == "agrees"
    measured.trained.variants["tanh"].curves = [[0.4, 0.5, 0.6]] * 3
    [number] = beside(activations, measured)
    assert number.ours == pytest.approx([2 / 3] * 3)  # 0.5 after 2 epochs, and after 3
    assert number.direction == "disagrees"


def test_a_net_that_guesses_is_not_compared(measured):
    measured.trained.variants["tanh"].curves[1] = [0.3, 0.2, 0.1]
    assert beside(activations, measured) == []


def test_drawn(measured):
    gradients, curves, table = activations.draw(measured)
    drawn = {trace.name: list(trace.y) for trace in gradients.figure.data if trace.name}
    assert list(drawn) == ["sigmoid", "tanh", "ReLU"]
    means = torch.tensor(measured.gradients["tanh"]).mean(0).tolist()
    assert drawn["tanh"] == pytest.approx(means, rel=1e-3)
    assert f"tanh {means[1]:.1e} and {means[9]:.1e}" in gradients.alt
    assert "ReLU 46.0 (45.0–47.0) %" in curves.alt
    assert table.rows[2][4:] == ["5.0", "45.0", "5.0", "adam 0.003", "45.0, 46.0, 47.0"]
