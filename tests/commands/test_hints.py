"""A misspelt, misplaced or former key brings the right one to mind."""

import pytest

from lecture4.commands import hints
from lecture4.support.conf import choices, groups


@pytest.fixture
def program(monkeypatch):
    return lambda name: monkeypatch.setattr("sys.argv", [name])


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("optim.lrr", "optim.lr"),
        ("modle", "model"),
        ("trainer.epochs", "trainer.max_epochs"),
        ("data.batchsize", "data.batch_size"),
        ("lr", "optim.lr"),
        ("formula", "formulas"),
    ],
)
def test_an_unknown_key_brings_the_nearest_to_mind(program, given, meant):
    program("train.py")
    assert hints.unknown_key(given) == f"{given} is not a setting; did you mean {meant}?"


def test_a_key_of_other_choices_names_them(program):
    program("train.py")
    said = hints.unknown_key("model.hidden")
    assert said == (
        "model.hidden is not a setting of these choices; it belongs to model=mlp or "
        "sweep=init_activation"
    )
    assert hints.unknown_key("budget").endswith("it belongs to python lecture.py")
    program("lecture.py")
    assert hints.unknown_key("sanity").endswith("it belongs to python train.py")
    assert "belongs to optim=adam or" in hints.unknown_key("optim.lr")


def test_each_program_has_its_own_keys(program):
    program("lecture.py")
    assert hints.unknown_key("data") == "data is set by its parts: data.name, data.root"
    assert hints.unknown_key("bugdet") == "bugdet is not a setting; did you mean budget?"
    assert hints.unknown_key("xyzzy").endswith("python lecture.py --help lists them")
    program("train.py")
    assert hints.unknown_key("xyzzy").endswith("python train.py --help lists them")


@pytest.mark.parametrize(
    ("former", "today"),
    [
        ("model.layers", "formulas=byhand"),
        ("trainer.limit_train_batches", "data.train_share"),
    ],
)
def test_a_former_key_names_what_does_the_same_today(program, former, today):
    program("train.py")
    assert hints.unknown_key(former).startswith(f"{former} is no longer a setting; ")
    assert today in hints.unknown_key(former)


def test_what_is_former_is_not_in_conf():
    keys = {key.path for choice in choices() for key in choice.keys}
    names = {f"{choice.group}={choice.name}" for choice in choices()}
    assert {group.name for group in groups()} <= {choice.group for choice in choices()}
    assert not set(hints.FORMER) & (keys | names)
