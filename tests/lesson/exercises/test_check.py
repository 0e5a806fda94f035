"""A whole file through processes: solved in each style, mistaken, unreadable."""

import pytest

from lecture4.lesson.exercises import processes, template
from lecture4.lesson.exercises.check import check
from lecture4.lesson.exercises.typeset import FORMULAS

processes.start_server("pytest")


def statuses(file, *names, seconds=60):
    return {v.name: v.status for v in check(file, names, seconds).verdicts if v.status}


@pytest.mark.parametrize("style", template.STYLES)
def test_solved_files_are_right(style):
    checked = check(template.SOLVED / template.STYLES[style], (), 60)
    begun = [v for v in checked.verdicts if v.status != "not begun"]
    assert [v.name for v in checked.verdicts] == list(FORMULAS)
    assert len(begun) > 9
    assert {v.name: v.remark for v in begun if v.status != "right"} == {}
    assert {v.style for v in begun} <= {"torch", "pair", "course"}
    assert checked.right


def test_a_mistake_in_a_solved_file_is_named_with_its_function_alone(tmp_path):
    text = (template.SOLVED / "pairs.py").read_text()
    right = "return dout * (cache > 0)\n"
    assert right in text
    (tmp_path / "mine.py").write_text(text.replace(right, "return dout * (dout > 0)\n"))
    checked = check(tmp_path / "mine.py", ("linear", "relu", "tanh"), 60)
    found = {v.name: v.mistakes for v in checked.verdicts}
    assert found == {"linear": (), "relu": ("relu_mask_of_the_gradient",), "tanh": ()}
    assert not checked.right


def test_definitions_that_failed_have_rows(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import nothing_there\n\n@nothing_there.jit\ndef relu(x):\n    return x\n")
    checked = check(file, (), 60)
    found = {v.name: (v.status, v.remark) for v in checked.verdicts if v.status != "not begun"}
    assert found == {"relu": ("error", "line 3: NameError: name 'nothing_there' is not defined")}
    assert len(checked.errors) == 2
    file.write_text("def relu(x):\n    return x +\n")
    assert [v.name for v in check(file, (), 60).verdicts if v.status == "error"] == ["relu"]


def test_classes_of_layers_are_named(written):
    checked = check(written("class ReLU:\n    def forward(self, x): return x\n"), ("relu",), 60)
    assert [v.status for v in checked.verdicts] == ["not begun"]
    assert checked.errors[0].startswith("ReLU: classes of layers are not used")
    assert not checked.right


def test_errors_that_stop_the_check(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import os\nos._exit(1)\n")
    with pytest.raises(ValueError, match=r"mine.py cannot be read: ended the process with exit"):
        check(file, (), 60)
    with pytest.raises(ValueError, match="conv3d is unknown; choose among linear, softmax"):
        check(file, ("conv3d",), 60)
