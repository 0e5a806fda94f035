"""Tables that fit a terminal, and the objects for other programs."""

import io
import json
import re
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console
from running import ROOT

from lecture4.lesson.exercises import report, template
from lecture4.lesson.exercises.child import outcome_here
from lecture4.lesson.exercises.verdict import CaseVerdict, Checked, Verdict, judge
from lecture4.training.formulas import read

LONG = "The gradient of x is cut at the wrong place, and this sentence is long. \x1b" * 4
CASES = (CaseVerdict("stride 2, padding 1", "right"), CaseVerdict("float32", "wrong", "\x1b[31m"))
VERDICTS = (
    Verdict("cross_entropy_of", "right", cases=CASES[:1]),
    Verdict("conv2d", "wrong", "pair", ("conv2d_forward", "conv2d_backward"), LONG,
            ("flipped_kernel",), CASES, "one\ntwo [bold]\x1b\n"),
    Verdict("relu", "stopped", remark="no answer within 10 s"),
    Verdict("SGD", "not begun"),
)  # fmt: skip
CHECKED = Checked(Path("mine.py"), VERDICTS, ("line 2: ModuleNotFoundError: x\x1b",))


def shown(width, case_by_case):
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, emoji=False, highlight=False)
    report.show(console, CHECKED, case_by_case)
    return out.getvalue()


@pytest.mark.parametrize("case_by_case", [True, False])
@pytest.mark.parametrize("width", [80, 120])
def test_every_word_is_shown_in_the_width(width, case_by_case):
    text = shown(width, case_by_case)
    assert max(map(len, text.splitlines())) <= width
    for word in ("wrong", "place,", "1/2" if not case_by_case else "[bold]\\x1b", "ModuleNotFound"):
        assert word in text
    assert "\x1b" not in text
    assert "…" not in text


def test_a_row_for_each_formula_that_is_begun():
    lines = shown(120, False).splitlines()
    assert sum(line.strip().startswith(("cross", "conv2d", "relu")) for line in lines) == 3
    assert "not begun: SGD" in lines
    assert "1 of 4 right" in lines


def test_the_object_holds_everything():
    found = json.loads(json.dumps(report.as_object(CHECKED)))
    assert (found["file"], found["right"]) == ("mine.py", False)
    assert [f["status"] for f in found["formulas"]] == ["right", "wrong", "stopped", "not begun"]
    assert found["formulas"][1]["mistakes"] == ["flipped_kernel"]
    assert found["formulas"][1]["cases"][0] == {
        "label": "stride 2, padding 1", "status": "right", "remark": ""
    }  # fmt: skip


# in solved/pairs.py
MISTAKES = {
    "_share(dout, len(y), reduction) * (np.exp": "_share(dout, 1, reduction) * (np.exp",
    "return dout * (cache > 0)": "return dout * (dout > 0)",
    "return dout * (1 - cache**2)": "return dout * (1 - cahce**2)",
    "dx[window] += np.tensordot": "dx[window] = np.tensordot",
}


def test_the_picture_in_the_documentation_is_what_a_check_prints(written, tmp_path):
    text = (template.SOLVED / "pairs.py").read_text()
    for right, wrong in MISTAKES.items():
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    entries = read(path := written(text)).entries
    verdicts = [
        judge(name, "pair", entries[name].names, outcome_here(name, entries[name].call, str(path)))
        for name in ("linear", "cross_entropy", "relu", "tanh", "conv2d")
    ]
    console = Console(record=True, width=80, file=io.StringIO(), markup=False, highlight=False)
    console.print("$ python exercise.py check mine.py\n", style="white")
    report.show(console, Checked(Path("mine.py"), tuple(verdicts), ()), False)
    drawn = tmp_path / "diagnosis.svg"
    console.save_svg(str(drawn), title="mine.py", unique_id="diagnosis")
    picture = ROOT / "docs" / "diagnosis.svg"
    assert words(drawn) == words(picture), f"copy {drawn} to {picture}"


def words(svg):
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg.read_text())
    return " ".join(map(unescape, texts)).split()


def test_gradescope_reads_the_results():
    results = json.loads(json.dumps(report.for_gradescope(CHECKED)))
    assert [test["score"] for test in results["tests"]] == [1.0, 0.5, 0.0, 0.0]
    assert [test["status"] for test in results["tests"]] == ["passed"] + ["failed"] * 3
    assert {test["max_score"] for test in results["tests"]} == {1.0}
    assert results["tests"][1]["output"] == f"wrong. {LONG}"
    assert results["visibility"] == "visible"
