"""Mistakes that people make, planted on purpose: each is caught, by the checks that are named."""

from dataclasses import replace
from functools import partial
from importlib import import_module

import pytest
import torch
from running import SMALL, command, weights_of

from lecture4 import ops, optim, sanity
from lecture4.augment import NoAugment
from lecture4.classifier import PENALTIES, Classifier
from lecture4.data import shapes
from lecture4.data.module import DataModule
from lecture4.models import MLP, ConvNet, SoftmaxClassifier
from lecture4.ops import normalization, pooling
from lecture4.preprocess import ChannelStandardize
from lecture4.schedule import constant

LOSS, GRADIENT, LAYERS, OPTIMIZER, OVERFITS, PENALTY, MIX = (row[0] for row in sanity.CHECKS)
SHAPE = (3, 32, 32)
CONVNET = partial(
    ConvNet,
    SHAPE,
    10,
    [
        {"channels": 8, "norm": "batch", "pool": {"kernel_size": 3, "stride": 2}},
        {"channels": 8, "pool": {"kernel_size": 3, "stride": 2, "kind": "avg"}},
    ],
    dropout=0.5,
    layers="byhand",
)
SQUARE_MLP = partial(MLP, SHAPE, 10, [24, 24], layers="byhand")
ADAM = partial(optim.Adam, lr=1e-3)


@pytest.fixture(scope="module")
def dataset():
    return shapes(train_size=600, test_size=10, seed=0)


@pytest.fixture
def report(dataset):
    """Run the checks on a model: name -> Check."""

    def run(model=CONVNET, optimizer=ADAM, penalty="none", seed=0):
        torch.manual_seed(seed)
        data = DataModule(dataset, val_size=60, seed=seed)
        preprocess = ChannelStandardize(SHAPE).fit(data.train_inputs())
        classifier = Classifier(
            model(),
            preprocess,
            NoAugment(SHAPE),
            dataset.class_names,
            optimizer,
            constant,
            penalty,
            seed=seed,
        )
        return {check.name: check for check in sanity.run(classifier, data)[0]}

    return run


def failed(report):
    return {name for name, check in report.items() if check.passed is False}


MODELS = {
    "softmax": partial(SoftmaxClassifier, SHAPE, 10),
    "mlp": partial(MLP, SHAPE, 10, dropout=0.2),
    "sigmoid": partial(MLP, SHAPE, 10, activation="sigmoid", init="xavier"),
    "too small": partial(MLP, SHAPE, 10, [50], activation="tanh", init="small"),
    "convnet": CONVNET,
}


@pytest.mark.parametrize("layers", ["torch", "byhand"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_sound_model_passes(report, name, layers, seed):
    assert failed(report(partial(MODELS[name], layers=layers), seed=seed)) == set()


OPTIMIZERS = [
    partial(kind, **settings)
    for module in (optim, torch.optim)
    for kind, settings in (
        (module.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
        (module.SGD, {"lr": 1e-9}),
        (module.Adam, {"lr": 1e-3, "weight_decay": 1e-2}),
        (module.AdamW, {"lr": 1e-3}),
    )
] + [partial(torch.optim.AdamW, fused=True), partial(torch.optim.SGD, lr=0.1, fused=True)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_sound_optimizer_passes(report, optimizer):
    checks = report(MODELS["softmax"], optimizer)
    assert checks[OPTIMIZER].passed is True


def test_a_dozen_examples_are_enough(dataset):
    few = replace(
        dataset, train_inputs=dataset.train_inputs[:12], train_labels=dataset.train_labels[:12]
    )
    torch.manual_seed(0)
    data = DataModule(few, val_size=1)
    preprocess = ChannelStandardize(SHAPE).fit(data.train_inputs())
    classifier = Classifier(
        SQUARE_MLP(), preprocess, NoAugment(SHAPE), few.class_names, ADAM, constant
    )
    assert [check.passed for check in sanity.run(classifier, data)[0]] == [True] * 7


def test_an_optimizer_that_torch_does_not_have_is_skipped(report):
    checks = report(MODELS["softmax"], partial(optim.RandomSearch, lr=1e-3))
    assert checks[OPTIMIZER].passed is None
    assert failed(checks) == set()


# The mistakes: each changes what lecture4 computes, and names the checks that see it.


def flipped_kernel(patch):
    right = ops.conv2d
    patch.setattr(ops, "conv2d", lambda x, weight, *rest: right(x, weight.flip(2, 3), *rest))


def missing_bias(patch):
    right = ops.linear
    patch.setattr(ops, "linear", lambda x, weight, bias: right(x, weight))


def transposed_weight(patch):
    right = ops.linear

    def linear(x, weight, bias):
        return right(x, weight.T if weight.shape[0] == weight.shape[1] else weight, bias)

    patch.setattr(ops, "linear", linear)


def assignment_in_pooling(patch):
    def backward(ctx, dy):
        x, y = ctx.saved_tensors
        padded, dx = ctx.windows.padded(x), ctx.windows.zeros(dy)
        for _, _, pixels in ctx.windows.cells():
            dx[pixels] = dy * (padded[pixels] == y)  # = for +=
        return ctx.windows.cropped(dx), None

    patch.setattr(pooling._MaxPool2d, "backward", staticmethod(backward))


def softmax_over_the_wrong_axis(patch):
    def cross_entropy(scores, labels, *rest, **options):
        return -ops.log_softmax(scores, 0)[torch.arange(len(labels)), labels].mean()

    patch.setattr(ops, "cross_entropy", cross_entropy)


def gradient_not_divided_by_n(patch):
    def backward(ctx, dl):
        return dl.expand(ctx.shape), None

    patch.setattr(import_module("lecture4.ops.softmax")._Sum, "backward", staticmethod(backward))


def dropout_left_on(patch):
    right = ops.dropout
    patch.setattr(ops, "dropout", lambda x, p, training, inplace: right(x, p, True, inplace))


def batch_statistics_left_on(patch):
    right = ops.batch_norm
    patch.setattr(
        ops,
        "batch_norm",
        lambda x, mean, var, weight, bias, training, momentum, eps: right(
            x, mean, var, weight, bias, True, momentum, eps
        ),
    )


def fixed_statistics_in_the_backward(patch):
    right = normalization._BatchNorm.backward

    def backward(ctx, dy):
        ctx.training = False
        return right(ctx, dy)

    patch.setattr(normalization._BatchNorm, "backward", staticmethod(backward))


def adam_without_bias_correction(patch):
    def step(self):
        with torch.no_grad():
            for group in self.param_groups:
                beta1, beta2 = group["betas"]
                for w in group["params"]:
                    state = self.state[w]
                    m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * w.grad
                    v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * w.grad**2
                    w -= group["lr"] * m / (v.sqrt() + group["eps"])

    patch.setattr(optim.Adam, "step", step)


def penalty_rewarded(patch):
    patch.setitem(PENALTIES, "l2", lambda weights: -sum(w.square().sum() for w in weights))


def scores_that_ignore_the_input(patch):
    right = ops.flatten
    patch.setattr(ops, "flatten", lambda x, *dims: 0 * right(x, *dims))


def gradient_that_is_no_number(patch):
    right = import_module("lecture4.ops.linear")._Linear.backward

    def backward(ctx, ds):
        dx, dweight, dbias = right(ctx, ds)
        return dx, dweight, dbias * float("nan")

    patch.setattr(import_module("lecture4.ops.linear")._Linear, "backward", staticmethod(backward))


MISTAKES = {
    flipped_kernel: (CONVNET, {GRADIENT, LAYERS}),
    missing_bias: (SQUARE_MLP, {GRADIENT, LAYERS}),
    transposed_weight: (SQUARE_MLP, {GRADIENT, LAYERS}),
    assignment_in_pooling: (CONVNET, {GRADIENT, LAYERS}),
    softmax_over_the_wrong_axis: (SQUARE_MLP, {LOSS, GRADIENT, LAYERS}),
    gradient_not_divided_by_n: (SQUARE_MLP, {GRADIENT, LAYERS}),
    dropout_left_on: (CONVNET, {LAYERS, MIX}),
    batch_statistics_left_on: (CONVNET, {LAYERS, MIX}),
    fixed_statistics_in_the_backward: (CONVNET, {GRADIENT, LAYERS}),
    adam_without_bias_correction: (SQUARE_MLP, {OPTIMIZER}),
    penalty_rewarded: (SQUARE_MLP, {PENALTY}),
    gradient_that_is_no_number: (SQUARE_MLP, {GRADIENT, LAYERS, OVERFITS}),
    scores_that_ignore_the_input: (SQUARE_MLP, {GRADIENT, LAYERS, OVERFITS}),
}


@pytest.mark.parametrize("plant", MISTAKES)
def test_a_mistake_is_caught(report, monkeypatch, plant):
    model, caught_by = MISTAKES[plant]
    plant(monkeypatch)
    assert failed(report(model)) >= caught_by


def test_weights_drawn_too_large_are_caught(report):
    checks = report(partial(MLP, SHAPE, 10, init="large"))
    assert failed(checks) == {LOSS}
    assert "init" in checks[LOSS].look_at


def test_a_check_that_cannot_be_made_has_failed(report, monkeypatch):
    def linear(x, weight, bias):
        raise ValueError("no such luck")

    monkeypatch.setattr(ops, "linear", linear)
    checks = report(SQUARE_MLP)
    assert failed(checks) >= {LOSS, GRADIENT, LAYERS, OVERFITS, MIX}
    assert checks[LOSS].measured == "ValueError: no such luck"


def test_a_run_prints_both_tables_and_goes_on(tmp_path):
    done = command(*SMALL, "model=softmax", "sanity=true", "trainer.max_epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report, _, training = done.stdout.partition("training on cpu")
    assert "scores.weight" in report
    assert all(row[0] in report for row in sanity.CHECKS)
    assert report.count(" ok") == len(sanity.CHECKS)
    assert "epoch   1/1" in training


def test_a_failed_check_stops_the_run_and_says_what_to_look_at(tmp_path):
    done = command(*SMALL, "model=mlp", "model.init=large", "sanity=true", cwd=tmp_path)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("error: sanity check failed: loss at initialisation: ")
    assert second.startswith("look at model.init")
    assert "FAILED" in done.stdout
    assert not list(tmp_path.rglob("*.ckpt"))


def test_the_checks_change_nothing_of_the_run(job, tmp_path):
    overrides = ("model=mlp", "model.hidden=[16]", "model.dropout=0.2", "trainer.max_epochs=1")
    states = []
    for sane in ("true", "false"):
        _, folder = job(*overrides, f"sanity={sane}", folder=tmp_path / sane)
        states.append(weights_of(folder))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
