"""The catalogue: each mistake is wrong in some case, as no other one is; planting ends."""

import inspect
from functools import cache
from itertools import combinations

import pytest
import torch

from lecture4.byhand import functional as F
from lecture4.byhand import numerical, optim
from lecture4.lesson.exercises import answers as measuring
from lecture4.lesson.exercises.answers import answers, differences, expected
from lecture4.lesson.exercises.cases import CASES, OPTIMIZERS
from lecture4.lesson.exercises.catalogue import MISTAKES, activations, convolution, planted
from lecture4.training.formulas import BYHAND

NOT_IN_BYHAND = {"RMSprop", "xavier", "he"}
names = pytest.mark.parametrize("name", CASES)


def mistakes_in(name):
    return [mistake for mistake in MISTAKES if mistake.of == name]


@cache
def answers_of(mistake):
    return {case: answers(mistake.of, mistake.call, case) for case in CASES[mistake.of]}


@names
def test_each_mistake_is_wrong_by_far_more_than_rounding(name, monkeypatch):
    tens = {dtype: 10 * tolerance for dtype, tolerance in measuring.TOLERANCE.items()}
    monkeypatch.setattr(measuring, "TOLERANCE", tens)
    for mistake in mistakes_in(name):
        found = answers_of(mistake)
        assert any(
            differences(name, case, found[case], expected(name, case)) for case in CASES[name]
        ), mistake.name


@names
def test_each_mistake_answers_every_case(name):
    assert mistakes_in(name)
    for mistake in mistakes_in(name):
        assert all(answers_of(mistake)[case] for case in CASES[name]), mistake.name


@names
def test_no_two_mistakes_of_a_function_answer_alike(name):
    for a, b in combinations(mistakes_in(name), 2):
        x, y = answers_of(a), answers_of(b)
        assert any(differences(name, case, x[case], y[case]) for case in CASES[name]), (a, b)


def test_names_are_different_and_hints_are_sentences():
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES)
    for mistake in MISTAKES:
        assert mistake.hint.endswith(".")
        assert mistake.hint.count(". ") == 0
        assert mistake.source.__doc__, mistake.name


@names
def test_a_mistake_takes_the_arguments_of_the_reference(name):
    if name in OPTIMIZERS:
        assert all(issubclass(m.call, getattr(torch.optim, name)) for m in mistakes_in(name))
        return
    right = inspect.signature(measuring.REFERENCES[name]).parameters
    for mistake in mistakes_in(name):
        own = inspect.signature(mistake.call).parameters
        assert [key for key in right if key in own] == list(own), mistake.name


def places():
    kinds = [F, numerical, *(getattr(optim, name) for name in optim.__all__)]
    return [*(dict(vars(kind)) for kind in kinds), dict(BYHAND.penalties)]


@names
def test_a_mistake_ends_with_its_block(name):
    before = places()
    for mistake in mistakes_in(name):
        if name in NOT_IN_BYHAND:
            with pytest.raises(ValueError, match=f"lecture4.byhand has no {name}"):
                planted(mistake)
        else:
            with planted(mistake):
                assert places() != before
            assert places() == before


def test_a_planted_function_takes_sides_of_windows_and_refuses_options_it_lacks():
    x, w = torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 3)
    with planted(convolution.flipped_kernel):
        y = F.conv2d(x, w, None, (1, 1), (1, 1), (1, 1), 1)
        with pytest.raises(ValueError, match="flipped_kernel has no dilation; leave it out"):
            F.conv2d(x, w, dilation=2)
    assert torch.equal(y, F.conv2d(x, w.flip(2, 3), padding=1))
    with planted(activations.relu_of_the_absolute_value):
        assert torch.equal(F.relu(x), x.abs())
