import json

import pytest
import torch
from torch import nn

from lecture4.byhand.init import OF_FILTERS, SCHEMES
from lecture4.models import MLP, SoftmaxClassifier
from lecture4.models.activations import ACTIVATIONS, make_activation


def linear_layers(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear)]


def test_parameters_are_those_counted_by_hand():
    model = MLP((3, 32, 32), 10)
    by_hand = (3072 * 512 + 512) + (512 * 512 + 512) + (512 * 10 + 10)
    assert sum(p.numel() for p in model.parameters()) == by_hand == 1_841_162
    assert model(torch.rand(4, 3, 32, 32)).shape == (4, 10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_is_the_matrix_formula(activation):
    torch.manual_seed(0)
    model = MLP((2, 3, 4), 5, hidden=[7, 6], activation=activation).double()
    for p in model.parameters():
        nn.init.normal_(p)
    w1, b1, w2, b2, w, b = model.parameters()
    f = make_activation(activation)
    x = torch.randn(9, 2, 3, 4, dtype=torch.float64)
    h1 = f(x.reshape(9, 24) @ w1.T + b1)
    h2 = f(h1 @ w2.T + b2)
    assert torch.allclose(model(x), h2 @ w.T + b, rtol=1e-12)


def test_whitened_it_sees_principal_components_alone():
    torch.manual_seed(0)
    model, x = MLP((2, 3, 4), 5, hidden=[7], whiten=6), 3 + torch.randn(50, 2, 3, 4)
    assert model(x).isnan().all()  # until its first layer is computed
    model.fit(x.split(20))
    first, second, scores = linear_layers(model)
    assert first.weight.shape == (6, 24)
    assert second.weight.shape == (7, 6)
    z = first(x.flatten(1))
    assert torch.allclose(z.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.equal(model(x), scores(second(z).relu()))
    model(x).sum().backward()
    assert first.weight.grad is None
    assert first.bias.grad is None
    assert second.weight.grad.isfinite().all()


def test_fit_reads_no_input_without_whitening():
    MLP((4,), 2, hidden=[3]).fit(iter(lambda: pytest.fail("an input was read"), None))


@pytest.mark.parametrize(
    ("shape", "whiten", "message"),
    [
        ((4,), 5, "whiten=5 must be a whole number from 0 to 4, the numbers in an input"),
        ((4,), -1, "whiten=-1 must be a whole number from 0 to 4"),
        ((4,), 2.5, "whiten=2.5 must be"),
        ((4,), True, "whiten=True must be"),
        ((3, 64, 64), 9, "covariance of inputs of up to 8192 numbers, and these have 12288"),
    ],
)
def test_refuses_more_components_than_there_are(shape, whiten, message):
    with pytest.raises(ValueError, match=message):
        MLP(shape, 2, whiten=whiten)


def test_without_hidden_layers_it_is_the_softmax_classifier():
    mlp, softmax = MLP((3, 4), 5, hidden=[]), SoftmaxClassifier((3, 4), 5)
    mlp.load_state_dict(softmax.state_dict())
    x = torch.randn(3, 3, 4)
    assert torch.equal(mlp(x), softmax(x))


@pytest.mark.parametrize("init", [s for s in SCHEMES if s not in OF_FILTERS])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_init_gives_finite_scores(activation, init):
    model = MLP((3, 8, 8), 4, hidden=[16, 16], activation=activation, init=init)
    scores = model(torch.randn(5, 3, 8, 8))
    assert scores.isfinite().all()
    for layer in linear_layers(model):
        assert bool(layer.bias.any()) == (init == "pytorch")


def test_hidden_layers_take_the_gain_of_their_activation_and_the_scores_none():
    torch.manual_seed(0)
    first, second, scores = linear_layers(MLP((400,), 300, hidden=[500, 600]))
    assert first.weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert second.weight.std().item() == pytest.approx((2 / 500) ** 0.5, rel=0.02)
    assert scores.weight.std().item() == pytest.approx((1 / 600) ** 0.5, rel=0.02)


def test_dropout_follows_each_hidden_layer_and_stops_in_evaluation():
    torch.manual_seed(0)
    model, x = MLP((6,), 3, hidden=[50, 50], dropout=0.5), torch.randn(8, 6)
    assert sum(isinstance(layer, nn.Dropout) for layer in model.modules()) == 2
    assert not torch.equal(model(x), model(x))
    model.eval()
    plain = MLP((6,), 3, hidden=[50, 50])
    for ours, theirs in zip(linear_layers(plain), linear_layers(model), strict=True):
        ours.load_state_dict(theirs.state_dict())
    assert torch.equal(model(x), plain(x))


def test_settings_rebuild_an_equal_model():
    model = MLP((3, 4, 4), 5, hidden=(8, 9), activation="gelu", dropout=0.2, init="xavier").eval()
    settings = json.loads(json.dumps(model.settings))
    again = MLP(**settings).eval()
    assert again.settings == model.settings
    again.load_state_dict(model.state_dict())
    x = torch.randn(6, 3, 4, 4)
    assert torch.equal(again(x), model(x))
    assert str(again) == str(model)


@pytest.mark.parametrize("hidden", ["512", 512, None, {"a": 3}])
def test_refuses_what_is_no_list_of_widths(hidden):
    with pytest.raises(ValueError, match="must be a list of widths"):
        MLP((2,), 2, hidden=hidden)


@pytest.mark.parametrize("width", [0, -3, 2.5, "8", True, None])
def test_refuses_a_wrong_width(width):
    with pytest.raises(ValueError, match="a width must be a whole number ≥ 1"):
        MLP((2,), 2, hidden=[4, width])


def test_every_activation_that_the_error_lists_builds():
    with pytest.raises(ValueError, match="activation=swish") as caught:
        MLP((2,), 2, activation="swish")
    for name in str(caught.value).rpartition("one of ")[2].split(", "):
        MLP((2,), 2, activation=name)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"activation": "swish"}, "activation=swish is unknown"),
        ({"init": "kaiming"}, "init=kaiming is unknown"),
        ({"dropout": 1.5}, "probability"),
    ],
)
def test_refuses_wrong_settings(setting, message):
    with pytest.raises(ValueError, match=message):
        MLP((2,), 2, **setting)
