"""The solved files: every function is right in every case."""

from pathlib import Path

import pytest

from lecture4.lesson.exercises import solved
from lecture4.lesson.exercises.answers import answers, differences, expected
from lecture4.lesson.exercises.arguments import applies
from lecture4.lesson.exercises.cases import CASES
from lecture4.training.formulas import read

FOLDER = Path(solved.__file__).parent
IN_COURSE = {"batch_norm", "conv2d", "cross_entropy", "dropout", "linear", "max_pool2d"} | {
    "relu", "SGD", "RMSprop", "Adam",
}  # fmt: skip
HELD = {
    "torch_style": set(CASES),
    "pairs": set(CASES),
    "course": IN_COURSE,
}


@pytest.fixture(scope="module", params=HELD)
def source(request):
    return request.param, read(FOLDER / f"{request.param}.py")


def test_every_function_is_right_in_every_case(source):
    name_of_file, found = source
    assert set(found.entries) == HELD[name_of_file]
    for name, entry in found.entries.items():
        for case in CASES[name]:
            given = answers(name, entry.call, case)
            assert differences(name, case, given, expected(name, case)) == [], (name, case.label)


def test_what_a_style_cannot_express_is_all_that_is_left_out(source):
    name_of_file, found = source
    left_out = {
        name: [case.label for case in CASES[name] if not applies(name, entry.call, case)]
        for name, entry in found.entries.items()
    }
    left_out = {name: labels for name, labels in left_out.items() if labels}
    if name_of_file != "course":
        assert left_out == {}
    else:
        assert {name: len(labels) for name, labels in left_out.items()} == {
            "cross_entropy": 4,  # reductions and smoothing
            "max_pool2d": 2,  # padding
            "Adam": 2,  # AMSGrad
        }
