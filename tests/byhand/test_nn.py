import copy
import inspect

import pytest
import torch
from against_torch import assert_same, distinct, gradients, leaf, randint, randn
from torch import nn
from torch.autograd.function import BackwardCFunction

from lecture4.byhand import nn as layers
from lecture4.byhand.nn import with_layers
from lecture4.models import MLP, ConvNet, SoftmaxClassifier
from lecture4.models.activations import ACTIVATIONS

FAMILIES = {"torch": nn, "byhand": layers}
NAMES = [
    "Linear", "Flatten", "Conv2d", "MaxPool2d", "AvgPool2d", "BatchNorm1d", "BatchNorm2d",
    "Dropout", "ReLU", "LeakyReLU", "Sigmoid", "Tanh", "GELU", "SiLU", "Softmax", "LogSoftmax",
    "NLLLoss", "CrossEntropyLoss",
]  # fmt: skip
LOSSES = ("NLLLoss", "CrossEntropyLoss")
VECTORS, MAPS = randn(6, 5), randn(4, 3, 7, 8)
CASES = [
    ("Linear", {"in_features": 5, "out_features": 3}, VECTORS),
    ("Linear", {"in_features": 5, "out_features": 3, "bias": False}, randn(2, 4, 5)),
    ("Flatten", {}, MAPS),
    ("Flatten", {"start_dim": 0, "end_dim": 2}, MAPS),
    ("Flatten", {"start_dim": 2, "end_dim": -1}, MAPS),
    ("Conv2d", {"kernel_size": 3}, MAPS),
    ("Conv2d", {"kernel_size": 3, "bias": False}, MAPS),
    ("Conv2d", {"kernel_size": (2, 3), "stride": (2, 1), "padding": (0, 2)}, MAPS),
    ("Conv2d", {"kernel_size": (3, 2), "dilation": (1, 2), "padding": 1}, MAPS),
    ("Conv2d", {"kernel_size": 2, "stride": 3, "padding": 1, "dilation": 2}, MAPS),
    ("Conv2d", {"kernel_size": 3, "padding": "same"}, MAPS),
    ("Conv2d", {"kernel_size": (3, 5), "padding": "same", "dilation": (2, 1)}, MAPS),
    ("Conv2d", {"kernel_size": 3, "padding": "valid"}, MAPS),
    ("Conv2d", {"kernel_size": 3}, MAPS[0]),
    ("MaxPool2d", {"kernel_size": 2}, distinct(4, 3, 7, 8)),
    ("MaxPool2d", {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0)}, MAPS),
    ("MaxPool2d", {"kernel_size": 3, "stride": 2, "dilation": 2}, MAPS),
    ("MaxPool2d", {"kernel_size": 3, "stride": 2, "ceil_mode": True}, MAPS),
    ("AvgPool2d", {"kernel_size": 2}, MAPS),
    ("AvgPool2d", {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0)}, MAPS),
    ("AvgPool2d", {"kernel_size": 3, "padding": 1, "count_include_pad": False}, MAPS),
    ("AvgPool2d", {"kernel_size": 3, "stride": 2, "ceil_mode": True}, MAPS),
    ("AvgPool2d", {"kernel_size": 3, "divisor_override": 4}, MAPS),
    ("BatchNorm1d", {}, VECTORS[:, :3]),
    ("BatchNorm1d", {}, randn(4, 3, 6)),
    *(
        ("BatchNorm2d", options, MAPS)
        for options in (
            {},
            {"eps": 0.1},
            {"momentum": 0.3},
            {"momentum": 0.0},
            {"momentum": None},
            {"track_running_stats": False},
            {"track_running_stats": False, "momentum": None},
            {"affine": False},
            {"affine": False, "track_running_stats": False},
        )
    ),
    ("Dropout", {}, VECTORS),
    ("Dropout", {"p": 0.2}, MAPS),
    ("Dropout", {"p": 0.0}, VECTORS),
    ("Dropout", {"p": 1.0}, VECTORS),
    ("ReLU", {}, VECTORS),
    ("LeakyReLU", {}, VECTORS),
    ("LeakyReLU", {"negative_slope": 0.3}, VECTORS),
    ("Sigmoid", {}, VECTORS),
    ("Tanh", {}, VECTORS),
    ("GELU", {}, VECTORS),
    ("SiLU", {}, VECTORS),
    ("Softmax", {"dim": 1}, VECTORS),
    ("Softmax", {"dim": 0}, VECTORS),
    ("LogSoftmax", {"dim": 1}, VECTORS),
    ("LogSoftmax", {"dim": 0}, VECTORS),
]
CLASS_WEIGHTS = [0.5, 2.0, 1.0, 0.1, 3.0]
LOSS_OPTIONS = [
    {},
    {"weight": CLASS_WEIGHTS},
    {"ignore_index": 2},
    {"ignore_index": 2, "weight": CLASS_WEIGHTS, "reduction": "sum"},
    {"reduction": "none"},
    {"reduction": "sum"},
]
LOSS_CASES = [
    *((name, options) for name in LOSSES for options in LOSS_OPTIONS),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}),
    ("CrossEntropyLoss", {"label_smoothing": 0.3, "weight": CLASS_WEIGHTS, "ignore_index": 0}),
]
REFUSED = [
    ("Conv2d", {"padding": 1, "padding_mode": "reflect"}, "padding_mode='reflect'"),
    ("Conv2d", {"padding_mode": "circular"}, "padding_mode='circular'"),
    ("Conv2d", {"groups": 3}, "groups=3"),
    ("ReLU", {"inplace": True}, "inplace=True"),
    ("LeakyReLU", {"inplace": True}, "inplace=True"),
    ("SiLU", {"inplace": True}, "inplace=True"),
    ("Dropout", {"inplace": True}, "inplace=True"),
    ("MaxPool2d", {"kernel_size": 2, "return_indices": True}, "return_indices=True"),
    ("GELU", {"approximate": "tanh"}, "approximate='tanh'"),
]


def title(value):
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items() if k != "weight") or "default"
    return value if isinstance(value, str) else None


def build(module, name, options):
    """The layer of a family; a convolution or a norm of 3 channels."""
    first = {"Conv2d": (3, options.get("groups", 1) * 2), "BatchNorm1d": (3,), "BatchNorm2d": (3,)}
    if name == "Conv2d":
        options = {"kernel_size": 3} | options
    if "weight" in options:
        options = options | {"weight": torch.tensor(options["weight"], dtype=torch.float64)}
    torch.manual_seed(0)
    layer = getattr(module, name)(*first.get(name, ()), **options).double()
    for i, p in enumerate(layer.parameters()):
        p.data = randn(*p.shape, seed=i + 10)
    return layer


def twins(name, options):
    return build(layers, name, options), build(nn, name, options)


def passed(layer, *inputs):
    """Output, gradients of the input and each parameter, and buffers after the call."""
    x = leaf(inputs[0])
    torch.manual_seed(3)
    y = layer(x, *inputs[1:])
    return y, gradients(y, [x, *layer.parameters()]), dict(layer.named_buffers())


def assert_alike(ours, theirs, *inputs):
    (y, dy, buffers), (y_twin, dy_twin, buffers_twin) = (
        passed(ours, *inputs),
        passed(theirs, *inputs),
    )
    assert_same(y, y_twin)
    assert len(dy) == len(dy_twin) > 0
    for a, b in zip(dy, dy_twin, strict=True):
        assert_same(a, b)
    assert list(buffers) == list(buffers_twin)
    for key in buffers:
        assert_same(buffers[key], buffers_twin[key])


def test_these_are_the_layers():
    own = {
        name
        for name, kind in vars(layers).items()
        if inspect.isclass(kind) and issubclass(kind, nn.Module) and name[0] != "_"
    }
    assert own == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_is_a_subclass_of_torchs_with_its_constructor(name):
    ours, theirs = getattr(layers, name), getattr(nn, name)
    assert issubclass(ours, theirs)
    assert ours is not theirs
    assert ours.__init__ is theirs.__init__
    assert ours.forward is not theirs.forward


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "options", "x"), CASES, ids=title)
def test_outputs_gradients_and_buffers_are_torchs(name, options, x, training):
    ours, theirs = twins(name, options)
    ours.train(training)
    theirs.train(training)
    for scale in (1.0, 2.0, -4.0):  # three calls: the running statistics move on
        assert_alike(ours, theirs, scale * x + scale)


def test_every_layer_has_a_case():
    assert {name for name, _, _ in CASES} | set(LOSSES) == set(NAMES)


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"momentum": 0.3}], ids=title)
def test_statistics_gathered_in_training_are_used_in_evaluation(options):
    ours, theirs = twins("BatchNorm2d", options)
    for scale in (1.0, 2.0, -4.0):
        assert_alike(ours, theirs, scale * MAPS + scale)
    assert ours.num_batches_tracked.item() == 3
    assert not torch.equal(ours.running_mean, torch.zeros(3))
    before = ours.running_mean.clone()
    assert_alike(ours.eval(), theirs.eval(), MAPS)
    assert ours.num_batches_tracked.item() == 3
    assert torch.equal(ours.running_mean, before)


@pytest.mark.parametrize(("name", "x"), [("BatchNorm1d", MAPS), ("BatchNorm2d", VECTORS[:, :3])])
def test_batch_norm_refuses_other_dimensions_as_torch_does(name, x):
    for layer in twins(name, {}):
        with pytest.raises(ValueError, match="expected .* input"):
            layer(x)


@pytest.mark.parametrize(("name", "options"), LOSS_CASES, ids=title)
@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 2, 3)])
def test_losses_are_torchs(name, options, shape):
    scores, target = randn(*shape, seed=1), randint(5, shape[0], *shape[2:], seed=2)
    assert_alike(*twins(name, options), scores, target)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2, "weight": CLASS_WEIGHTS}])
def test_cross_entropy_takes_probabilities(options):
    target = randn(6, 5, seed=2).softmax(1)
    assert_alike(*twins("CrossEntropyLoss", options), randn(6, 5, seed=1), target)


@pytest.mark.parametrize(("name", "options", "named"), REFUSED, ids=title)
def test_what_is_not_supported_is_refused_by_name_when_called(name, options, named):
    layer = build(layers, name, options)
    with pytest.raises(ValueError, match=named):
        layer(MAPS)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Linear", {"in_features": 5, "out_features": 3}),
        ("Conv2d", {}),
        ("BatchNorm1d", {}),
        ("BatchNorm2d", {}),
        ("BatchNorm2d", {"affine": False}),
        ("CrossEntropyLoss", {"weight": CLASS_WEIGHTS}),
    ],
    ids=title,
)
def test_state_dicts_go_both_ways(name, options):
    for source, target in ((layers, nn), (nn, layers)):
        trained, fresh = build(source, name, options), build(target, name, options)
        for i, tensor in enumerate(trained.state_dict().values()):
            tensor.copy_(randn(*tensor.shape, seed=50 + i).abs() * 10)
        fresh.load_state_dict(trained.state_dict(), strict=True)
        assert list(fresh.state_dict()) == list(trained.state_dict())
        for key, value in trained.state_dict().items():
            assert torch.equal(fresh.state_dict()[key], value)
        assert trained.state_dict()


POOLED = {"channels": 4, "padding": 1, "norm": "batch", "pool": {"kernel_size": 3, "stride": 2}}
AVERAGED = {"channels": 4, "kernel_size": 2, "pool": {"kernel_size": 2, "kind": "avg"}}
IMAGES, LABELS = randn(6, 3, 8, 9), randint(4, 6)
MODELS = {
    "softmax": (SoftmaxClassifier, {}),
    **{f"mlp {name}": (MLP, {"hidden": [7, 6], "activation": name}) for name in ACTIVATIONS},
    "mlp dropout": (MLP, {"hidden": [7, 6], "dropout": 0.4}),
    "convnet max": (ConvNet, {"blocks": [POOLED]}),
    "convnet avg": (ConvNet, {"blocks": [AVERAGED], "head": "flatten"}),
    "convnet deep": (ConvNet, {"blocks": [POOLED, AVERAGED], "dropout": 0.3}),
    "convnet wide": (ConvNet, {"blocks": [POOLED, AVERAGED], "dropout": 0.3, "head": "flatten"}),
    "convnet maxima": (ConvNet, {"blocks": [POOLED], "head": "max", "activation": "silu"}),
    "convnet plain": (
        ConvNet,
        {
            "blocks": [
                {"channels": 4, "kernel_size": [3, 2], "stride": [2, 1], "padding": [0, 1]},
                {"channels": 5, "norm": "batch", "activation": "gelu"},
            ],
            "activation": "tanh",
        },
    ),
}


def make(name, of, dtype=torch.float64):
    kind, options = MODELS[name]
    torch.manual_seed(0)
    model = kind(
        input_shape=(3, 8, 9), num_classes=4, layers=FAMILIES[of], init="pytorch", **options
    )
    return model.to(dtype)


def pair(name, dtype=torch.float64):
    """Both families, the same weights, drawn at random."""
    ours, theirs = make(name, "byhand", dtype), make(name, "torch", dtype)
    for i, p in enumerate(theirs.parameters()):
        p.data = p.data + 0.1 * randn(*p.shape, seed=i).to(dtype)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def loss_and_gradients(model, of, dtype=torch.float64):
    model.zero_grad()
    torch.manual_seed(5)
    scores = model(IMAGES.to(dtype))
    loss = FAMILIES[of].CrossEntropyLoss()(scores, LABELS)
    loss.backward()
    return scores, loss, {key: p.grad for key, p in model.named_parameters()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_models_of_both_families_agree(name, training):
    ours, theirs = pair(name)
    ours.train(training)
    theirs.train(training)
    for _ in range(2):
        scores, loss, d = loss_and_gradients(ours, "byhand")
        scores_twin, loss_twin, d_twin = loss_and_gradients(theirs, "torch")
        assert_same(scores, scores_twin)
        assert_same(loss, loss_twin)
        assert list(d) == list(d_twin)
        for key in d:
            assert_same(d[key], d_twin[key])
            assert d[key].abs().max() > 0
    buffers, buffers_twin = dict(ours.named_buffers()), dict(theirs.named_buffers())
    assert list(buffers) == list(buffers_twin)
    for key in buffers:
        assert_same(buffers[key], buffers_twin[key])


def nodes(loss):
    found, todo = set(), [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.add(node)
            todo += [after for after, _ in node.next_functions]
    return found


def foreign(loss):
    """Names of the nodes that are neither written here, nor leaves."""
    return {
        node.name()
        for node in nodes(loss)
        if not isinstance(node, BackwardCFunction) and "AccumulateGrad" not in node.name()
    }


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_the_graph_of_a_model_by_hand_has_no_other_node(name, training):
    ours, theirs = pair(name)
    _, loss, _ = loss_and_gradients(ours.train(training), "byhand")
    assert foreign(loss) == set()
    names = {node.name() for node in nodes(loss)}
    assert {"_LinearBackward", "_CrossEntropyBackward", "_SumBackward"} <= names
    leaves = [node.variable for node in nodes(loss) if "AccumulateGrad" in node.name()]
    assert {id(p) for p in leaves} == {id(p) for p in ours.parameters()}
    _, loss, _ = loss_and_gradients(theirs.train(training), "torch")
    assert not any(isinstance(node, BackwardCFunction) for node in nodes(loss))
    assert foreign(loss)


def test_nodes_are_in_the_graph_for_the_layers_that_made_them():
    _, loss, _ = loss_and_gradients(make("convnet wide", "byhand"), "byhand")
    names = {node.name() for node in nodes(loss)}
    assert names - {name for name in names if "AccumulateGrad" in name} == {
        f"_{name}Backward"
        for name in (
            "Conv2d", "MaxPool2d", "BatchNorm", "ReLU", "AvgPool2d", "Flatten", "Dropout",
            "Linear", "CrossEntropy", "Sum",
        )
    }  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_under_autocast_the_families_nearly_agree(name):
    ours, theirs = pair(name, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        scores, loss, d = loss_and_gradients(ours, "byhand", torch.float32)
        scores_twin, loss_twin, d_twin = loss_and_gradients(theirs, "torch", torch.float32)
    assert scores.dtype == scores_twin.dtype == torch.bfloat16
    assert loss.dtype == loss_twin.dtype == torch.float32
    torch.testing.assert_close(scores, scores_twin, rtol=0.05, atol=0.05)
    torch.testing.assert_close(loss, loss_twin, rtol=0.05, atol=0.05)
    for key in d:
        assert d[key].dtype == d_twin[key].dtype == torch.float32
        difference = (d[key] - d_twin[key]).norm()
        assert difference <= 0.05 * d_twin[key].norm()


def kinds(model):
    return [type(module) for module in model.modules()]


def in_family(model, module):
    """Whether every layer of a family is of this one."""
    both = {getattr(of, name) for of in (layers, nn) for name in NAMES}
    return all(kind.__module__.startswith(module.__name__) for kind in {*kinds(model)} & both)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("of", "to"), [("torch", "byhand"), ("byhand", "torch")])
def test_a_model_changes_its_layers_and_nothing_else(name, of, to):
    model = make(name, of)
    loss_and_gradients(model, of)  # moves the running statistics
    state, types = copy.deepcopy(model.state_dict()), kinds(model)
    twin = with_layers(model, FAMILIES[to])
    assert in_family(model, FAMILIES[of])
    assert in_family(twin, FAMILIES[to])
    assert not in_family(twin, FAMILIES[of])
    assert kinds(model) == types
    assert list(twin.state_dict()) == list(state)
    for key, value in state.items():
        assert torch.equal(twin.state_dict()[key], value)
    assert kinds(with_layers(twin, FAMILIES[of])) == types
    assert_same(*(loss_and_gradients(m, own)[0] for m, own in ((twin, to), (model, of))))
    for tensor in twin.state_dict().values():
        tensor.zero_()
    assert any(v.abs().max() > 0 for v in model.state_dict().values())
    for key in ("scores.weight", "scores.bias"):
        assert torch.equal(model.state_dict()[key], state[key])


@pytest.mark.parametrize("of", ["torch", "byhand"])
def test_the_family_that_a_model_has_already_is_a_copy(of):
    model = make("convnet deep", of)
    twin = with_layers(model, FAMILIES[of])
    assert kinds(twin) == kinds(model)
    assert twin is not model
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in model.parameters()}


def test_a_model_of_both_families_becomes_one_of_either():
    model = nn.Sequential(nn.Linear(3, 4), layers.ReLU(), layers.Linear(4, 4), nn.Tanh())
    assert in_family(with_layers(model, layers), layers)
    assert in_family(with_layers(model, nn), nn)


class Own(nn.Linear):
    pass


def test_modules_that_a_family_does_not_have_stay():
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Softplus(), Own(3, 3), nn.ReLU())
    own = [layers.Linear, nn.LayerNorm, nn.Softplus, Own, layers.ReLU]
    assert kinds(with_layers(model, layers))[1:] == own
    assert kinds(with_layers(with_layers(model, layers), nn)) == kinds(model)


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_is_exchanged_with_its_settings(name):
    options = next((options for n, options, _ in reversed(CASES) if n == name), {})
    ours, theirs = twins(name, options)
    assert type(with_layers(theirs, layers)) is type(ours)
    assert type(with_layers(ours, nn)) is type(theirs)
    assert repr(with_layers(theirs, layers)) == repr(theirs) == repr(ours)


def test_flags_stay_with_each_module_and_parameter():
    model = make("convnet deep", "torch").train()
    model.blocks[0].norm.eval()
    model.scores.bias.requires_grad_(False)
    twin = with_layers(model, layers)
    assert [m.training for m in twin.modules()] == [m.training for m in model.modules()]
    assert [p.requires_grad for p in twin.parameters()] == [
        p.requires_grad for p in model.parameters()
    ]
    assert not any(m.training for m in with_layers(model.eval(), layers).modules())


def test_shared_weights_stay_shared():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    twin = with_layers(model, layers)
    assert twin[1].weight is twin[0].weight
    assert twin[1].weight is not model[0].weight
