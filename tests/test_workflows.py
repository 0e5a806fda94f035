"""The workflows: valid, actions have versions, make targets exist, the published page is built."""

import re
import shlex
import shutil
import subprocess
from pathlib import PurePosixPath

import hydra
import pytest
import yaml
from running import CONF, ROOT

WORKFLOWS = {
    file.name: yaml.safe_load(file.read_text())
    for file in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}


def steps(name: str, kind: str) -> list[str]:
    """What the steps of a workflow use or run."""
    jobs = WORKFLOWS[name]["jobs"].values()
    return [step[kind] for job in jobs for step in job["steps"] if kind in step]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_step_runs_something_or_uses_a_version_of_an_action(name):
    assert WORKFLOWS[name][True]  # YAML takes "on" for a truth value
    assert all(job["runs-on"] for job in WORKFLOWS[name]["jobs"].values())
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", used) for used in steps(name, "uses"))
    assert steps(name, "run")


def make_lines(name: str) -> list[list[str]]:
    """The words after ``make`` in a workflow's commands."""
    lines = (line.strip() for text in steps(name, "run") for line in text.splitlines())
    return [shlex.split(line)[1:] for line in lines if line.startswith("make ")]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_make_targets_and_variables_exist(name):
    makefile = (ROOT / "Makefile").read_text()
    for word in (word for words in make_lines(name) for word in words):
        key, given, _ = word.partition("=")
        assert (f"\n{key} ?= " if given else f"\n{key}:") in makefile, word


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_published_page_is_the_lectures_on_cifar10(tmp_path):
    [words] = make_lines("pages.yml")
    words = [word.replace("$RUNNER_TEMP/site", str(tmp_path)) for word in words]
    dry = subprocess.run(
        ["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *_, script = (line for line in dry.stdout.splitlines() if "lecture.py" in line)
    given = shlex.split(script.partition("lecture.py")[2])
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose("lecture", given)
    assert (cfg.budget, cfg.data.name) == ("quick", "cifar10")
    assert cfg.copy_to == f"{tmp_path}/index.html"
    [path] = [word for text in steps("pages.yml", "run") for word in text.split() if "*/" in word]
    folder = (ROOT / "conf" / "lecture.yaml").read_text()
    assert PurePosixPath(re.search(r"dir: (.*)", folder)[1], "claims.json").match(path)
