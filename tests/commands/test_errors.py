"""Whatever a user gets wrong becomes a sentence, in one place."""

import os
import subprocess
import sys

import hydra
import pytest
from hydra.errors import InstantiationException, MissingConfigException
from running import ROOT, clean_environment, command, compose

from lecture4.commands import errors


def test_an_error_within_another_is_the_one_that_is_printed():
    outer = InstantiationException("Error in call to target 'x':\nfull_key: model")
    outer.__cause__ = ValueError("init=foo is unknown")
    assert errors.sentence(outer) == "init=foo is unknown"


def test_an_error_is_two_lines_at_most_and_never_empty():
    assert errors.sentence(ValueError("a\n\nb\nc")) == "a\nb"
    assert errors.sentence(RuntimeError()) == "RuntimeError"
    assert len(errors.sentence(ValueError("x" * 10_000))) <= 100
    assert len(errors.sentence(ValueError("x y " * 10_000))) <= 1000


def test_a_long_path_is_cut_in_its_middle_and_the_reason_stays():
    folder = "/".join(f"folder{i}" for i in range(300))
    shown = errors.sentence(ValueError(f"/home/{folder}/last.ckpt: it is damaged"))
    assert shown.startswith("/home/folder0/")
    assert "…" in shown
    assert shown.endswith("/last.ckpt: it is damaged")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("weight"), "KeyError: 'weight'"),
        (TypeError("no int"), "TypeError: no int"),
        (
            TypeError("Trainer.__init__() got an unexpected keyword argument 'foo'"),
            "Trainer has no setting foo; --help lists the settings",
        ),
        (AssertionError("rank"), "AssertionError: rank"),
        (FileNotFoundError(2, "No such file", "a.png"), "a.png: No such file"),
        (OSError("the disk is full"), "the disk is full"),
        (OSError(28, "No space left"), "[Errno 28] No space left"),
        (
            ModuleNotFoundError("No module named 'wandb'"),
            "logger=wandb needs an extra package: pip install -e '.[wandb]'",
        ),
        (ModuleNotFoundError("No module named 'foo'"), "No module named 'foo'"),
        (FileNotFoundError(2, "No such file", "/x/conf/train.yaml"), errors.WITHOUT_CONF),
        (ValueError("a \x1b[31mred\x1b[0m name"), "a \\x1b[31mred\\x1b[0m name"),
    ],
)
def test_what_each_type_of_error_says(error, said):
    assert errors.sentence(error) == said


def test_a_package_without_conf_says_to_clone(tmp_path):
    with (
        pytest.raises(MissingConfigException) as raised,
        hydra.initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"),
    ):
        hydra.compose("train")
    assert errors.sentence(raised.value) == errors.WITHOUT_CONF


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model=resnet"], "model=resnet is unknown; choose one of convnet, mlp, softmax"),
        (["optim=byhand_sgd"],
         "optim=byhand_sgd is no longer a choice; use formulas=byhand optim=sgd"),
        (["hydra/launcher=joblob"], "hydra/launcher=joblob is unknown; choose one of basic"),
        (["modle=mlp"], "modle is not a setting; did you mean model?"),
        (["model=softmax", "model.hidden=[256]"],
         "model.hidden is not a setting of these choices; it belongs to model=mlp"),
        (["model.layers=byhand"], "model.layers is no longer a setting; formulas=torch or"),
        (["optim=[sgd"], "optim=[sgd cannot be read as a setting, such as optim.lr=0.1"),
        (["data.root=é"], "data.root=é cannot be read as a setting, such as optim.lr=0.1; a text "
         "with other characters is quoted twice: 'data.root=\"é\"'"),
        (["trainer=null"], "a group takes the name of a choice, as in model=mlp"),
        (["optim=3"], "a group takes the name of a choice, as in model=mlp"),
    ],
)  # fmt: skip
def test_what_hydra_refuses_is_said_in_this_programs_words(monkeypatch, overrides, said):
    monkeypatch.setattr("sys.argv", ["train.py"])
    with pytest.raises(Exception) as error:  # noqa: PT011
        compose(*overrides)
    assert errors.sentence(error.value).startswith(said)


@pytest.mark.parametrize("choice", sorted(set(errors.EXTRAS) - {"wandb", "mlflow", "optuna"}))
def test_a_launcher_that_is_not_installed_names_its_extra(choice):
    group = "hydra/launcher"
    error = errors.MissingConfigException(
        f"In 'train': Could not find '{group}/{choice}'\n\n"
        f"Available options in '{group}':\n\tbasic",
        missing_cfg_file=f"{group}/{choice}",
        options=["basic"],
    )
    extra = errors.EXTRAS[choice]
    said = f"{group}={choice} needs an extra package: pip install -e '.[{extra}]'"
    assert errors.sentence(error) == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fast"], "unrecognized arguments: --fast; see train.py --help"),
        (["model=mlp", "--fast", "seed=1"], "see train.py --help"),
        (["data=shapes", "-m", "model=mlp,softmax"], "put flags such as -m before every setting"),
        (["--cfg", "everything"], "argument --cfg/-c: invalid choice: 'everything'"),
    ],
)
def test_a_flag_that_hydra_does_not_know_is_refused(monkeypatch, capsys, arguments, said):
    monkeypatch.setattr("sys.argv", ["train.py", *arguments])
    with pytest.raises(ValueError, match="; ") as error:
        errors.check_flags()
    assert said in str(error.value)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("arguments", [["-m", "model=mlp,softmax"], ["--cfg", "job"], ["seed=1"]])
def test_flags_of_hydras_are_left_to_hydra(monkeypatch, arguments):
    monkeypatch.setattr("sys.argv", ["train.py", *arguments])
    errors.check_flags()


def test_the_parser_of_predict_raises_in_place_of_exiting():
    parser = errors.Parser(prog="predict.py")
    with pytest.raises(ValueError, match="--foo; see predict.py --help"):
        parser.parse_args(["--foo"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["optim=sgd,adam"], "a list is written [a,b]; to try several values, put -m before"),
        (["--config-name", "foo"], "Cannot find primary config 'foo'"),
    ],
)
def test_errors_before_composition(arguments, said):
    done = command(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
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


def test_the_user_may_see_the_traceback():
    done = command("model=foo", HYDRA_FULL_ERROR="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_the_wish_for_a_traceback_is_the_users_alone(monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", {})
    for _ in range(2):
        with pytest.raises(SystemExit), errors.plain_errors():
            raise ValueError("no")
        assert capsys.readouterr().err == "error: no\n"


FINALIZED = """
import signal, time
from lecture4.commands.errors import plain_errors

class Slow:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)  # Python drops the KeyboardInterrupt

signal.signal(signal.SIGINT, signal.default_int_handler)
with plain_errors():
    Slow()
    time.sleep(60)
"""


def test_ctrl_c_within_a_finalizer_is_not_lost():
    done = subprocess.run(
        [sys.executable, "-c", FINALIZED], cwd=ROOT, env=clean_environment(),
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
