"""Errors become sentences, and settings are checked before anything slow begins."""

import os
import subprocess
import sys

import pytest
from hydra.errors import InstantiationException
from running import ROOT, clean_environment, command

from lecture4.commands import errors


def test_an_error_within_another_is_the_one_that_is_told():
    outer = InstantiationException("Error in call to target 'x':\nfull_key: model")
    outer.__cause__ = ValueError("init=foo is unknown")
    assert errors.sentence(outer) == "init=foo is unknown"


def test_an_error_is_two_lines_at_most_and_never_empty():
    assert errors.sentence(ValueError("a\n\nb\nc")) == "a\nb"
    assert errors.sentence(RuntimeError()) == "RuntimeError"
    assert errors.sentence(KeyError("weight")) == "KeyError: 'weight'"
    assert len(errors.sentence(ValueError("x" * 10_000))) <= 300


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["model.hidden=[256]"], "does not go with these choices; it belongs to model=mlp"),
        (["optim=sgd,adam"], "put -m before"),
        (["trainer=null"], "a group takes the name of a choice"),
        (["optim.lr="], "optim.lr="),
        (["data=shapes", "-m", "model=softmax,mlp"], "put flags such as -m before"),
        (["--config-name", "foo"], "foo"),
        (["recipe=foo"], "recipe=foo is unknown; choose one of convnet, mlp, softmax"),
        (["optim.lr=[1"], "optim.lr=[1"),
    ],
)  # fmt: skip
def test_slips_of_the_keyboard(arguments, expected):
    done = command(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_errors_of_composition_answer_at_once_without_torch():
    code = (
        "import sys; sys.argv = ['train.py', 'model=foo']\n"
        "import runpy\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "finally: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == "False\n"
    assert done.stderr == "error: model=foo is unknown; choose one of convnet, mlp, softmax\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]])
def test_help_and_configuration_answer(arguments):
    done = command(*arguments)
    assert done.returncode == 0
    assert "model" in done.stdout
    assert done.stderr == ""


def test_the_user_may_see_the_traceback():
    done = command("model=foo", HYDRA_FULL_ERROR="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_the_wish_for_a_traceback_is_the_users_alone(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    with pytest.raises(SystemExit), errors.plain_errors():
        raise ValueError("no")
    with pytest.raises(SystemExit), errors.plain_errors():
        raise ValueError("no")
