import copy
import math

import pytest
import torch
from against_torch import distinct, randint, randn
from torch import nn

from lecture4.byhand import nn as byhand_nn
from lecture4.byhand.functional.convolution import _Conv2d
from lecture4.byhand.functional.dense import _Linear
from lecture4.byhand.functional.losses import _CrossEntropy
from lecture4.byhand.functional.normalization import _BatchNorm
from lecture4.byhand.functional.pooling import _MaxPool2d
from lecture4.byhand.nn import with_layers
from lecture4.byhand.numerical import (
    GradientRow,
    gradient,
    gradient_table,
    parameter_gradients,
    relative_error,
    slope,
)
from lecture4.models import MLP, ConvNet, SoftmaxClassifier

FAMILIES = {"torch": nn, "byhand": byhand_nn}
A, B = randn(6, 6, seed=1), randn(6, seed=2)
FUNCTIONS = {  # f and its gradient
    "cubes": (lambda x: (x**3).sum(), lambda x: 3 * x**2),
    "log sum exp": (lambda x: x.logsumexp(0), lambda x: x.softmax(0)),
    "quadratic form": (lambda x: x @ A @ x + B @ x, lambda x: (A + A.T) @ x + B),
    "linear": (lambda x: B @ x, lambda x: B),
    "constant": (lambda x: 7.0, lambda x: torch.zeros_like(x)),
}
INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient_of_known_functions(name):
    f, exact = FUNCTIONS[name]
    x = randn(6)
    torch.testing.assert_close(gradient(f, x), exact(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_slope_is_the_gradients_product_with_a_direction(name):
    f, exact = FUNCTIONS[name]
    x, v = randn(6), randn(6, seed=3)
    found = slope(f, x, v)
    assert isinstance(found, float)
    assert found == pytest.approx((v @ exact(x)).item(), rel=1e-9, abs=1e-9)
    assert slope(f, x, -2 * v) == pytest.approx(-2 * found, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("h", [1e-1, 1e-2, 1e-3])
def test_the_truncation_error_of_a_cube_is_h_squared(h):
    """((x + h)³ − (x − h)³) / 2h = 3x² + h²."""
    x = randn(2, 3)
    error = gradient(lambda t: (t**3).sum(), x, h) - 3 * x**2
    torch.testing.assert_close(error, torch.full_like(x, h * h), rtol=1e-4, atol=1e-10)
    assert slope(lambda t: t**3, torch.tensor(2.0).double(), 1.0, h) - 12 == pytest.approx(
        h * h, rel=1e-4
    )


@pytest.mark.parametrize("f", [torch.exp, torch.sin, torch.tanh])
def test_the_error_falls_a_hundredfold_with_a_step_ten_times_shorter(f):
    x = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(f(x), x)
    errors = [abs(gradient(f, x.detach(), h) - exact).item() for h in (1e-1, 1e-2, 1e-3)]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3), (2, 1, 3, 2), (0,), (3, 0)])
def test_shapes_are_kept(shape):
    x = randn(*shape)
    d = gradient(lambda t: (t**2).sum(), x)
    assert d.shape == x.shape
    assert d.dtype == x.dtype
    torch.testing.assert_close(d, 2 * x, rtol=1e-9, atol=1e-9)


def test_each_number_has_its_own_derivative():
    x = randn(2, 3)
    torch.testing.assert_close(
        gradient(lambda t: 5 * t[1, 0] + 7 * t[0, 2], x),
        torch.tensor([[0, 0, 7], [5, 0, 0]], dtype=torch.float64),
        rtol=1e-9,
        atol=1e-9,
    )


def test_float32_stays_float32():
    x = randn(5).float()
    d = gradient(lambda t: (t**2).sum(), x, h=1e-2)
    assert d.dtype == torch.float32
    torch.testing.assert_close(d, 2 * x, rtol=1e-3, atol=1e-3)


def test_x_is_not_changed():
    x = randn(5).requires_grad_()
    before, seen = x.detach().clone(), []

    def f(t):
        seen.append((t.requires_grad, torch.is_grad_enabled()))
        return t.mul_(2).sum()

    d = gradient(f, x)
    torch.testing.assert_close(d, torch.full_like(x, 2.0), rtol=1e-9, atol=0)
    assert torch.equal(x, before)
    assert x.grad is None
    assert not d.requires_grad
    assert seen == [(False, False)] * 10
    slope(f, x, torch.ones(5))
    assert torch.equal(x, before)
    assert len(seen) == 12


@pytest.mark.parametrize("h", [0, 0.0, -1e-5, NAN])
def test_a_step_must_be_positive(h):
    with pytest.raises(ValueError, match=rf"h={h} must be a number > 0"):
        gradient(torch.sum, randn(3), h)
    with pytest.raises(ValueError, match=rf"h={h} must be a number > 0"):
        slope(torch.sum, randn(3), randn(3), h)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex128])
def test_a_derivative_needs_floats(dtype):
    x = torch.ones(3, dtype=dtype)
    with pytest.raises(ValueError, match=str(dtype)):
        gradient(torch.sum, x)
    with pytest.raises(ValueError, match=str(dtype)):
        slope(torch.sum, x, x)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([1.0, 4.0], [1.0, 2.0], 1.0),
        ([1.0, -2.0], [1.0, 2.0], 2.0),
        ([0.0, -4.0], [0.0, -5.0], 0.2),
        ([1e-9, 5.0], [0.0, 5.0], 2e-10),
        ([0.0, 0.0], [3.0, 0.0], 1.0),
        ([0.0, 0.0], [0.0, -0.0], 0.0),
        ([0.0, 1e-300], [0.0, 0.0], INF),
        ([INF, 1.0], [1.0, 1.0], INF),
        ([INF, 1.0], [0.0, 0.0], INF),
        ([INF, 1.0], [INF, 1.0], NAN),
        ([1.0, 1.0], [INF, 1.0], NAN),
        ([NAN, 1.0], [1.0, 1.0], NAN),
        ([1.0, 1.0], [1.0, NAN], NAN),
        ([], [], 0.0),
        (3.0, 2.0, 0.5),
    ],
)
def test_relative_error(a, b, expected):
    found = relative_error(*(torch.tensor(t, dtype=torch.float64) for t in (a, b)))
    assert isinstance(found, float)
    assert found == pytest.approx(expected, rel=1e-12, abs=0, nan_ok=True)


OVERLAPPING = {"kernel_size": 3, "stride": 2, "padding": 1}
BLOCKS = [
    {"channels": 4, "padding": 1, "norm": "batch", "pool": OVERLAPPING},
    {"channels": 5, "kernel_size": 2, "norm": "batch"},
]
MODELS = {
    "softmax": (SoftmaxClassifier, {}),
    "mlp": (MLP, {"hidden": [9, 8]}),
    "mlp dropout": (MLP, {"hidden": [9, 8], "dropout": 0.4, "activation": "gelu"}),
    "convnet": (ConvNet, {"blocks": BLOCKS, "dropout": 0.3, "head": "flatten"}),
}
BATCH = distinct(7, 3, 6, 6).float() / 50, randint(4, 7)


def make(name, of="torch"):
    kind, options = MODELS[name]
    torch.manual_seed(0)
    return kind(input_shape=(3, 6, 6), num_classes=4, layers=FAMILIES[of], init="xavier", **options)


def exact(model):
    """The gradient by torch's layers in float64, with dropout's masks from seed 0."""
    twin = with_layers(model, nn).double().requires_grad_()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        scores = twin(BATCH[0].double())
    nn.functional.cross_entropy(scores, BATCH[1]).backward()
    return {name: p.grad for name, p in twin.named_parameters()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("of", ["torch", "byhand"])
@pytest.mark.parametrize("name", MODELS)
def test_three_gradients_agree(name, of, training):
    model = make(name, of).train(training)
    rows = gradient_table(model, BATCH)
    expected = exact(model)
    assert [row.name for row in rows] == [key for key, _ in model.named_parameters()]
    assert [row.shape for row in rows] == [tuple(p.shape) for p in model.parameters()]
    for row in rows:
        assert isinstance(row, GradientRow)
        assert row.norm == pytest.approx(expected[row.name].norm().item(), rel=1e-10)
        assert row.norm > 1e-4
        assert row.autograd <= 1e-12
        assert row.numerical <= 1e-5


@pytest.mark.parametrize("of", ["torch", "byhand"])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_not_changed(of, training):
    model = make("convnet", of).train(training)
    model.blocks[0].norm.eval()
    model.scores.bias.grad = torch.ones(4)
    state, types = copy.deepcopy(model.state_dict()), [type(m) for m in model.modules()]
    flags = [m.training for m in model.modules()]
    inputs, random = BATCH[0].clone(), torch.get_rng_state()
    gradient_table(model, BATCH)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(BATCH[0], inputs)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])
        assert value.dtype == state[key].dtype
    assert [type(m) for m in model.modules()] == types
    assert [m.training for m in model.modules()] == flags
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    assert {key for key, p in model.named_parameters() if p.grad is not None} == {"scores.bias"}
    assert torch.equal(model.scores.bias.grad, torch.ones(4))


def test_a_table_is_the_same_each_time():
    model = make("convnet")
    torch.manual_seed(1)
    first = gradient_table(model, BATCH)
    torch.manual_seed(2)
    assert gradient_table(model, BATCH) == first


def test_frozen_parameters_have_rows():
    model = make("mlp")
    free = gradient_table(model, BATCH)
    model.hidden.requires_grad_(False)
    assert gradient_table(model, BATCH) == free
    assert not any(p.requires_grad for p in model.hidden.parameters())
    assert model.scores.weight.requires_grad


def test_a_parameter_that_the_loss_does_not_see_has_gradient_zero():
    model = make("softmax")
    model.unseen = nn.Parameter(torch.ones(2, 3))
    row = gradient_table(model, BATCH)[0]
    assert row == GradientRow("unseen", (2, 3), 0.0, 0.0, 0.0)


def plant(monkeypatch, function, wrong):
    """Change what a backward pass returns."""
    right = function.backward
    backward = staticmethod(lambda ctx, dy: wrong(right(ctx, dy)))
    monkeypatch.setattr(function, "backward", backward)


def scaled(place, factor):
    def wrong(gradients):
        gradients = [*gradients]
        if gradients[place] is not None:
            gradients[place] = gradients[place] * factor
        return tuple(gradients)

    return wrong


WEIGHTS = {"hidden.0.weight", "hidden.2.weight", "scores.weight"}
FIRST = {"blocks.0.conv.weight", "blocks.0.norm.weight", "blocks.0.norm.bias"}
SECOND = {"blocks.1.conv.weight", "blocks.1.norm.weight", "blocks.1.norm.bias"}
SCORES = {"scores.weight", "scores.bias"}


@pytest.mark.parametrize("of", ["torch", "byhand"])
@pytest.mark.parametrize(
    ("name", "function", "place", "affected"),
    [
        ("softmax", _Linear, 1, {"scores.weight"}),
        ("mlp", _Linear, 1, WEIGHTS),
        ("mlp", _Linear, 2, {"hidden.0.bias", "hidden.2.bias", "scores.bias"}),
        ("mlp", _CrossEntropy, 0, WEIGHTS | {"hidden.0.bias", "hidden.2.bias", "scores.bias"}),
        ("convnet", _Conv2d, 1, {"blocks.0.conv.weight", "blocks.1.conv.weight"}),
        ("convnet", _Conv2d, 0, FIRST),
        ("convnet", _BatchNorm, 2, {"blocks.0.norm.bias", "blocks.1.norm.bias"}),
        ("convnet", _MaxPool2d, 0, {"blocks.0.conv.weight"}),
        ("convnet", _Linear, 0, FIRST | SECOND),
    ],
)
def test_a_wrong_backward_pass_shows_in_both_columns(
    monkeypatch, name, function, place, affected, of
):
    plant(monkeypatch, function, scaled(place, 1.01))
    found = {row.name: row for row in gradient_table(make(name, of), BATCH)}
    assert affected <= set(found)
    for row in found.values():
        if row.name in affected:
            assert row.autograd == pytest.approx(0.01, rel=1e-6)
            assert row.numerical == pytest.approx(0.01, rel=1e-2)
        else:
            assert row.autograd <= 1e-12
            assert row.numerical <= 1e-5


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_gradient_that_is_no_number_shows_in_both_columns(monkeypatch, value):
    plant(monkeypatch, _Linear, scaled(1, value))
    weight, bias = gradient_table(make("softmax"), BATCH)
    assert not math.isfinite(weight.autograd)
    assert not math.isfinite(weight.numerical)
    assert bias.autograd <= 1e-12
    assert bias.numerical <= 1e-5


def test_one_wrong_number_among_many_shows(monkeypatch):
    def wrong(gradients):
        dx, dweight, dbias = gradients
        dweight = dweight.clone()
        dweight[1, 2] += 0.1 * dweight.abs().max()
        return dx, dweight, dbias

    plant(monkeypatch, _Linear, wrong)
    weight, bias = gradient_table(make("softmax"), BATCH)
    assert weight.autograd == pytest.approx(0.1, rel=1e-6)
    assert weight.numerical > 1e-3
    assert bias.numerical <= 1e-5


@pytest.mark.parametrize("of", ["torch", "byhand"])
def test_parameter_gradients_are_those_of_the_mean_loss(of):
    model = make("mlp", of).double()
    model.unseen = nn.Parameter(torch.ones(2, dtype=torch.float64))
    found = parameter_gradients(model, BATCH, FAMILIES[of].CrossEntropyLoss())
    assert list(found) == [key for key, _ in model.named_parameters()]
    assert torch.equal(found.pop("unseen"), torch.zeros(2, dtype=torch.float64))
    del model.unseen
    expected = exact(model)
    for key, d in found.items():
        torch.testing.assert_close(d, expected[key], rtol=1e-12, atol=1e-14)
    assert all(p.grad is None for p in model.parameters())


def test_a_gradient_that_is_all_rounding_is_no_error():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 5)
    )  # the norm cancels the convolution's bias
    rows = gradient_table(model, (torch.randn(6, 3, 6, 6), torch.randint(5, (6,))))
    assert rows[1].norm < 1e-12
    assert all(row.autograd < 1e-9 and row.numerical < 1e-4 for row in rows)
