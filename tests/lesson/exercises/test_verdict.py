"""Status, remark and cases of a verdict."""

import numpy as np
import pytest
import torch

from lecture4.byhand import functional as F
from lecture4.lesson.exercises.cases import CASES
from lecture4.lesson.exercises.child import outcome_here
from lecture4.lesson.exercises.records import Outcome
from lecture4.lesson.exercises.verdict import judge


def verdict(name, call):
    return judge(name, "torch", (name,), outcome_here(name, call))


def test_a_right_function():
    found = verdict("relu", lambda input: input.clamp(min=0))
    assert (found.status, found.remark, found.share) == ("right", "", 1.0)
    assert {case.status for case in found.cases} == {"right"}


def test_an_option_that_is_left_out_is_not_asked_for():
    whole = verdict("softmax", torch.softmax)
    without = verdict("softmax", lambda input: input.softmax(1))
    assert (whole.status, without.status) == ("right", "right")
    assert len(without.cases) < len(whole.cases) == len(CASES["softmax"])


def test_an_error_in_some_cases_beside_right_ones():
    def relu(input):
        if input.dtype == torch.float32:
            raise KeyError("no")
        return torch.relu(input)

    found = verdict("relu", relu)
    assert found.status == "error"
    assert found.remark == "right for float64, wrong for float32: KeyError: 'no'."
    assert 0 < found.share < 1


def test_what_is_wrong_counts_more_than_an_error():
    def relu(input):
        return torch.relu(input) + 1 if input.dtype == torch.float32 else None

    found = verdict("relu", relu)
    assert found.status == "wrong"
    assert "the value" in found.remark
    assert "returned NoneType, not a tensor; is a return missing?" in found.remark


def test_a_process_that_ended_early_keeps_its_answers():
    outcome = outcome_here("relu", torch.relu)
    del outcome.answers[10], outcome.answers[9]
    outcome.begun, outcome.finished, outcome.ended = 9, False, "no answer within 3 s"
    found = judge("relu", "torch", ("relu",), outcome)
    assert found.status == "stopped"
    assert [case.status for case in found.cases][8:] == ["right", "stopped", "stopped"]
    assert found.remark == f"no answer within 3 s in the case {CASES['relu'][9].label!r}."


def test_answers_that_are_missing_are_not_right():
    assert judge("relu", "torch", (), Outcome(finished=True)).status == "stopped"
    outcome = outcome_here("relu", torch.relu)
    for answers in outcome.answers.values():
        answers.pop("gradient of x", None)
    found = judge("relu", "torch", (), outcome)
    assert found.status == "wrong"
    assert "gradient of x" in found.remark


def test_answers_that_cannot_be_compared_are_wrong():
    outcome = outcome_here("relu", torch.relu)
    for strange in (np.array("text"), np.array([1j]), np.zeros((0, 2)), np.array(True)):
        outcome.answers[0]["value"] = strange
        found = judge("relu", "torch", (), outcome)
        assert found.cases[0].status == "wrong"


def test_a_wrong_number_is_shown_beside_the_right_one():
    found = verdict("linear", lambda input, weight, bias: input @ weight.T + 2 * bias)
    assert "value at [" in found.cases[0].remark
    assert " instead of " in found.cases[0].remark


@pytest.mark.parametrize(
    ("name", "call", "remark"),
    [
        ("tanh", lambda x: torch.tanh(x) + 0, "Computed by torch's own tanh."),
        ("relu", F.relu, "Computed by lecture4.byhand."),
        ("SGD", torch.optim.SGD, "Computed by torch.optim.sgd.SGD."),
        ("silu", lambda x: x * torch.sigmoid(x), ""),
    ],
)
def test_whose_function_computes_is_named(name, call, remark):
    found = verdict(name, call)
    assert (found.status, found.remark) == ("right", remark)
