import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lecture4.models import MLP, ConvNet, SoftmaxClassifier, layer_rows

CONVNET = {
    "input_shape": (3, 16, 13),
    "num_classes": 4,
    "blocks": [
        {"channels": 6, "padding": 1, "norm": "batch", "pool": {"kernel_size": 2}},
        {"channels": 8, "kernel_size": [3, 5], "stride": [2, 1], "padding": [0, 2]},
    ],
}
MODELS = [
    (SoftmaxClassifier, {"input_shape": (3, 8, 8), "num_classes": 10}),
    (MLP, {"input_shape": (2,), "num_classes": 2, "hidden": [5, 7], "dropout": 0.1}),
    (ConvNet, CONVNET),
    (ConvNet, CONVNET | {"head": "flatten", "dropout": 0.3}),
]


@pytest.mark.parametrize(("kind", "settings"), MODELS)
def test_multiply_adds_are_half_of_torchs_count(kind, settings):
    model = kind(**settings)
    rows = layer_rows(model, settings["input_shape"])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *settings["input_shape"]))
    assert sum(row.multiply_adds for row in rows) == counter.get_total_flops() // 2 > 0


@pytest.mark.parametrize(("kind", "settings"), MODELS)
def test_parameters_add_up(kind, settings):
    model = kind(**settings)
    rows = layer_rows(model, settings["input_shape"])
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model.parameters())


def test_every_layer_in_the_order_of_an_input():
    rows = layer_rows(ConvNet(**CONVNET), (3, 16, 13))
    assert [(row.name, row.output_shape, row.parameters, row.multiply_adds) for row in rows] == [
        ("blocks.0.conv", (6, 16, 13), 162, 6 * 16 * 13 * 27),
        ("blocks.0.pool", (6, 8, 6), 0, 0),
        ("blocks.0.norm", (6, 8, 6), 12, 0),
        ("blocks.0.activation", (6, 8, 6), 0, 0),
        ("blocks.1.conv", (8, 3, 6), 728, 8 * 3 * 6 * 90),
        ("blocks.1.activation", (8, 3, 6), 0, 0),
        ("pool", (8, 1, 1), 0, 0),
        ("scores", (4,), 36, 32),
    ]


def arithmetic(model, input_shape):
    """The text of each layer that slides a window, without spaces."""
    texts = [row.arithmetic.replace(" ", "") for row in layer_rows(model, input_shape)]
    return [text for text in texts if text]


def test_arithmetic_is_filled_in():
    assert arithmetic(ConvNet(**CONVNET), (3, 16, 13)) == [
        "(16+2·1−3)/1+1=16×(13+2·1−3)/1+1=13",
        "(16+2·0−2)/2+1=8×⌊(13+2·0−2)/2+1⌋=6",
        "⌊(8+2·0−3)/2+1⌋=3×(6+2·2−5)/1+1=6",
        "(3+2·0−3)/3+1=1×(6+2·0−6)/6+1=1",
    ]


def test_arithmetic_of_a_square_stands_once():
    blocks = [{"channels": 2, "kernel_size": 5, "stride": 2, "padding": 2}]
    model = ConvNet((3, 32, 32), 2, blocks, head="flatten")
    assert arithmetic(model, (3, 32, 32)) == ["⌊(32+2·2−5)/2+1⌋=16"]


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_not_changed(training):
    model = ConvNet(**CONVNET | {"dropout": 0.5}).train(training)
    state = copy.deepcopy(model.state_dict())
    random_state = torch.get_rng_state()
    layer_rows(model, (3, 16, 13))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert {layer.training for layer in model.modules()} == {training}
    assert not any(layer._forward_hooks for layer in model.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(p.grad is None for p in model.parameters())


def test_a_layer_frozen_in_evaluation_stays_frozen():
    model = ConvNet(**CONVNET).train()
    model.blocks[0].norm.eval()
    layer_rows(model, (3, 16, 13))
    assert model.training
    assert not model.blocks[0].norm.training


def test_a_failing_model_is_not_changed():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2))
    with pytest.raises(RuntimeError):
        layer_rows(model, (3,))
    assert model.training
    assert not any(layer._forward_hooks for layer in model.modules())


def test_takes_the_dtype_of_the_model():
    model = MLP((4,), 2, hidden=[3]).double()
    assert [row.output_shape for row in layer_rows(model, (4,))] == [(3,), (3,), (2,)]
