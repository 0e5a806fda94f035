import pytest
import torch
from torch import nn

from lecture4.byhand import nn as byhand_nn
from lecture4.models.norm import check_flag, make_norm

each_family = pytest.mark.parametrize("layers", [nn, byhand_nn], ids=["torch", "byhand"])


@each_family
def test_a_name_is_torchs_layer_with_its_defaults(layers):
    assert make_norm(layers, 5, "none") is None
    norm = make_norm(layers, 5, "batch")
    assert type(norm) is layers.BatchNorm2d
    assert str(norm) == str(nn.BatchNorm2d(5))
    assert norm.weight.requires_grad


@each_family
def test_settings_reach_the_layer(layers):
    norm = make_norm(layers, 5, {"scale": False, "momentum": 0.4, "eps": 1e-12})
    assert (norm.momentum, norm.eps) == (0.4, 1e-12)
    assert not norm.weight.requires_grad
    assert norm.bias.requires_grad
    assert (norm.weight == 1).all()
    assert make_norm(layers, 5, {"kind": "none", "momentum": 0.4}) is None


@each_family
def test_momentum_is_the_weight_of_the_batch(layers):
    x, norm = 2 + torch.randn(6, 3, 4, 4), make_norm(layers, 3, {"momentum": 0.4})
    norm(x)
    torch.testing.assert_close(norm.running_mean, 0.4 * x.mean((0, 2, 3)))


@pytest.mark.parametrize(
    ("norm", "message"),
    [
        ("layer", "norm: kind=layer is unknown; choose one of none, batch"),
        ({"kind": "group"}, "norm: kind=group is unknown"),
        ({"gamma": 1}, "norm has no setting gamma; it takes kind, scale, momentum, eps"),
        ({"scale": "no"}, "norm: scale='no' must be true or false"),
        ({"momentum": 0}, r"norm: momentum=0 must be a number in \(0, 1\]"),
        ({"momentum": 1.5}, "momentum=1.5"),
        ({"momentum": True}, "momentum=True"),
        ({"eps": 0.0}, "norm: eps=0.0 must be a number > 0"),
        ({"eps": "1e-5"}, "eps='1e-5'"),
        (None, "norm=None must be none, batch or settings"),
        (2, "norm=2 must be"),
    ],
)
def test_refuses_by_name(norm, message):
    with pytest.raises(ValueError, match=message):
        make_norm(nn, 4, norm)


def test_a_flag_is_true_or_false():
    check_flag("frozen", True)
    with pytest.raises(ValueError, match="frozen=1 must be true or false"):
        check_flag("frozen", 1)
