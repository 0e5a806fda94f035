"""Answers and differences: right formulas, however written, have none; changed ones have."""

import re

import numpy as np
import pytest
import torch
from torch.nn import functional as torch_functional

from lecture4.lesson.exercises import answers as module
from lecture4.lesson.exercises.answers import answers, differences, expected
from lecture4.lesson.exercises.arguments import REFERENCES, applies
from lecture4.lesson.exercises.cases import CASES, OPTIMIZERS

RANDOM = ("dropout", "xavier", "he")


def wrong(name, call):
    """The cases in which a function is wrong, and the keys."""
    found = {}
    for case in CASES[name]:
        keys = differences(name, case, answers(name, call, case), expected(name, case))
        if keys:
            found[case.label] = keys
    return found


def case_of(name, label):
    return next(case for case in CASES[name] if case.label == label)


@pytest.mark.parametrize("name", CASES)
def test_the_reference_is_right_and_finite(name):
    assert wrong(name, REFERENCES[name]) == {}
    for case in CASES[name]:
        for key, a in expected(name, case).items():
            assert a.dtype.kind == "U" or np.isfinite(a).all(), (case.label, key)
            assert a.dtype.kind != "b" or a.all(), (case.label, key)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"xavier", "he", "gradient"}))
def test_torchs_own_functions_are_right(name):
    places = (torch_functional, torch.optim, torch)
    call = next((getattr(place, name) for place in places if hasattr(place, name)), None)
    if call is None:
        assert name in {"entropy", "cross_entropy_of", "kl_divergence", "output_size"} | {
            "l1_penalty", "l2_penalty",
        }  # fmt: skip
    else:
        assert wrong(name, call) == {}


def single(name):
    """The reference, computed in float32 whatever comes in."""

    def call(*args, **kwargs):
        def narrow(a):
            floats = isinstance(a, torch.Tensor) and a.is_floating_point()
            return a.float() if floats else [narrow(i) for i in a] if isinstance(a, list) else a

        narrowed = [narrow(a) for a in args]
        value = REFERENCES[name](*narrowed, **kwargs)
        if name == "batch_norm" and args[5]:  # in training
            for statistics, changed in zip(args[1:3], narrowed[1:3], strict=True):
                statistics.copy_(changed)
        first = args[0][0] if isinstance(args[0], list) else args[0]
        return value.to(first.dtype)

    return call


@pytest.mark.parametrize(
    "name", sorted(set(CASES) - {*OPTIMIZERS, *RANDOM, "gradient", "output_size"})
)
def test_rounding_in_float32_is_no_mistake(name):
    assert wrong(name, single(name)) == {}


@pytest.mark.parametrize("name", sorted(set(CASES) - {*OPTIMIZERS, *RANDOM, "output_size"}))
def test_a_relative_error_of_two_thousandths_is_one(name):
    found = wrong(name, lambda *args, **kwargs: 1.002 * REFERENCES[name](*args, **kwargs))
    assert len(found) >= len(CASES[name]) // 2


def test_another_path_is_seen_from_the_step_on_at_which_it_leaves():
    class Late(torch.optim.SGD):
        steps = 0

        def step(self, closure=None):
            super().step()
            self.steps += 1
            if self.steps == 7:
                with torch.no_grad():
                    self.param_groups[0]["params"][0].add_(0.01)

    keys = wrong("SGD", Late)["defaults"]
    assert keys[0] == "weights after step 7"
    assert len(keys) == 14


def test_what_a_function_changes_is_seen():
    def relu(input):
        input.clamp_(min=0)
        return input

    assert set(map(tuple, wrong("relu", relu).values())) == {("x unchanged",)}


def test_a_gradient_that_fits_a_wrong_value_is_told_from_one_that_does_not():
    found = wrong("tanh", lambda input: torch.sigmoid(input))
    assert set(map(tuple, found.values())) == {("value", "gradient of x")}
    found = wrong("tanh", lambda input: input.tanh().detach() + input - input.detach())
    assert found["4×5"] == ["gradient of x", module.BY_DIFFERENCES]


def test_a_missing_gradient_and_another_shape_and_dtype_are_differences():
    assert "gradient of x" in wrong("relu", lambda input: input.relu().detach())["4×5"]
    assert "value" in wrong("relu", lambda input: input.relu()[:1])["4×5"]
    found = wrong("relu", lambda input: input.relu().double())
    assert set(map(tuple, found.values())) == {("dtype",)}
    assert all("float32" in label for label in found)


def test_numpys_results_may_be_wider_but_not_narrower():
    def relu(input):
        return input.relu().double()

    def narrow(input):
        return input.relu().float()

    relu.numpy = narrow.numpy = True
    assert wrong("relu", relu) == {}
    assert set(map(tuple, wrong("relu", narrow).values())) == {("dtype",)}


def test_any_maximum_of_a_tie_may_take_the_gradient():
    def pool(share):
        def call(input, kernel_size, stride, padding=0):
            windows = input.unfold(2, kernel_size, stride).unfold(3, kernel_size, stride)
            return share(windows.flatten(4))

        return call

    shares = [
        lambda windows: windows.amax(-1),  # equal shares
        lambda windows: windows.max(-1).values,
        lambda windows: windows.flip(-1).max(-1).values,
    ]
    ties = [case for case in CASES["max_pool2d"] if case.ties]
    for share in shares:
        for case in ties:
            given = answers("max_pool2d", pool(share), case)
            assert differences("max_pool2d", case, given, expected("max_pool2d", case)) == []


def test_a_case_is_left_out_if_its_option_is_not_in_the_signature():
    def cross_entropy(scores, labels):
        return torch_functional.cross_entropy(scores, labels)

    smoothed = case_of("cross_entropy", "label smoothing 0.2")
    assert not applies("cross_entropy", cross_entropy, smoothed)
    assert answers("cross_entropy", cross_entropy, smoothed) == {}
    assert wrong("cross_entropy", cross_entropy) == {}
    required = case_of("cross_entropy", "two classes")
    assert differences("cross_entropy", required, {}, expected("cross_entropy", required))


def test_softmax_over_the_classes_needs_no_dim():
    assert wrong("softmax", lambda s: torch.softmax(s, 1)) == {}
    assert wrong("softmax", lambda s, dim: torch.softmax(s, 1)).keys() == {
        "dim 0", "dim −1 of three",
    }  # fmt: skip


def test_flatten_keeps_the_examples_apart_if_it_takes_no_dimension():
    assert wrong("flatten", lambda x: x.reshape(len(x), -1)) == {}
    assert wrong("flatten", lambda x: x.reshape(-1))


@pytest.mark.parametrize(
    ("returned", "message"),
    [(None, "relu returned NoneType, not a tensor; is a return missing?"),
     (np.zeros(3), "relu returned ndarray, not a tensor")],
)  # fmt: skip
def test_something_else_than_a_tensor_is_refused(returned, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        answers("relu", lambda input: returned, CASES["relu"][0])


def test_infinity_is_as_good_as_nan_where_a_mistake_has_nan():
    case, nan, inf = CASES["relu"][0], np.array([np.nan, 1.0]), np.array([np.inf, 1.0])
    assert differences("relu", case, {"value": inf}, {"value": nan}) == []
    assert differences("relu", case, {"value": nan}, {"value": inf}) == ["value"]
    assert differences("relu", case, {"value": inf}, {"value": np.ones(2)}) == ["value"]
    assert differences("relu", case, {"value": np.ones(2)}, {"value": nan}) == ["value"]
