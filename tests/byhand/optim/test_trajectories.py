"""SGD, Adam and AdamW take the same steps as their namesakes in torch, also across checkpoints."""

import copy
import pickle
from functools import cache

import pytest
import torch
from optimizing import (
    BATCHES,
    NAMES,
    STEPS,
    assert_near,
    batches,
    grid,
    make,
    network,
    saved,
    title,
    train,
    trained,
    weights,
)
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from lecture4.byhand import optim

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
    decoupled_weight_decay=[False, True],
) + grid(lr=[2e-3], weight_decay=[1e-2], amsgrad=[False, True], betas=[(0.0, 0.99), (0.8, 0.9)])

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


@cache
def reference(index):
    name, options = RESUMED[index]
    return weights(trained(name, "loop", options)[0])


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
def test_a_checkpoint_resumes_in_the_other_implementation(makers, index):
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
def test_without_its_state_a_checkpoint_would_not_resume(name):
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
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))]
)
def test_a_copy_continues_alike(name, duplicate):
    options = {"lr": 1e-2} | ({"momentum": 0.9} if name == "SGD" else {"amsgrad": True})
    model, optimizer = trained(name, "ours", options, last=10)
    other, copied = duplicate((model, optimizer))
    assert type(copied) is type(optimizer)
    train(model, optimizer, 10, 20)
    train(other, copied, 10, 20)
    twin, _ = trained(name, "loop", options, last=20)
    assert_near(weights(model), weights(twin))
    assert_near(weights(other), weights(twin))
