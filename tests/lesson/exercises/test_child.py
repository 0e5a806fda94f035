"""What a process says about an exception and about what is printed."""

import runpy
import sys

from lecture4.lesson.exercises.child import KEPT, _Printed, described, outcome_here


def error_of(path, text):
    path.write_text(text)
    try:
        runpy.run_path(str(path))
    except BaseException as error:
        return described(error, str(path))


def test_an_exception_has_the_last_line_of_the_file(tmp_path):
    text = "import json\n\ndef f(x):\n    return json.loads(x)\n\nf('{')\n"
    found = error_of(tmp_path / "mine.py", text)
    assert (found["kind"], found["place"]) == ("JSONDecodeError", "line 4")
    assert found["code"] == "return json.loads(x)"


def test_an_exception_without_a_text(tmp_path):
    text = "class E(Exception):\n    def __str__(self):\n        return 1 / 0\nraise E\n"
    found = error_of(tmp_path / "mine.py", text)
    assert found == {"kind": "E", "text": "", "place": "line 4", "code": "raise E"}


def test_the_beginning_of_what_is_printed_is_kept():
    printed = _Printed()
    for _ in range(1000):
        printed.write(b"a line\n")
    assert printed.text.startswith("a line\n")
    assert printed.text.endswith(f"{1000 - KEPT // 7:,} lines more\n")
    assert len(printed.text) < KEPT + 50


def test_each_case_is_answered_or_says_why_not():
    def relu(input):
        if len(input.shape) == 1:
            sys.exit("no")
        return input.clamp(min=0)

    outcome = outcome_here("relu", relu)
    assert {str(raised) for raised in outcome.raised.values()} == {"SystemExit: no"}
    assert len(outcome.answers) + len(outcome.raised) == outcome.begun + 1
    assert outcome.finished
