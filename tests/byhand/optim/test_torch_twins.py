"""SGD, Adam and AdamW have the constructors, settings and state of their namesakes in torch."""

import inspect
import itertools

import pytest
import torch
from optimizing import NAMES, assert_near, network, parameter, title, with_gradient

from lecture4.byhand import optim

RESUMED = [
    ("SGD", {"lr": 0.02}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "dampening": 0.3, "weight_decay": 1e-2}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 2e-3, "weight_decay": 1e-2}),
    ("Adam", {"lr": 2e-3, "amsgrad": True, "betas": (0.8, 0.9)}),
    ("AdamW", {"lr": 2e-3, "amsgrad": True, "weight_decay": 0.1}),
]


def layout(value):
    """Types in a state dict; for a tensor its dtype, shape and device."""
    if isinstance(value, torch.Tensor):
        return type(value), value.dtype, value.shape, value.device
    if isinstance(value, dict):
        return {key: layout(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [layout(v) for v in value]
    return type(value), value


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("index", range(len(RESUMED)))
def test_state_dict_has_torchs_layout(index, dtype):
    name, options = RESUMED[index]
    layouts = []
    for module in (optim, torch.optim):
        model = network().to(dtype)
        optimizer = getattr(module, name)(model.parameters(), **options)
        layouts.append([layout(optimizer.state_dict())])
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
        layouts[-1].append(layout(optimizer.state_dict()))
    assert layouts[0] == layouts[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_state_is_not_the_gradient_itself(name):
    w = with_gradient([1.0, -2.0], [3.0, 4.0])
    options = {"momentum": 0.9} if name == "SGD" else {}
    optimizer = getattr(optim, name)([w], **options)
    optimizer.step()
    before = {key: value.clone() for key, value in optimizer.state[w].items()}
    w.grad.zero_()
    assert before
    for key, value in optimizer.state[w].items():
        assert torch.equal(value, before[key])
        assert not value.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_zeroed_as_in_torch(name):
    w = with_gradient([1.0], [3.0])
    optimizer = getattr(optim, name)([w])
    optimizer.zero_grad(set_to_none=False)
    assert w.grad.tolist() == [0.0]
    optimizer.zero_grad()
    assert w.grad is None


@pytest.mark.parametrize("name", NAMES)
def test_hooks_are_called(name):
    w, calls = with_gradient([1.0], [3.0]), []
    optimizer = getattr(optim, name)([w])
    optimizer.register_step_pre_hook(lambda *_: calls.append(w.item()))
    optimizer.register_step_post_hook(lambda *_: calls.append(w.item()))
    optimizer.step()
    assert calls == [1.0, w.item()]
    assert w.item() != 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_may_be_a_number(name):
    found = []
    for module in (optim, torch.optim):
        w = with_gradient(2.0, 3.0)
        getattr(module, name)([w], lr=0.1).step()
        found.append(w.detach())
    assert found[0].shape == ()
    assert_near([found[0]], [found[1]])


@pytest.mark.parametrize("name", NAMES)
def test_named_parameters_keep_their_names(name):
    model = network()
    optimizer = getattr(optim, name)(model.named_parameters())
    names = [key for key, _ in model.named_parameters()]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == names


@pytest.mark.parametrize("name", NAMES)
def test_constructors_are_torchs(name):
    ours, theirs = (inspect.signature(getattr(m, name)).parameters for m in (optim, torch.optim))
    assert list(ours) == list(theirs)
    for ours_one, theirs_one in zip(ours.values(), theirs.values(), strict=True):
        assert ours_one.default == theirs_one.default
        assert ours_one.kind == theirs_one.kind
    assert issubclass(getattr(optim, name), getattr(torch.optim, name))
    steps = [
        inspect.signature(getattr(m, name)([parameter([0.0])]).step) for m in (optim, torch.optim)
    ]
    assert list(steps[0].parameters) == list(steps[1].parameters)


@pytest.mark.parametrize("name", NAMES)
def test_default_settings_are_torchs(name):
    ours, theirs = (getattr(m, name)([parameter([0.0])]) for m in (optim, torch.optim))
    assert ours.defaults == theirs.defaults
    assert ours.state_dict() == theirs.state_dict()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"lr": -1.0}),
        ("SGD", {"lr": torch.ones(2)}),
        ("SGD", {"momentum": -0.1}),
        ("SGD", {"weight_decay": -0.1}),
        ("SGD", {"nesterov": True}),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
        *(
            (name, options)
            for name in ("Adam", "AdamW")
            for options in (
                {"lr": -1.0},
                {"betas": (1.0, 0.999)},
                {"betas": (0.9, 1.0)},
                {"betas": (-0.1, 0.999)},
                {"eps": -1e-8},
                {"weight_decay": -0.1},
            )
        ),
    ],
    ids=title,
)
def test_invalid_settings_are_refused_as_in_torch(name, options):
    with pytest.raises(ValueError, match=".") as theirs:
        getattr(torch.optim, name)([parameter([0.0])], **options)
    with pytest.raises(ValueError, match=".") as ours:
        getattr(optim, name)([parameter([0.0])], **options)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        *itertools.product(NAMES, ["foreach", "fused", "differentiable"]),
        ("Adam", "capturable"),
        ("AdamW", "capturable"),
    ],
)
def test_other_implementations_are_refused_by_name(name, setting):
    with pytest.raises(ValueError, match=rf"^{name} by hand .*{setting}=True"):
        getattr(optim, name)([parameter([0.0])], **{setting: True})
    getattr(optim, name)([parameter([0.0])], **{setting: False})
