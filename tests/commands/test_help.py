"""``--help`` shows every group, choice and key with the comment beside it, and starts at once."""

import subprocess
import sys

import pytest
from running import ROOT, clean_environment, command

from lecture4.commands import help as help_
from lecture4.support.conf import choices, groups


@pytest.fixture
def columns(monkeypatch):
    return lambda n: monkeypatch.setenv("COLUMNS", str(n))


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def sections(text: str) -> dict[str, str]:
    """The part of the help under each group's heading."""
    names = [group.name for group in groups()]
    parts: dict[str, list[str]] = {"": []}
    for line in text.splitlines():
        if (name := line.partition(":")[0]) in names or line.startswith("Keys outside"):
            parts[name] = current = []
            current.append(line)
        else:
            parts[list(parts)[-1]].append(line)
    return {name: unwrapped("\n".join(lines)) for name, lines in parts.items()}


def test_each_group_and_each_of_its_choices_has_its_line(columns):
    columns(100)
    of = sections(help_.train_help())
    for group in groups():
        assert of[group.name].startswith(f"{group.name}: {group.meaning}")
        for choice in choices():
            if choice.group == group.name:
                assert f"{choice.name} {choice.meaning}" in of[group.name]


def test_each_key_has_its_meaning(columns):
    columns(100)
    of = sections(help_.train_help())
    for choice in choices():
        for key in choice.keys:
            owner = key.path.partition(".")[0]
            if key.meaning and owner == choice.group:
                assert key.path in of[owner]
                assert key.meaning in of[owner]
        if choice.name == "train":
            for key in choice.keys:
                assert key.path in of["Keys outside groups"]
                assert key.meaning in of["Keys outside groups"]


def test_a_star_marks_what_a_plain_run_takes(columns):
    columns(100)
    lines = help_.train_help().splitlines()
    starred = [line.split()[1] for line in lines if line.startswith("  * ")]
    assert starred == [
        "convnet",
        "cifar10",
        "sgd",
        "auto",
        "none",  # penalty
        "onecycle",
        "flip_crop",
        "channel_standardize",
        "none",  # average
        "default",
        "grid",
    ]


def test_a_key_of_some_choices_names_them(columns):
    columns(120)
    text = unwrapped(help_.train_help())
    assert "model.hidden=[512,512] width of each hidden layer (mlp)" in text
    assert "optim.momentum=0.9 μ; 0: plain gradient descent (sgd)" in text
    assert "trainer.num_nodes=1" in text
    assert "trainer.compile=false torch.compile the model trainer." in text  # of every choice


@pytest.mark.parametrize(("terminal", "most"), [(40, 80), (80, 80), (100, 100), (300, 120)])
def test_lines_fit_the_terminal_from_80_to_120_columns(columns, terminal, most):
    columns(terminal)
    lengths = [len(line) for line in help_.train_help().splitlines()]
    assert most - 20 < max(lengths) <= most


def test_the_lectures_help_lists_claims_and_keys(columns):
    columns(100)
    text = unwrapped(help_.lecture_help())
    assert "probabilities cross_entropy search" in text
    lecture = next(choice for choice in choices() if choice.name == "lecture")
    for key in lecture.keys:
        assert key.path in text
        assert key.meaning in text


@pytest.mark.parametrize("script", ["train.py", "lecture.py"])
@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["seed=3", "--help"]])
def test_help_answers_without_hydras_composition_and_without_torch(script, arguments):
    code = (
        f"import sys; sys.argv = {[script, *arguments]}\n"
        "import runpy\n"
        f"runpy.run_path({script!r}, run_name='__main__')\n"
        "print('torch' in sys.modules, 'pytorch_lightning' in sys.modules)\n"
        "from hydra.core.global_hydra import GlobalHydra\n"
        "print(GlobalHydra.instance().is_initialized())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-2:] == ["False False", "False"]


def test_a_pipe_may_be_closed_early():
    with subprocess.Popen(
        [sys.executable, "train.py", "--help"],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize("flag", ["--hydra-help", "--cfg"])
def test_hydras_own_flags_are_hydras(flag):
    done = command(flag, *(["job"] if flag == "--cfg" else []))
    assert (done.returncode, done.stderr) == (0, "")
    assert ("max_epochs: 10" if flag == "--cfg" else "Hydra (") in done.stdout
