"""Cases: what the exercises ask of each formula, and that no label stands for two of them."""

import inspect

import pytest
import torch

from lecture4.byhand import functional, optim
from lecture4.lesson.exercises.arguments import REFERENCES, tensors
from lecture4.lesson.exercises.case import F32, distinct
from lecture4.lesson.exercises.cases import CASES, OPTIMIZERS, SCHEDULE, TWO_GROUPS


def tags(name):
    return {tag for case in CASES[name] for tag in case.tags}


def test_every_formula_that_can_be_solved_has_cases():
    of_optim = {"SGD", "Adam", "AdamW"}
    assert set(functional.__all__) | of_optim < set(CASES)
    assert set(CASES) - set(functional.__all__) - of_optim == {
        "xavier", "he", "gradient", "RMSprop",
    }  # fmt: skip
    assert set(CASES) == set(REFERENCES)
    assert of_optim < set(optim.__all__)


@pytest.mark.parametrize("name", CASES)
def test_labels_are_different_and_tags_are_their_parts(name):
    labels = [case.label for case in CASES[name]]
    assert len(labels) == len(set(labels))
    assert all(case.tags == set(case.label.split(", ")) for case in CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_arguments_are_those_of_the_reference_in_its_order(name):
    known = list(inspect.signature(REFERENCES[name]).parameters)
    for case in CASES[name]:
        places = [known.index(key) for key in case.arguments]
        assert name in OPTIMIZERS or places == sorted(places)
        given = [a for _, a, _ in tensors(case.arguments, case.arguments) if a.is_floating_point()]
        assert {a.dtype for a in given} <= {case.dtype}


@pytest.mark.parametrize("name", sorted(set(CASES) - {"output_size"}))
def test_both_dtypes_are_asked_for(name):
    assert {case.dtype for case in CASES[name]} == {torch.float32, torch.float64}


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["linear", "softmax", "cross_entropy", "conv2d", "max_pool2d", "relu"], {"batch of 1"}),
        (["conv2d", "avg_pool2d"], {"non-square map", "stride 2", "padding 1"}),
        (["conv2d", "max_pool2d", "avg_pool2d"], {"overlapping windows", "does not tile"}),
        (["max_pool2d"], {"ties"}),
        (["softmax", "log_softmax", "cross_entropy", "sigmoid", "tanh", "relu"], {"±1e4"}),
        (["batch_norm"], {"training", "evaluation", "rows", "maps"}),
        (OPTIMIZERS, {TWO_GROUPS, SCHEDULE, "weight_decay 0.1"}),
    ],
)
def test_the_kinds_that_matter_are_there(names, kinds):
    decay = {"weight_decay 0.1"}
    for name in names:
        assert kinds <= tags(name) | (decay if name == "Adam" else set()), name


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_every_setting_of_an_optimizer_is_varied(name):
    settings = set(inspect.signature(getattr(torch.optim, name)).parameters)
    ways_to_compute = {"foreach", "capturable", "differentiable", "fused"}
    varied = {key for case in CASES[name] for key in case.arguments}
    expected = settings - ways_to_compute - {"params", "decoupled_weight_decay"}
    assert varied == expected


def test_distinct_numbers_are_far_from_each_other_and_from_zero():
    for shape in ((7,), (4, 5), (2, 3, 4, 5)):
        x = distinct(*shape, dtype=F32)
        gaps = x.flatten().sort().values.diff()
        assert gaps.min() > 0.049
        assert x.abs().min() > 0.024
