import copy
import io
import json
import pickle
from types import MappingProxyType

import pytest
import torch
from torch import nn

from lecture4.byhand import nn as byhand_nn
from lecture4.models import MLP, ConvNet, SoftmaxClassifier
from lecture4.models.settings import keeps_settings

BLOCK = {"channels": 4, "kernel_size": (2, 3), "pool": {"kernel_size": 2}}
MODELS = [
    SoftmaxClassifier((3, 8, 8), 5, layers=byhand_nn),
    MLP((3, 8, 8), num_classes=5, hidden=(6, 7), dropout=0.2, layers=byhand_nn),
    ConvNet(torch.Size([3, 8, 8]), 5, (MappingProxyType(BLOCK),), layers=byhand_nn),
]
EXPECTED = [
    {"input_shape": [3, 8, 8], "num_classes": 5, "init": "small"},
    {
        "input_shape": [3, 8, 8],
        "num_classes": 5,
        "hidden": [6, 7],
        "activation": "relu",
        "dropout": 0.2,
        "init": "he",
        "whiten": 0,
    },
    {
        "input_shape": [3, 8, 8],
        "num_classes": 5,
        "blocks": [{"channels": 4, "kernel_size": [2, 3], "pool": {"kernel_size": 2}}],
        "head": "global",
        "head_init": None,
        "head_bias": True,
        "activation": "relu",
        "dropout": 0.0,
        "init": "he",
        "strict_sizes": False,
    },
]
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)


@pytest.mark.parametrize(("model", "expected"), list(zip(MODELS, EXPECTED, strict=True)))
def test_settings_are_the_arguments_and_defaults_as_plain_values(model, expected):
    assert model.settings == expected
    assert list(model.settings) == list(expected)
    assert json.loads(json.dumps(model.settings)) == model.settings
    assert "layers" not in model.settings


@each_model
@pytest.mark.parametrize("layers", [nn, byhand_nn])
def test_settings_build_the_model_anew(model, layers):
    again = type(model)(**model.settings, layers=layers)
    assert again.settings == model.settings
    assert type(again.scores) is layers.Linear
    again.load_state_dict(model.state_dict(), strict=True)


@each_model
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_its_own_settings(model, copied):
    twin = copied(model)
    assert type(twin) is type(model)
    assert twin.settings == model.settings
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(twin.eval()(x), model.eval()(x))
    twin.settings["input_shape"].append(1)
    assert twin.settings != model.settings


@each_model
def test_settings_load_as_weights_only(model):
    file = io.BytesIO()
    torch.save(model.settings, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == model.settings


def test_later_changes_of_an_argument_do_not_reach_the_settings():
    hidden, block = [6], {"channels": 3, "pool": {"kernel_size": 2}}
    mlp, convnet = MLP((2,), 2, hidden), ConvNet((1, 4, 4), 2, [block])
    hidden.append(7)
    block["pool"]["kernel_size"] = 9
    assert mlp.settings["hidden"] == [6]
    assert convnet.settings["blocks"] == [{"channels": 3, "pool": {"kernel_size": 2}}]


def test_a_subclass_keeps_its_own_arguments():
    @keeps_settings
    class Deep(MLP):
        def __init__(self, depth, layers=nn):
            super().__init__((2,), 2, [3] * depth, layers=layers)

    assert Deep(4).settings == {"depth": 4}


def test_a_missing_argument_is_pythons_error():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'num_classes'"):
        MLP((2,))
