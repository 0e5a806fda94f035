"""Mistakes that people make, planted on purpose: each is caught, by the checks that are named."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from running import ROOT, SMALL, call, weights_of

from lecture4.byhand import functional as F
from lecture4.byhand import nn as byhand_nn
from lecture4.byhand import optim
from lecture4.data import make_shapes
from lecture4.data.augment import NoAugment
from lecture4.data.preprocess import ChannelStandardize
from lecture4.lesson.exercises.catalogue import (
    adam,
    convolution,
    dense,
    losses,
    normalization,
    planted,
    pooling,
    regularization,
)
from lecture4.models import MLP, ConvNet, SoftmaxClassifier
from lecture4.training import formulas, sanity
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule
from lecture4.training.schedule import constant

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
    layers=byhand_nn,
)
SQUARE_MLP = partial(MLP, SHAPE, 10, [24, 24], layers=byhand_nn)
ADAM = partial(optim.Adam, lr=1e-3)


@pytest.fixture(scope="module")
def dataset():
    return make_shapes(train_size=600, test_size=10, seed=0)


@pytest.fixture
def report(dataset):
    """Run the checks on a model: name -> Check."""

    def run(model=CONVNET, optimizer=ADAM, found=formulas.BYHAND, seed=0):
        torch.manual_seed(seed)
        data = DataModule(dataset, val_size=60, seed=seed)
        preprocess = ChannelStandardize(SHAPE).fit(data.train_inputs())
        classifier = Classifier(
            model=model(),
            preprocess=preprocess,
            augment=NoAugment(SHAPE),
            class_names=dataset.class_names,
            optimizer=optimizer,
            schedule=constant,
            formulas=found,
            seed=seed,
        )
        return {check.name: check for check in sanity.run(classifier, data)[0]}

    return run


def failed(report):
    return {name for name, check in report.items() if check.passed is False}


MODELS = {
    "softmax": partial(SoftmaxClassifier, SHAPE, 10),
    "mlp": partial(MLP, SHAPE, 10, dropout=0.2),
    "much dropout": partial(MLP, SHAPE, 10, dropout=0.9),
    "sigmoid": partial(MLP, SHAPE, 10, activation="sigmoid", init="xavier"),
    "too small": partial(MLP, SHAPE, 10, [50], activation="tanh", init="small"),
    "convnet": CONVNET,
}


@pytest.mark.parametrize("found", [formulas.TORCH, formulas.BYHAND], ids=["torch", "byhand"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_sound_model_passes(report, name, found, seed):
    model = partial(MODELS[name], layers=found.nn)
    assert failed(report(model, found=found, seed=seed)) == set()


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
        model=SQUARE_MLP(),
        preprocess=preprocess,
        augment=NoAugment(SHAPE),
        class_names=few.class_names,
        optimizer=ADAM,
        schedule=constant,
        formulas=formulas.BYHAND,
    )
    assert [check.passed for check in sanity.run(classifier, data)[0]] == [True] * 7


def test_an_optimizer_that_torch_does_not_have_is_skipped(report):
    checks = report(MODELS["softmax"], partial(optim.RandomSearch, lr=1e-3))
    assert checks[OPTIMIZER].passed is None
    assert failed(checks) == set()


CAUGHT_BY = {
    convolution.flipped_kernel: (CONVNET, {GRADIENT, LAYERS}),
    dense.missing_bias: (SQUARE_MLP, {GRADIENT, LAYERS}),
    dense.transposed_weight: (SQUARE_MLP, {GRADIENT, LAYERS}),
    pooling.assignment_in_pooling: (CONVNET, {GRADIENT, LAYERS}),
    losses.softmax_over_the_wrong_axis: (SQUARE_MLP, {LOSS, GRADIENT, LAYERS}),
    losses.gradient_not_divided_by_n: (SQUARE_MLP, {GRADIENT, LAYERS}),
    regularization.dropout_left_on: (CONVNET, {LAYERS, MIX}),
    normalization.batch_statistics_left_on: (CONVNET, {LAYERS, MIX}),
    normalization.fixed_statistics_in_the_backward: (CONVNET, {GRADIENT, LAYERS}),
    adam.adam_without_bias_correction: (SQUARE_MLP, {OPTIMIZER}),
    regularization.penalty_rewarded: (SQUARE_MLP, {PENALTY}),
    dense.gradient_that_is_no_number: (SQUARE_MLP, {GRADIENT, LAYERS, OVERFITS}),
    dense.scores_that_ignore_the_input: (SQUARE_MLP, {GRADIENT, LAYERS, OVERFITS}),
}


@pytest.mark.parametrize("mistake", CAUGHT_BY, ids=lambda mistake: mistake.name)
def test_a_mistake_is_caught(report, mistake):
    model, caught_by = CAUGHT_BY[mistake]
    with planted(mistake):
        checks = report(model)
    assert failed(checks) >= caught_by
    assert not any(
        "Error: " in check.measured for check in checks.values()
    )  # it runs, and is wrong


def test_weights_drawn_too_large_are_caught(report):
    checks = report(partial(MLP, SHAPE, 10, init="large"))
    assert failed(checks) == {LOSS}
    assert "init" in checks[LOSS].look_at


def test_a_check_that_cannot_be_made_has_failed(report, monkeypatch):
    def linear(x, weight, bias):
        raise ValueError("no such luck")

    monkeypatch.setattr(F, "linear", linear)
    checks = report(SQUARE_MLP)
    assert failed(checks) >= {LOSS, GRADIENT, LAYERS, OVERFITS, MIX}
    assert checks[LOSS].measured == "ValueError: no such luck"


def test_a_run_prints_both_tables_and_goes_on(tmp_path):
    done = call(*SMALL, "model=softmax", "sanity=true", "trainer.max_epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report, _, training = done.stdout.partition("training on cpu")
    assert "scores.weight" in report
    assert all(row[0] in report for row in sanity.CHECKS)
    assert report.count(" ok") == len(sanity.CHECKS)
    assert "epoch   1/1" in training


def test_a_failed_check_stops_the_run_and_says_what_to_look_at(tmp_path):
    done = call(*SMALL, "model=mlp", "model.init=large", "sanity=true", cwd=tmp_path)
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


SOLVED = ROOT / "tests" / "training" / "formulas" / "solved"
WITHOUT_AVERAGE = partial(
    ConvNet,
    SHAPE,
    10,
    [{"channels": 4, "kernel_size": 5, "stride": 4, "norm": "batch", "pool": {"stride": 2}}],
    dropout=0.5,
)
MISTAKES = {
    "none": ("", "", set()),
    "gradient of the loss": ("return loss, dx / len(x)", "return loss, dx", {GRADIENT, LAYERS}),
    "batch norm": ("(dout - dbeta / len(dout)", "(dout", {GRADIENT, LAYERS}),
    "kernel": ("np.tensordot(window, w,", "np.tensordot(window, w[:, :, ::-1],", {LAYERS}),
    "adam": ("(1 - b1**t)", "1", {OPTIMIZER}),
    "statistics of the batch": (
        'if mode == "train":\n        mean',
        "if True:\n        mean",
        {MIX},
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_checks_of_a_file_of_formulas(report, tmp_path, mistake):
    before, after, checks = MISTAKES[mistake]
    text = (SOLVED / "course.py").read_text()
    assert before in text
    path = tmp_path / "mine.py"
    path.write_text(text.replace(before, after) if before else text)
    found = formulas.find(str(path))
    model = partial(WITHOUT_AVERAGE, layers=found.nn)
    table = report(model, found.optimizer("Adam", lr=1e-3), found)
    assert failed(table) >= checks if checks else failed(table) == checks
    for name in checks & {LAYERS, OPTIMIZER}:
        assert "in mine.py" in table[name].look_at


@pytest.mark.parametrize("style", ["torch_style", "pairs"])
def test_a_right_file_of_formulas_passes(report, style):
    found = formulas.find(str(SOLVED / f"{style}.py"))
    optimizer = found.optimizer("SGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    assert failed(report(partial(WITHOUT_AVERAGE, layers=found.nn), optimizer, found)) == set()
