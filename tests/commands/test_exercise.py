"""The real command line: list, new, check, exit codes, JSON, Gradescope, bad input."""

import json
import subprocess
import sys

import pytest
from running import ROOT, call, command

from lecture4.lesson.exercises import processes, template

processes.start_server("pytest")
RIGHT = "import torch\n\ndef relu(input):\n    return torch.relu(input)\n"
WRONG = RIGHT + "\ndef tanh(input):\n    print('hello')\n    return input\n"


def exercise(*words, cwd=None):
    done = call(*map(str, words), script="exercise.py", cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def test_a_right_file_ends_with_code_0_and_the_list_shows_it(written):
    code, out, err = exercise("check", written(RIGHT))
    assert (code, err) == (0, "")
    assert "relu" in out
    assert "not begun: linear" in out
    code, out, err = exercise()
    assert (code, err) == (0, "")
    assert f"{written(RIGHT)}: 1 of 30 right" in out


def test_what_is_wrong_ends_with_code_1(written):
    code, out, err = exercise("check", written(WRONG))
    assert (code, err) == (1, "")
    assert " of 30 right" in out
    code, out, _ = exercise("check", written(WRONG), "tanh")
    assert code == 1
    assert "tanh: wrong" in out
    assert "batch of 1, float32" in out
    assert "printed:\n  hello\n" in out
    assert exercise("check", written(WRONG), "relu_forward")[0] == 0  # also a name in the file


def test_curves_follow_the_verdicts(written, monkeypatch):
    from lecture4.lesson.exercises import curves

    monkeypatch.setattr(curves, "NET", (*curves.NET[:5], "trainer.max_epochs=1", *curves.NET[6:]))
    monkeypatch.setattr(curves, "EPOCHS", 1)
    code, out, err = exercise("check", "--train", written(RIGHT))
    assert (code, err) == (0, "")
    assert out.index("1 of 30 right") < out.index("Both curves are the same.")


def test_json_is_one_object_with_every_formula(written):
    code, out, err = exercise("check", written(WRONG), "relu", "tanh", "SGD", "--json")
    assert (code, err) == (1, "")
    found = {f["name"]: f["status"] for f in json.loads(out)["formulas"]}
    assert found == {"relu": "right", "tanh": "wrong", "SGD": "not begun"}


def test_gradescope_s_results(written, tmp_path):
    results = tmp_path / "results.json"
    assert exercise("check", written(WRONG), "--gradescope", results)[0] == 1
    tests = {test["name"]: test for test in json.loads(results.read_text())["tests"]}
    assert len(tests) == 30
    assert (tests["relu"]["score"], tests["relu"]["status"]) == (1.0, "passed")
    assert tests["tanh"]["score"] < 1
    code, _, err = exercise("check", written(RIGHT), "--gradescope", tmp_path / "no" / "r.json")
    assert code == 1
    assert err.startswith("error: ")
    assert not list(tmp_path.glob("**/.r*"))
    assert exercise("check", tmp_path / "no.py", "--gradescope", results)[0] == 1
    found = json.loads(results.read_text())
    assert found == {"score": 0.0, "output": found["output"]}
    assert "no.py does not exist" in found["output"]
    (tmp_path / "folder.py").mkdir()
    assert "folder.py is a folder" in exercise("check", tmp_path / "folder.py")[2]


@pytest.mark.parametrize("style", template.STYLES)
def test_a_new_file_is_checked_and_has_nothing_begun(tmp_path, style):
    code, out, err = exercise("new", tmp_path / "mine.py", "--style", style)
    assert (code, err) == (0, "")
    assert f"python exercise.py check {tmp_path / 'mine.py'}" in out
    code, out, _ = exercise("check", tmp_path / "mine.py")
    assert code == 0
    assert "0 of 30 right" in out


BAD = {
    "unknown command": (["solve", "x.py"], "solve"),
    "no file": (["check"], "FILE"),
    "missing": (["check", "x.py"], "x.py does not exist; python exercise.py new x.py writes it"),
    "suffix": (["check", "x.txt"], "x.txt must be a file named .py or .ipynb"),
    "new suffix": (["new", "x"], "x must be a file named .py or .ipynb"),
    "style": (["new", "x.py", "--style", "keras"], "keras"),
    "timeout": (["check", "x.py", "--timeout", "0"], "--timeout 0 must be a number of seconds"),
    "no number": (["check", "x.py", "--timeout", "long"], "long"),
    "nan": (["check", "x.py", "--timeout", "nan"], "--timeout nan must be"),
    "flag": (["check", "x.py", "--jso"], "--jso"),
    "folder": (["new", "no/x.py"], "no/x.py: No such file or directory"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_sentence_and_code_1(name, tmp_path):
    words, part = BAD[name]
    if name in ("timeout", "nan", "flag"):
        (tmp_path / "x.py").touch()
    code, out, err = exercise(*words, cwd=tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert part in err


def test_unknown_formulas_and_files_that_cannot_be_read(written, tmp_path):
    code, _, err = exercise("check", written(RIGHT), "conv3d")
    assert code == 1
    assert err.startswith("error: conv3d is unknown; choose among linear, ")
    (tmp_path / "mine.ipynb").write_text("no notebook")
    code, out, err = exercise("check", tmp_path / "mine.ipynb")
    assert (code, out) == (1, "")
    assert "cannot be read as a notebook" in err
    code, _, err = exercise("new", written(RIGHT))
    assert code == 1
    assert "exists and is not overwritten" in err
    assert written(RIGHT).read_text() == RIGHT


def test_help_list_new_and_missing_files_answer_before_torch_is_imported(tmp_path):
    code = (
        "import sys, exercise\n"
        "for words in eval(sys.argv[1]):\n"
        "    sys.argv = ['exercise.py', *words]\n"
        "    try:\n        exercise.main()\n"
        "    except SystemExit: pass\n"
        "    print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    )
    new = [["new", str(tmp_path / name)] for name in ("mine.py", "mine.ipynb")]
    commands = [["--help"], ["check", "--help"], [], *new, ["check", str(tmp_path / "no.py")]]
    done = subprocess.run(
        [sys.executable, "-c", code, repr(commands)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.count("[]") == len(commands), done.stdout
    assert "--gradescope FILE" in done.stdout
    assert done.stderr.count("error: ") == 1


@pytest.mark.slow
def test_the_command_from_another_folder(written, tmp_path):
    """Its own process, with the server that it starts."""
    done = command("check", str(written(WRONG)), script="exercise.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "relu" in done.stdout
    done = command(
        "check", str(written(RIGHT)), "relu", "--json", script="exercise.py", cwd=tmp_path
    )
    assert (done.returncode, json.loads(done.stdout)["right"]) == (0, True)
