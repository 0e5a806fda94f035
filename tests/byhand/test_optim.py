import copy
import inspect
import io
import itertools
import math
import pickle
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from lecture4.byhand import optim
from lecture4.models import ConvNet

STEPS = 200
BATCHES = 4
NAMES = ["SGD", "Adam", "AdamW"]
SEARCHES = [optim.RandomSearch, optim.RandomLocalSearch]
BLOCKS = [
    {"channels": 3, "padding": 1, "norm": "batch", "pool": {"kernel_size": 2}},
    {"channels": 2, "kernel_size": 2},
]


def grid(**values):
    return [
        dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())
    ]


SGD_GRID = [
    options
    for options in grid(
        lr=[0.02],
        momentum=[0, 0.9],
        dampening=[0, 0.3],
        nesterov=[False, True],
        weight_decay=[0, 1e-2],
        maximize=[False, True],
    )
    if not options["nesterov"] or (options["momentum"] and not options["dampening"])
]
ADAM_GRID = grid(
    lr=[2e-3],
    weight_decay=[0, 1e-2],
    amsgrad=[False, True],
    maximize=[False, True],
    betas=[(0.9, 0.999), (0.0, 0.99), (0.8, 0.9)],
    decoupled_weight_decay=[False, True],
)
ADAMW_GRID = grid(lr=[2e-3], weight_decay=[0, 1e-2], amsgrad=[False, True], maximize=[False, True])
TRAJECTORIES = [
    *(("SGD", options) for options in SGD_GRID),
    *(("Adam", options) for options in ADAM_GRID),
    *(("AdamW", options) for options in ADAMW_GRID),
    ("AdamW", {}),
    ("Adam", {}),
    ("SGD", {}),
    ("Adam", {"lr": 2e-3, "eps": 0.1}),
    ("AdamW", {"lr": 2e-3, "eps": 0.1, "betas": (0.5, 0.7)}),
]
RESUMED = [
    ("SGD", {"lr": 0.02}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "dampening": 0.3, "weight_decay": 1e-2}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 2e-3, "weight_decay": 1e-2}),
    ("Adam", {"lr": 2e-3, "amsgrad": True, "betas": (0.8, 0.9)}),
    ("AdamW", {"lr": 2e-3, "amsgrad": True, "weight_decay": 0.1}),
]


def title(value):
    return value if isinstance(value, str) else ",".join(f"{k}={v}" for k, v in value.items())


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ConvNet((2, 5, 5), 3, BLOCKS, activation="tanh").double()


@cache
def batches():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(BATCHES, 6, 2, 5, 5, generator=generator, dtype=torch.float64)
    return list(zip(inputs, torch.randint(3, (BATCHES, 6), generator=generator), strict=True))


def backward(model, step):
    inputs, labels = batches()[step % BATCHES]
    model.zero_grad()
    loss = cross_entropy(model(inputs), labels)
    loss.backward()
    return loss


def train(model, optimizer, first=0, last=STEPS):
    for step in range(first, last):
        backward(model, step)
        optimizer.step()


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


def make(name, maker, parameters, options):
    """An optimizer: ours, or torch's of one of its three implementations."""
    if maker == "ours":
        return getattr(optim, name)(parameters, **options)
    kind = {"foreach": maker == "foreach", "fused": maker == "fused"}
    return getattr(torch.optim, name)(parameters, **options, **kind)


def trained(name, maker, options, last=STEPS):
    model = network()
    optimizer = make(name, maker, model.parameters(), options)
    train(model, optimizer, last=last)
    return model, optimizer


@cache
def reference(index):
    name, options = RESUMED[index]
    return weights(trained(name, "loop", options)[0])


def assert_near(ours, theirs, tolerance=1e-12):
    """max|a − b| ≤ tolerance · max|b| for each pair."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype == torch.float64
        assert (a - b).abs().max().item() <= tolerance * b.abs().max().item()


def saved(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def parameter(values):
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def with_gradient(values, gradient):
    w = parameter(values)
    w.grad = torch.tensor(gradient, dtype=torch.float64)
    return w


def near(values):
    return pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize(("name", "options"), TRAJECTORIES, ids=title)
def test_weights_after_200_steps_are_torchs(name, options):
    model, optimizer = trained(name, "ours", options)
    twin, torchs = trained(name, "loop", options)
    assert_near(weights(model), weights(twin))
    assert all(
        (a - b).abs().max() > 1e-3 for a, b in zip(weights(model), weights(network()), strict=True)
    )
    for ours, theirs in zip(optimizer.state.values(), torchs.state.values(), strict=True):
        assert ours.keys() == theirs.keys()
        for key in ours.keys() - {"step"}:
            assert_near([ours[key]], [theirs[key]], 1e-11)
        assert ours.get("step", torch.tensor(0)) == theirs.get("step", torch.tensor(0))


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_float32_stay_float32_and_near_torchs(name):
    options = {"lr": 1e-2, "weight_decay": 1e-2}
    found = []
    for maker in ("ours", "loop"):
        model = network().float()
        optimizer = make(name, maker, model.parameters(), options)
        for step in range(20):
            inputs, labels = batches()[step % BATCHES]
            model.zero_grad()
            cross_entropy(model(inputs.float()), labels).backward()
            optimizer.step()
        found.append(model)
    for a, b in zip(*(model.parameters() for model in found), strict=True):
        assert a.dtype == torch.float32
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def layout(value):
    """Type, and of a tensor dtype and shape, of whatever a state dict holds."""
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


@pytest.mark.parametrize("index", range(len(RESUMED)), ids=[title(o) for _, o in RESUMED])
@pytest.mark.parametrize(
    "makers",
    [
        ("ours", "ours"),
        ("ours", "loop"),
        ("ours", "foreach"),
        ("ours", "fused"),
        ("loop", "ours"),
        ("foreach", "ours"),
        ("fused", "ours"),
        ("fused", "ours", "fused"),
    ],
    ids="->".join,
)
def test_a_checkpoint_goes_on_in_the_other_implementation(makers, index):
    name, options = RESUMED[index]
    leg = STEPS // len(makers)
    model = network()
    optimizer = make(name, makers[0], model.parameters(), options)
    train(model, optimizer, last=leg)
    for i, maker in enumerate(makers[1:], start=1):
        state = saved({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
        model = network()
        model.load_state_dict(state["model"])
        optimizer = make(name, maker, model.parameters(), {"lr": 1.0})
        optimizer.load_state_dict(state["optimizer"])
        if maker != "ours":  # a checkpoint brings the implementation it was written with
            for group in optimizer.param_groups:
                group |= {"foreach": maker == "foreach", "fused": maker == "fused"}
        train(model, optimizer, i * leg, STEPS if i == len(makers) - 1 else (i + 1) * leg)
    assert_near(weights(model), reference(index))


@pytest.mark.parametrize("name", NAMES)
def test_without_its_state_a_checkpoint_would_not_go_on(name):
    options = {"lr": 1e-2} | ({"momentum": 0.9} if name == "SGD" else {})
    model, _ = trained(name, "ours", options, last=10)
    train(model, getattr(optim, name)(model.parameters(), **options), 10, 20)
    twin, _ = trained(name, "loop", options, last=20)
    assert (model.scores.weight - twin.scores.weight).abs().max() > 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_groups_have_their_own_settings(name):
    found = []
    for maker in ("ours", "loop"):
        model = network()
        groups = [
            {"params": [p for p in model.parameters() if p.ndim > 1]},
            {
                "params": [p for p in model.parameters() if p.ndim == 1],
                "weight_decay": 0.0,
                "lr": 1e-3,
            },
        ]
        optimizer = make(name, maker, groups, {"lr": 1e-2, "weight_decay": 0.1})
        train(model, optimizer, last=50)
        found.append(weights(model))
    assert_near(*found)
    alike, _ = trained(name, "loop", {"lr": 1e-2, "weight_decay": 0.1}, last=50)
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(weights(alike), found[0], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_group_added_later_is_trained(name):
    found = []
    for maker in ("ours", "loop"):
        model = network()
        optimizer = make(name, maker, model.blocks.parameters(), {"lr": 1e-2})
        train(model, optimizer, last=5)
        assert torch.equal(model.scores.weight, network().scores.weight)
        optimizer.add_param_group({"params": model.scores.parameters(), "lr": 1e-3})
        train(model, optimizer, 5, 20)
        assert not torch.equal(model.scores.weight, network().scores.weight)
        found.append(weights(model))
    assert_near(*found)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tensor", [False, True])
def test_the_learning_rate_may_be_scheduled(name, tensor):
    found = []
    for maker in ("ours", "loop"):
        model = network()
        lr = torch.tensor(1e-2, dtype=torch.float64) if tensor else 1e-2
        optimizer = make(name, maker, model.parameters(), {"lr": lr})
        schedule = LambdaLR(optimizer, lambda step: 1 / (1 + step))
        for step in range(20):
            train(model, optimizer, step, step + 1)
            schedule.step()
        found.append(weights(model))
    assert_near(*found)
    constant, _ = trained(name, "loop", {"lr": 1e-2}, last=20)
    assert (constant.scores.weight - found[0][-2]).abs().max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (1,)])
def test_the_learning_rate_may_be_a_tensor(name, shape):
    lr = torch.full(shape, 1e-2, dtype=torch.float64)
    model, _ = trained(name, "ours", {"lr": lr, "weight_decay": 0.1}, last=20)
    twin, _ = trained(name, "loop", {"lr": 1e-2, "weight_decay": 0.1}, last=20)
    assert_near(weights(model), weights(twin))
    assert torch.equal(lr, torch.full(shape, 1e-2, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_the_closure_is_evaluated_once_with_gradients_before_the_step(name):
    model, before, calls = network(), weights(network()), []
    optimizer = getattr(optim, name)(model.parameters(), lr=1e-2)

    def closure():
        calls.append(torch.is_grad_enabled())
        assert all(torch.equal(a, b) for a, b in zip(weights(model), before, strict=True))
        return backward(model, 0)

    with torch.no_grad():
        loss = optimizer.step(closure)
    assert calls == [True]
    assert torch.equal(loss, backward(network(), 0))
    twin, _ = trained(name, "loop", {"lr": 1e-2}, last=1)
    assert_near(weights(model), weights(twin))
    assert optimizer.step() is None


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_without_gradient_is_left_out(name):
    w, other = with_gradient([1.0, 2.0], [3.0, 4.0]), parameter([5.0, 6.0])
    options = {"lr": 0.1, "weight_decay": 0.1} | ({"momentum": 0.9} if name == "SGD" else {})
    optimizer = getattr(optim, name)([other, w], **options)
    optimizer.step()
    assert other.tolist() == [5.0, 6.0]
    assert other not in optimizer.state
    assert list(optimizer.state) == [w]
    assert w.tolist() != [1.0, 2.0]


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_changes_weights_in_place_and_leaves_gradients(name, maximize):
    w = with_gradient([1.0, -2.0], [3.0, 4.0])
    pointer, gradient = w.data_ptr(), w.grad
    options = {"lr": 0.1, "weight_decay": 0.1, "maximize": maximize}
    options |= {"momentum": 0.9, "nesterov": True} if name == "SGD" else {"amsgrad": True}
    optimizer = getattr(optim, name)([w], **options)
    for _ in range(3):
        before = w.tolist()
        optimizer.step()
        assert w.tolist() != before
        assert w.grad is gradient
        assert gradient.tolist() == [3.0, 4.0]
    assert w.data_ptr() == pointer
    assert w.requires_grad
    assert w.is_leaf


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
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))]
)
def test_a_copy_goes_on_alike(name, duplicate):
    options = {"lr": 1e-2} | ({"momentum": 0.9} if name == "SGD" else {"amsgrad": True})
    model, optimizer = trained(name, "ours", options, last=10)
    other, copied = duplicate((model, optimizer))
    assert type(copied) is type(optimizer)
    train(model, optimizer, 10, 20)
    train(other, copied, 10, 20)
    twin, _ = trained(name, "loop", options, last=20)
    assert_near(weights(model), weights(twin))
    assert_near(weights(other), weights(twin))


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


def test_two_steps_with_momentum():
    """w = (1, −2),  η = 0.1,  μ = 0.5,  λ = 0.1.

    step 1, ∂L/∂w = (4, 1)
        g = (4 + 0.1, 1 − 0.2) = (4.1, 0.8)
        v = g
        w = (1 − 0.41, −2 − 0.08) = (0.59, −2.08)
    step 2, ∂L/∂w = (2, 3)
        g = (2 + 0.059, 3 − 0.208) = (2.059, 2.792)
        v = (2.05 + 2.059, 0.4 + 2.792) = (4.109, 3.192)
        w = (0.59 − 0.4109, −2.08 − 0.3192) = (0.1791, −2.3992)
    """
    w = with_gradient([1.0, -2.0], [4.0, 1.0])
    optimizer = optim.SGD([w], lr=0.1, momentum=0.5, weight_decay=0.1)
    optimizer.step()
    assert w.tolist() == near([0.59, -2.08])
    w.grad = torch.tensor([2.0, 3.0], dtype=torch.float64)
    optimizer.step()
    assert optimizer.state[w]["momentum_buffer"].tolist() == near([4.109, 3.192])
    assert w.tolist() == near([0.1791, -2.3992])


def test_two_steps_with_dampened_momentum():
    """w = 0,  η = 1,  μ = 0.5,  τ = 0.25,  g = 4 twice: v = 4, then 0.5 · 4 + 0.75 · 4 = 5."""
    w = with_gradient(0.0, 4.0)
    optimizer = optim.SGD([w], lr=1.0, momentum=0.5, dampening=0.25)
    optimizer.step()
    assert w.item() == near(-4.0)
    optimizer.step()
    assert w.item() == near(-9.0)


def test_two_steps_that_look_ahead():
    """w = 0,  η = 0.1,  μ = 0.5,  g = 4, then 2.

    step 1:  v = 4,              w = −0.1 · (4 + 0.5 · 4) = −0.6
    step 2:  v = 0.5 · 4 + 2 = 4,  w = −0.6 − 0.1 · (2 + 0.5 · 4) = −1
    """
    w = with_gradient(0.0, 4.0)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.5, nesterov=True)
    optimizer.step()
    assert w.item() == near(-0.6)
    w.grad.fill_(2.0)
    optimizer.step()
    assert w.item() == near(-1.0)


def test_the_first_step_of_adam_is_the_sign():
    """m̂ = (1 − β₁) g / (1 − β₁) = g,  v̂ = g²:  w ← w − η g / (|g| + ε) → w − η sign(g)."""
    w = with_gradient([1.0, 1.0, 1.0], [1e-6, -5.0, 1e6])
    optim.Adam([w], lr=0.25, eps=0.0).step()
    assert w.tolist() == near([0.75, 1.25, 0.75])


def test_two_steps_of_adam():
    """w = 0,  η = 1,  β₁ = 0.5,  β₂ = 0.75,  ε = 1,  g = 2, then −2.

    step 1:  m = 0.5 · 2 = 1,            m̂ = 1 / (1 − 0.5) = 2
             v = 0.25 · 4 = 1,           v̂ = 1 / (1 − 0.75) = 4
             w = −2 / (√4 + 1) = −2/3
    step 2:  m = 0.5 · 1 − 0.5 · 2 = −1/2,     m̂ = −1/2 / (1 − 0.25) = −2/3
             v = 0.75 · 1 + 0.25 · 4 = 7/4,    v̂ = 7/4 / (1 − 9/16) = 4
             w = −2/3 + 2/3 / (√4 + 1) = −4/9
    """
    w = with_gradient(0.0, 2.0)
    optimizer = optim.Adam([w], lr=1.0, betas=(0.5, 0.75), eps=1.0)
    optimizer.step()
    assert w.item() == near(-2 / 3)
    w.grad.neg_()
    optimizer.step()
    assert w.item() == near(-4 / 9)
    assert optimizer.state[w]["exp_avg"].item() == near(-1 / 2)
    assert optimizer.state[w]["exp_avg_sq"].item() == near(7 / 4)


def test_amsgrad_divides_by_the_largest_mean_square():
    """η = 1,  β₁ = 0,  β₂ = 0.5,  ε = 0,  g = 4, then 1.

    step 1:  v = 8,                      v̂ = 8 / 0.5 = 16,      w = −4/4 = −1
    step 2:  v = 4 + 0.5 = 4.5 < 8,      v̂ = 8 / 0.75 = 32/3,   w = −1 − 1/√(32/3)
    """
    w = with_gradient(0.0, 4.0)
    optimizer = optim.Adam([w], lr=1.0, betas=(0.0, 0.5), eps=0.0, amsgrad=True)
    optimizer.step()
    assert w.item() == near(-1.0)
    w.grad.fill_(1.0)
    optimizer.step()
    assert w.item() == near(-1 - 1 / math.sqrt(32 / 3))
    assert optimizer.state[w]["exp_avg_sq"].item() == near(4.5)
    assert optimizer.state[w]["max_exp_avg_sq"].item() == near(8.0)


def test_decoupled_decay_does_not_enter_the_means():
    """w = 2,  η = 0.1,  λ = 0.5,  g = 3,  ε = 0:  w ← 2 − 0.1 · 0.5 · 2 − 0.1 · 1 = 1.8."""
    for kind, options in ((optim.AdamW, {}), (optim.Adam, {"decoupled_weight_decay": True})):
        w = with_gradient(2.0, 3.0)
        optimizer = kind([w], lr=0.1, eps=0.0, weight_decay=0.5, **options)
        optimizer.step()
        assert w.item() == near(1.8)
        assert optimizer.state[w]["exp_avg"].item() == near(0.3)


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


@pytest.mark.parametrize("name", NAMES)
def test_what_no_gradient_is_written_for_is_refused(name):
    w = parameter([[1.0, 2.0], [3.0, 4.0]])
    w.grad = torch.ones(2, 2, dtype=torch.float64).to_sparse()
    with pytest.raises(ValueError, match="sparse"):
        getattr(optim, name)([w]).step()
    assert w.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    z = nn.Parameter(torch.ones(2, dtype=torch.complex128))
    z.grad = torch.ones_like(z)
    with pytest.raises(ValueError, match="complex"):
        getattr(optim, name)([z]).step()


class Scores:
    """A closure that returns given losses, and remembers the weights that it saw."""

    def __init__(self, parameters, losses):
        self.parameters, self.losses = parameters, iter(losses)
        self.seen, self.grad_enabled = [], []

    def __call__(self):
        self.seen.append([p.detach().clone() for p in self.parameters])
        self.grad_enabled.append(torch.is_grad_enabled())
        return torch.tensor(next(self.losses))


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_freezes_its_parameters(kind):
    model = network()
    search = kind(model.blocks.parameters(), lr=0.1)
    assert not any(p.requires_grad for p in model.blocks.parameters())
    assert all(p.requires_grad for p in model.scores.parameters())
    search.add_param_group({"params": model.scores.parameters()})
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_scores_what_it_kept_and_then_a_candidate(kind):
    torch.manual_seed(0)
    model = network()
    before = weights(model)
    closure = Scores(list(model.parameters()), [2.0, 1.0])
    loss = kind(model.parameters(), lr=0.1).step(closure)
    assert loss.item() == 2.0
    assert len(closure.seen) == 2
    assert same(closure.seen[0], before)
    assert not any(torch.equal(a, b) for a, b in zip(closure.seen[1], before, strict=True))
    assert closure.grad_enabled == [False, False]


@pytest.mark.parametrize("losses", [[2.0, 1.0], [math.nan, 1.0]], ids=str)
@pytest.mark.parametrize("kind", SEARCHES)
def test_a_better_candidate_is_kept(kind, losses):
    torch.manual_seed(0)
    model = network()
    pointers = [p.data_ptr() for p in model.parameters()]
    closure = Scores(list(model.parameters()), losses)
    kind(model.parameters(), lr=0.1).step(closure)
    assert same(weights(model), closure.seen[1])
    assert [p.data_ptr() for p in model.parameters()] == pointers


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize(
    "losses",
    [[1.0, 2.0], [1.0, 1.0], [1.0, math.nan], [1.0, math.inf], [math.nan, math.nan]],
    ids=str,
)
def test_any_other_candidate_is_undone_exactly(kind, losses):
    torch.manual_seed(0)
    model = network()
    before = weights(model)
    kind(model.parameters(), lr=0.1).step(closure := Scores(list(model.parameters()), losses))
    assert len(closure.seen) == 2
    assert not same(closure.seen[1], before)
    assert same(weights(model), before)


@pytest.mark.parametrize("kind", SEARCHES)
def test_losses_of_a_search_on_one_batch_never_increase(kind):
    torch.manual_seed(0)
    model = network().eval()
    inputs, labels = batches()[0]
    search = kind(model.parameters(), lr=0.3)
    losses = [search.step(lambda: cross_entropy(model(inputs), labels)).item() for _ in range(100)]
    assert all(after <= before for before, after in itertools.pairwise(losses))
    assert 2 < len(set(losses)) < 100
    last = cross_entropy(model(inputs), labels).item()
    assert last <= losses[-1] < losses[0]


def candidates(kind, w, lr, steps=1):
    search, closure = kind([w], lr=lr), Scores([w], itertools.cycle([1.0, 2.0]))
    for _ in range(steps):
        search.step(closure)
    return [seen[0] for seen in closure.seen[1::2]]


def assert_normal(draws, std):
    """Mean and spread within five standard errors; 68.3 % of the draws within one std, as N has."""
    n = draws.numel()
    assert draws.mean().abs() < 5 * std / math.sqrt(n)
    assert draws.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * n))
    assert (draws.abs() < std).double().mean().item() == pytest.approx(0.6827, abs=0.01)


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize("lr", [0.1, 3.0])
def test_random_search_draws_anew(lr, value):
    torch.manual_seed(0)
    w = nn.Parameter(torch.full((200, 500), value, dtype=torch.float64))
    first, second = candidates(optim.RandomSearch, w, lr, steps=2)
    assert_normal(first, lr)
    assert_normal(second, lr)
    assert (first * second).mean().abs() < 5 * lr**2 / math.sqrt(w.numel())


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize("lr", [0.1, 3.0])
def test_random_local_search_steps_away_from_what_it_kept(lr, value):
    torch.manual_seed(0)
    w = nn.Parameter(torch.full((200, 500), value, dtype=torch.float64))
    first, second = candidates(optim.RandomLocalSearch, w, lr, steps=2)
    assert_normal(first - value, lr)
    assert_normal(second - value, lr)
    assert ((first - value) * (second - value)).mean().abs() < 5 * lr**2 / math.sqrt(w.numel())


def test_random_local_search_goes_on_from_a_kept_candidate():
    torch.manual_seed(0)
    w = nn.Parameter(torch.zeros(100_000, dtype=torch.float64))
    search, closure = optim.RandomLocalSearch([w], lr=0.1), Scores([w], [4.0, 3.0, 3.0, 2.0])
    search.step(closure)
    search.step(closure)
    (kept,), (candidate,) = closure.seen[2:]
    assert_normal(candidate - kept, 0.1)
    assert_normal(candidate, 0.1 * math.sqrt(2))


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_is_determined_by_torchs_seed(kind):
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(torch.stack(candidates(kind, parameter([1.0, 2.0]), 0.1, steps=5)))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert len(found[0].unique(dim=0)) == 5


@pytest.mark.parametrize("kind", SEARCHES)
def test_all_groups_of_a_search_change_by_their_own_rate(kind):
    torch.manual_seed(0)
    first, second = (nn.Parameter(torch.zeros(100_000, dtype=torch.float64)) for _ in range(2))
    search = kind([{"params": [first]}, {"params": [second], "lr": 2.0}], lr=0.1)
    search.step(Scores([first, second], [2.0, 1.0]))
    assert_normal(first.detach(), 0.1)
    assert_normal(second.detach(), 2.0)
    assert (first * second).mean().abs() < 5 * 0.2 / math.sqrt(100_000)
    before = [first.clone(), second.clone()]
    search.step(Scores([first, second], [1.0, 2.0]))
    assert same([first, second], before)


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize("lr", [0, 0.0, -1.0, math.nan])
def test_a_search_needs_a_positive_rate(kind, lr):
    with pytest.raises(ValueError, match=rf"lr={lr} must be a number > 0"):
        kind([parameter([0.0])], lr=lr)


@pytest.mark.parametrize("kind", SEARCHES)
def test_the_rate_of_a_search_may_be_scheduled(kind):
    torch.manual_seed(0)
    w = nn.Parameter(torch.zeros(100_000, dtype=torch.float64))
    search, closure = kind([w], lr=0.4), Scores([w], itertools.cycle([1.0, 2.0]))
    schedule = LambdaLR(search, lambda step: 0.5**step)
    for step in range(3):
        search.step(closure)
        schedule.step()
        assert_normal(closure.seen[-1][0], 0.4 * 0.5**step)


@pytest.mark.parametrize("kind", SEARCHES)
def test_the_state_of_a_search_loads(kind):
    torch.manual_seed(0)
    w = nn.Parameter(torch.zeros(100_000, dtype=torch.float64))
    search = kind([w], lr=5.0)
    search.load_state_dict(saved(kind([parameter([0.0])], lr=0.1).state_dict()))
    assert search.param_groups[0]["lr"] == 0.1
    search.step(closure := Scores([w], [1.0, 2.0]))
    assert_normal(closure.seen[1][0], 0.1)


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_keeps_dtypes(kind):
    torch.manual_seed(0)
    single, double = nn.Parameter(torch.zeros(5)), parameter([0.0])
    kind([single, double], lr=0.1).step(Scores([single, double], [2.0, 1.0]))
    assert single.dtype == torch.float32
    assert double.dtype == torch.float64
    assert single.abs().min() > 0
