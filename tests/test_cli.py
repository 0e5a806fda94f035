"""Errors become sentences, and settings are checked before anything slow begins."""

import os
import subprocess
import sys

import pytest
from hydra.errors import InstantiationException
from running import ROOT, clean_environment, command, compose

from lecture4 import cli

BAD_SETTINGS = {
    "optim.lr=0": "optim.lr=0 ",
    "optim.lr=-0.1": "a number > 0",
    "optim.lr=fast": "optim.lr=fast ",
    "optim.lr=.inf": "a number > 0",
    "optim.lr=.nan": "a number > 0",
    "optim.lr=true": "a number > 0",
    "optim.momentum=1": "in [0, 1)",
    "schedule.milestones=abc": "fractions of the run",
    "schedule.milestones=[30,60]": "fractions of the run",
    "optim.betas=3": "two numbers",
    "optim.fused=foo": "true or false",
    "model.activation=[relu]": "a name",
    "data.root=null": "a name",
    "data.val_size=2.5": "fraction",
    "trainer.accelerator=mps": "auto, cpu or gpu",
    "+trainer.limit_test_batches=0": "test at the end",
    "optim.weight_decay=-1": "≥ 0",
    "data.batch_size=0": "null for the full batch",
    "data.batch_size=-5": "whole number ≥ 1",
    "data.batch_size=1.5": "whole number ≥ 1",
    "data.batch_size=many": "whole number ≥ 1",
    "data.eval_batch_size=null": "whole number ≥ 1",
    "data.val_size=0": "a number > 0",
    "trainer.max_epochs=0": "whole number ≥ 1",
    "trainer.max_epochs=-1": "whole number ≥ 1",
    "trainer.max_epochs=ten": "whole number ≥ 1",
    "trainer.max_epochs=2.5": "whole number ≥ 1",
    "seed=-1": "4294967295",
    "seed=4294967296": "4294967295",
    "seed=null": "4294967295",
    "label_smoothing=1": "in [0, 1)",
    "penalty.strength=-1": "≥ 0",
    "trainer.deterministic=perhaps": "true or false",
    "+trainer.max_steps=5": "whole epochs",
    "+trainer.limit_val_batches=0": "whole epochs",
}


NEEDED = {"schedule.milestones": ["schedule=step"], "optim.betas": ["optim=adam"]}


@pytest.mark.parametrize(("override", "expected"), BAD_SETTINGS.items())
def test_a_bad_setting_is_restated_with_what_would_be_accepted(override, expected):
    with pytest.raises(
        ValueError, match=r"(is not accepted; it must be|is not supported)"
    ) as error:
        cli.check(compose(*NEEDED.get(override.split("=")[0], []), override))
    assert expected in str(error.value)
    assert override.lstrip("+").split("=")[0] in str(error.value)


def test_the_defaults_of_every_choice_are_accepted():
    for data in ("cifar10", "shapes", "rings", "image_folder"):
        cli.check(compose(f"data={data}", "model=mlp"))
    for group, name in [("optim", "adam"), ("optim", "adamw"), ("penalty", "l1"), ("seed", "0")]:
        cli.check(compose(f"{group}={name}"))
    cli.check(compose("data.batch_size=null"))


def test_every_checked_setting_exists_somewhere():
    known = cli._known_keys()
    missing = [key for key in cli.ACCEPTED if key not in known]
    assert missing == ["trainer.limit_train_batches"]  # Lightning's own, by +


def test_an_error_within_another_is_the_one_that_is_told():
    outer = InstantiationException("Error in call to target 'x':\nfull_key: model")
    outer.__cause__ = ValueError("init=foo is unknown")
    assert cli.sentence(outer) == "init=foo is unknown"


def test_an_error_is_two_lines_at_most_and_never_empty():
    assert cli.sentence(ValueError("a\n\nb\nc")) == "a\nb"
    assert cli.sentence(RuntimeError()) == "RuntimeError"
    assert cli.sentence(KeyError("weight")) == "KeyError: 'weight'"
    assert len(cli.sentence(ValueError("x" * 10_000))) <= 300


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("optim.lrr", "optim.lr"),
        ("modle", "model"),
        ("trainer.epochs", "trainer.max_epochs"),
        ("data.batchsize", "data.batch_size"),
        ("lr", "optim.lr"),
    ],
)
def test_an_unknown_key_brings_the_nearest_to_mind(given, meant):
    assert f"did you mean {meant}?" in cli._unknown_key(given)


def test_plain_gradient_descent_is_told_of_nesterov():
    with pytest.raises(ValueError, match="optim.nesterov=false"):
        cli.check(compose("optim.momentum=0"))
    cli.check(compose("optim.momentum=0", "optim.nesterov=false"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["model.hidden=[256]"], "does not go with these choices; it belongs to model=mlp"),
        (["optim=sgd,adam"], "put -m before"),
        (["trainer=null"], "a group takes the name of a choice"),
        (["optim.lr="], "optim.lr="),
        (["data=shapes", "-m", "model=softmax,mlp"], "put flags such as -m before"),
        (["--config-name", "foo"], "foo"),
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
    with pytest.raises(SystemExit), cli.plain_errors():
        raise ValueError("no")
    with pytest.raises(SystemExit), cli.plain_errors():
        raise ValueError("no")
