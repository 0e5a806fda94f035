import json
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lecture4.byhand import nn as byhand_nn
from lecture4.byhand.init import SCHEMES
from lecture4.models import ConvNet
from lecture4.models.activations import ACTIVATIONS, make_activation
from lecture4.models.convnet import Block

BLOCKS = [
    {
        "channels": 6,
        "kernel_size": 3,
        "padding": 1,
        "norm": "batch",
        "pool": {"kind": "max", "kernel_size": 2},
    },
    {"channels": 8, "kernel_size": [3, 5], "stride": [2, 1], "padding": [0, 2]},
    {"channels": 10, "pool": {"kind": "avg", "kernel_size": 3, "stride": 2, "padding": 1}},
]


def make(blocks, input_shape=(3, 16, 16), **settings):
    return ConvNet(input_shape, 4, blocks, **settings)


def test_parameters_are_those_counted_by_hand():
    """(3·3·3)·6 + 2·6,   (6·3·5 + 1)·8,   (8·3·3 + 1)·10,   (10 + 1)·4."""
    by_hand = 162 + 12 + 728 + 730 + 44
    assert sum(p.numel() for p in make(BLOCKS).parameters()) == by_hand == 1676


@pytest.mark.parametrize("head", ["global", "flatten"])
def test_geometry_of_blocks_and_head(head):
    """16 -pool-> 8,   (8 - 3)//2 + 1 = 3 by 8,   1 by 6,   pool: (1 + 2 - 3)//2 + 1 = 1 by 3."""
    model = make(BLOCKS, head=head)
    x, shapes = torch.randn(2, 3, 16, 16), []
    for block in model.blocks:
        x = block(x)
        shapes.append(tuple(x.shape[1:]))
        assert tuple(block.map_size) == shapes[-1][1:]
    assert shapes == [(6, 8, 8), (8, 3, 8), (10, 1, 3)]
    assert model.scores.in_features == (10 if head == "global" else 30)
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 4)


@pytest.mark.parametrize("head", ["global", "flatten"])
@pytest.mark.parametrize("training", [True, False])
def test_scores_are_those_of_the_written_out_network(head, training):
    torch.manual_seed(0)
    model = make(BLOCKS, head=head).double().train(training)
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    first, second, third = model.blocks
    first.norm.running_mean.normal_()
    first.norm.running_var.uniform_(0.5, 2)
    x = torch.randn(5, 3, 16, 16, dtype=torch.float64)

    h = F.max_pool2d(F.conv2d(x, first.conv.weight, padding=1), 2)
    h = F.batch_norm(
        h,
        first.norm.running_mean.clone(),
        first.norm.running_var.clone(),
        first.norm.weight,
        first.norm.bias,
        training,
    ).relu()
    h = F.conv2d(h, second.conv.weight, second.conv.bias, (2, 1), (0, 2)).relu()
    h = F.avg_pool2d(F.conv2d(h, third.conv.weight, third.conv.bias), 3, 2, 1).relu()
    h = h.mean((2, 3)) if head == "global" else h.reshape(5, -1)
    expected = h @ model.scores.weight.T + model.scores.bias
    assert torch.allclose(model(x), expected, rtol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "leaky_relu"])
def test_max_pool_before_an_increasing_activation_is_max_pool_after(activation):
    block = Block(3, (9, 9), 5, 3, pool={"kernel_size": 3, "stride": 2}, activation=activation)
    x = torch.randn(4, 3, 9, 9)
    f = make_activation(activation)
    after = F.max_pool2d(f(block.conv(x)), 3, 2)
    assert torch.allclose(block(x), after, atol=1e-6)


def test_with_batch_norm_the_convolution_has_no_bias():
    with_norm, without = make([{"channels": 4, "norm": "batch"}, {"channels": 4}]).blocks
    assert with_norm.conv.bias is None
    assert isinstance(with_norm.norm, nn.BatchNorm2d)
    assert without.conv.bias is not None
    assert without.norm is None


@pytest.mark.parametrize("init", [s for s in SCHEMES if s != "whiten"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_init_gives_finite_scores(activation, init):
    model = make(BLOCKS, activation=activation, init=init)
    assert model(torch.randn(5, 3, 16, 16)).isfinite().all()
    kind = type(make_activation(activation))
    assert sum(isinstance(layer, kind) for layer in model.modules()) == 3


def test_filters_take_the_gain_of_their_own_activation_and_the_scores_none():
    torch.manual_seed(0)
    blocks = [{"channels": 100}, {"channels": 100, "activation": "tanh"}]
    model = ConvNet((50, 8, 8), 200, blocks, activation="relu")
    relu, tanh = model.blocks
    assert isinstance(tanh.activation, nn.Tanh)
    assert relu.conv.weight.std().item() == pytest.approx((2 / 450) ** 0.5, rel=0.02)
    assert tanh.conv.weight.std().item() == pytest.approx(5 / 3 * (1 / 900) ** 0.5, rel=0.02)
    assert model.scores.weight.std().item() == pytest.approx((1 / 100) ** 0.5, rel=0.02)


@pytest.mark.parametrize("blocks", [[], "none", None, 3])
def test_refuses_what_is_no_list_of_blocks(blocks):
    with pytest.raises(ValueError, match="must be a list of blocks, one at least"):
        ConvNet((3, 8, 8), 2, blocks)


def test_dropout_stands_before_the_scores_and_stops_in_evaluation():
    torch.manual_seed(0)
    model = make([{"channels": 20}], dropout=0.5)
    x = torch.randn(4, 3, 16, 16)
    assert not torch.equal(model(x), model(x))
    plain = make([{"channels": 20}])
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(x), plain(x))


def test_memory_layout_of_the_input_does_not_matter():
    model = make(BLOCKS, head="flatten").eval()
    x = torch.randn(4, 3, 16, 16)
    assert torch.allclose(model(x), model(x.contiguous(memory_format=torch.channels_last)))


def test_settings_rebuild_an_equal_model():
    model = make(BLOCKS, head="flatten", activation="gelu", dropout=0.1, init="xavier")
    model(torch.randn(8, 3, 16, 16))
    plain = json.loads(json.dumps(model.settings))
    again = ConvNet(**plain).eval()
    assert again.settings == model.settings
    again.load_state_dict(model.state_dict())
    x = torch.randn(6, 3, 16, 16)
    assert torch.equal(again(x), model.eval()(x))
    assert str(again) == str(model)


def test_given_blocks_are_not_changed():
    blocks = json.loads(json.dumps(BLOCKS))
    make(blocks)
    assert blocks == BLOCKS


def error_of(blocks, **settings):
    with pytest.raises(ValueError, match=".") as caught:
        make(blocks, **settings)
    return str(caught.value)


GOOD = {"channels": 4}


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("block", "parts"),
    [
        ({"channels": 0}, ["channels=0", "≥ 1"]),
        ({"channels": 2.5}, ["channels=2.5"]),
        ({"channels": True}, ["channels=True"]),
        ({"kernel_size": 3}, ["needs the setting channels"]),
        ({"channels": 4, "layers": "byhand"}, ["no setting layers", "residual, strict_sizes"]),
        ({"channels": 4, "kernel_size": 0}, ["kernel_size", "≥ 1", "0"]),
        ({"channels": 4, "stride": 0}, ["stride", "≥ 1"]),
        ({"channels": 4, "padding": -1}, ["padding", "≥ 0", "-1"]),
        ({"channels": 4, "kernel_size": [3, 3, 3]}, ["[3, 3, 3]"]),
        ({"channels": 4, "kernel_size": "3"}, ["'3'"]),
        ({"channels": 4, "kernel_size": 99}, ["kernel_size=99", "kernel_size ≤", "padding ≥"]),
        ({"channels": 4, "norm": "layer"}, ["norm: kind=layer", "none, batch"]),
        ({"channels": 4, "activation": "swish"}, ["activation=swish", "relu", "gelu"]),
        ({"channels": 4, "chanels": 4}, ["chanels", "channels, kernel_size, stride, padding"]),
        ({"channels": 4, "pool": {"kind": "min"}}, ["pool", "kind=min", "max, avg"]),
        ({"channels": 4, "pool": {"size": 2}}, ["pool", "size", "kernel_size, stride, padding"]),
        ({"channels": 4, "pool": 2}, ["pool=2", "mapping"]),
        ({"channels": 4, "pool": {"padding": 2}}, ["pool", "padding=2", "padding ≤ 1"]),
        ({"channels": 4, "pool": {"kernel_size": 50}}, ["pool", "kernel_size=50"]),
        ({"channels": 4, "pool": {"stride": 0}}, ["pool", "stride"]),
        (7, ["blocks", "=7", "mapping"]),
    ],
)
def test_what_is_wrong_with_a_block_names_it(place, block, parts):
    blocks = [GOOD] * place + [block] + [GOOD] * (2 - place)
    message = error_of(blocks)
    for part in [f"blocks[{place}]", *parts]:
        assert part in message
    assert "\n" not in message


def test_every_activation_that_the_error_lists_builds():
    listed = error_of([{"channels": 4, "activation": "swish"}]).rpartition("one of ")[2]
    assert len(listed.split(", ")) >= 5
    for name in listed.split(", "):
        make([{"channels": 4, "activation": name}])


def test_a_kernel_larger_than_its_map_names_block_numbers_and_what_works():
    blocks = [{"channels": 4, "pool": {"kernel_size": 4}}, {"channels": 4, "kernel_size": 6}]
    message = error_of(blocks)
    assert "blocks[1]" in message
    assert "kernel_size=6 is larger than its padded input 3 + 2·0 = 3" in message
    assert "kernel_size ≤ 3" in message
    assert "padding ≥ 2" in message
    make([blocks[0], {"channels": 4, "kernel_size": 3}])
    make([blocks[0], {"channels": 4, "kernel_size": 6, "padding": 2}])


def test_strict_sizes_refuse_what_is_rounded_down_otherwise():
    blocks = [GOOD, {"channels": 4, "kernel_size": 3, "stride": 2}]
    assert make(blocks).blocks[1].map_size == [6, 6]
    message = error_of(blocks, strict_sizes=True)
    assert "blocks[1]" in message
    assert "(14 + 2·0 − 3)/2 + 1 = 6.5 is not a whole number" in message
    make([GOOD, {"channels": 4, "kernel_size": 2, "stride": 2}], strict_sizes=True)


def suggestions(message):
    return re.findall(r"(kernel_size|stride|padding)=(\d+)", message.rpartition("; use ")[2])


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 5), st.integers(0, 3))
def test_every_strict_suggestion_for_a_convolution_builds(side, kernel_size, stride, padding):
    block = {"channels": 1, "kernel_size": kernel_size, "stride": stride, "padding": padding}
    try:
        make([block], input_shape=(1, side, side), strict_sizes=True)
    except ValueError as error:
        message = str(error)
        found = suggestions(message)
        assert found or "larger than its padded input" in message
        for name, value in found:
            mended = [block | {name: int(value)}]
            assert make(mended, (1, side, side), strict_sizes=True).blocks[0].map_size[0] >= 1


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_every_suggestion_for_a_pool_builds(side, kernel_size, stride, padding):
    pool = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    block = {"channels": 1, "kernel_size": 1}
    shape = (1, side, side)
    try:
        make([block | {"pool": pool}], shape, strict_sizes=True)
    except ValueError as error:
        tail = str(error).rpartition("; use ")[2]
        found = re.findall(r"(kernel_size|stride|padding)(?:=| ≤ | ≥ )(\d+)", tail)
        assert found
        for name, value in found:
            changed = block | {"pool": pool | {name: int(value)}}
            strict = "whole" in str(error)
            assert make([changed], shape, strict_sizes=strict).blocks[0].map_size[0] >= 1


@pytest.mark.parametrize(("side", "kernel_size"), [(7, 2), (11, 4), (14, 4), (9, 5), (23, 6)])
def test_every_suggestion_for_a_pool_that_names_no_stride_builds(side, kernel_size):
    """A pool's stride is its kernel_size where it names none, also after the suggested change."""
    block = {"channels": 1, "kernel_size": 1}
    pooled = block | {"pool": {"kernel_size": kernel_size}}
    with pytest.raises(ValueError, match="not a whole number") as caught:
        make([pooled], (1, side, side), strict_sizes=True)
    for name, value in suggestions(str(caught.value)):
        changed = block | {"pool": {"kernel_size": kernel_size, name: int(value)}}
        make([changed], (1, side, side), strict_sizes=True)


def test_unpooled_geometry_of_rectangular_images():
    model = ConvNet((1, 9, 20), 3, [{"channels": 2, "kernel_size": [3, 4], "stride": [2, 3]}])
    assert model.blocks[0].map_size == [4, 6]
    assert model(torch.randn(2, 1, 9, 20)).shape == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (2,)}, r"not inputs of shape \(2,\); use model=softmax or model=mlp"),
        ({"head": "mean"}, "head=mean is unknown; choose one of global, max, flatten"),
        ({"blocks": "large"}, "blocks='large' must be a list of blocks"),
        ({"blocks": {"channels": 3}}, "must be a list of blocks"),
        ({"init": "kaiming"}, "init=kaiming is unknown"),
        ({"activation": "swish"}, "activation=swish is unknown"),
        ({"dropout": 2}, "probability"),
    ],
)
def test_refuses_wrong_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConvNet(**{"input_shape": (3, 8, 8), "num_classes": 2, "blocks": [GOOD], **arguments})


SAME = {"channels": 3, "padding": 1}


@pytest.mark.parametrize("layers", [nn, byhand_nn], ids=["torch", "byhand"])
def test_a_residual_block_adds_its_input(layers):
    """x + f(w * x + b), and ∂L/∂x has a path around the block: with w = 0 and b = 1 it is 1."""
    torch.manual_seed(0)
    block = Block(3, (8, 8), **SAME, residual=True, layers=layers)
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    expected = x + F.conv2d(x, block.conv.weight, block.conv.bias, padding=1).relu()
    torch.testing.assert_close(block(x), expected)
    nn.init.zeros_(block.conv.weight)
    block(x).sum().backward()
    assert (x.grad == 1).all()


def test_the_filters_of_a_frozen_block_do_not_train_and_its_bias_does():
    model = make([SAME | {"frozen": True}, SAME | {"frozen": True, "norm": "batch"}, SAME])
    fixed = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert fixed == {"blocks.0.conv.weight", "blocks.1.conv.weight"}
    model(torch.randn(2, 3, 16, 16)).sum().backward()
    assert all((p.grad is None) == (name in fixed) for name, p in model.named_parameters())


def test_settings_of_a_norm_replace_its_name():
    norm = make([SAME | {"norm": {"scale": False, "momentum": 0.4}}]).blocks[0].norm
    assert (norm.momentum, norm.weight.requires_grad) == (0.4, False)
    assert make([SAME | {"norm": {"kind": "none"}}]).blocks[0].conv.bias is not None


def test_a_block_may_choose_its_own_init():
    first, second = make([SAME | {"init": "dirac"}, SAME], init="small").blocks
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(first.conv(x), x)
    assert second.conv.weight.std() < 0.01


@pytest.mark.parametrize(
    ("settings", "std"),
    [
        ({"init": "dirac"}, 0.1),  # he: 1/√100
        ({"init": "orthogonal"}, 200**-0.5),
        ({"init": "dirac", "head_init": "small"}, 0.001),
        ({"init": "small", "head_init": "he"}, 0.1),
        ({"init": "small"}, 0.001),
    ],
    ids=str,
)
def test_the_head_takes_the_models_init_or_he_or_its_own(settings, std):
    torch.manual_seed(0)
    model = ConvNet((3, 8, 8), 200, [{"channels": 100}], **settings)
    assert model.scores.weight.std().item() == pytest.approx(std, rel=0.02)


def test_a_head_of_maxima_without_bias():
    model = make(BLOCKS[:1], head="max", head_bias=False).eval()
    x = torch.randn(2, 3, 16, 16)
    expected = model.blocks(x).amax((2, 3)) @ model.scores.weight.T
    torch.testing.assert_close(model(x), expected)
    assert model.scores.bias is None


WHITE = {"channels": 12, "kernel_size": 2, "init": "whiten", "frozen": True}


@pytest.mark.parametrize("layers", [nn, byhand_nn], ids=["torch", "byhand"])
def test_fit_whitens_the_first_block(layers):
    images, draws = torch.randn(30, 3, 16, 16), torch.random.get_rng_state()
    model, again = (make([WHITE, SAME], layers=layers) for _ in range(2))
    torch.random.set_rng_state(draws)
    model.fit(images.split(4))
    assert torch.equal(torch.random.get_rng_state(), draws)
    again.fit(images.split(4))
    filters = model.blocks[0].conv.weight
    assert torch.equal(filters, again.blocks[0].conv.weight)
    assert not filters.requires_grad
    variances = model.blocks[0].conv(images).var((0, 2, 3))
    torch.testing.assert_close(variances, torch.ones(12), rtol=0, atol=2e-3)


def test_fit_changes_nothing_and_reads_no_image_without_a_block_that_whitens():
    model = make(BLOCKS)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    batches = iter([torch.randn(2, 3, 16, 16)])
    model.fit(batches)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert len(list(batches)) == 1


@pytest.mark.parametrize(
    ("blocks", "settings", "message"),
    [
        ([SAME, WHITE], {}, r"blocks\[1\]: init=whiten is for blocks\[0\] alone; use dirac or he"),
        ([SAME, SAME], {"init": "whiten"}, r"blocks\[1\]: init=whiten is for blocks\[0\] alone"),
        ([WHITE | {"channels": 25}], {}, r"blocks\[0\]: .*not channels=25; use channels ≤ 24"),
        ([SAME], {"head_init": "whiten"}, "head_init: init=whiten sets filters of a convolution"),
        ([SAME], {"head_init": "dirac"}, "head_init: init=dirac sets filters of a convolution"),
        ([SAME], {"head_init": "none"}, "head_init: init=none is unknown"),
        ([SAME | {"frozen": "no"}], {}, r"blocks\[0\]: frozen='no' must be true or false"),
        ([SAME | {"residual": 1}], {}, r"blocks\[0\]: residual=1 must be true or false"),
        ([{"channels": 3, "residual": True}], {}, r"\(3, 16, 16\) to .* not \(3, 14, 14\)"),
        ([SAME, SAME | {"channels": 4, "residual": True}], {}, r"blocks\[1\]: residual adds"),
        ([SAME | {"norm": {"momentum": 2}}], {}, r"blocks\[0\]: norm: momentum=2 must be"),
    ],
)
def test_choices_that_do_not_fit_are_refused_by_name(blocks, settings, message):
    with pytest.raises(ValueError, match=message):
        make(blocks, **settings)
