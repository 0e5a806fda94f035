"""README and docs/ are true: links lead to files, settings compose, marked commands run.

A fence after ``<!-- run -->`` is run as written; after ``<!-- run slow -->`` it is marked slow. It
runs in a fresh folder that holds the scripts and what the commands name: ``RUN`` (a trained
run), ``cat.jpg``, ``holiday/`` and ``mine.py`` (solved formulas). ``python`` and ``torchrun``
there start the real ones with the settings ``SHORT`` added, unless the command sets them itself.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image
from running import CONF, ROOT, SMALL, call, clean_environment

from lecture4.lesson.settings import check_lecture
from lecture4.training import settings

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHORT = [*SMALL, "trainer.max_epochs=1"]
FENCE = re.compile(r"(?:<!-- (run|run slow) -->\n)?```(\w*)\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Fence:
    """A block of code of a page, and how it is marked: ``run``, ``run slow`` or nothing."""

    page: str
    mark: str
    language: str
    text: str

    def commands(self) -> list[list[str]]:
        """Its lines in words, without comments; a line may continue on the next."""
        if self.language == "python":
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def fences() -> list[Fence]:
    return [
        Fence(page.name, mark, language, text)
        for page in PAGES
        for mark, language, text in FENCE.findall(page.read_text())
    ]


def marked() -> list:
    """Parameters for each marked fence."""
    return [
        pytest.param(
            fence,
            id=f"{fence.page}: {fence.text.splitlines()[0][:50].strip()}",
            marks=[pytest.mark.slow] if fence.mark == "run slow" else [],
        )
        for fence in fences()
        if fence.mark
    ]


def in_table() -> list[list[str]]:
    """The commands in README's table of sections, where … stands for ``python train.py``."""
    found = re.findall(r"`… (.*?)`", (ROOT / "README.md").read_text())
    return [["python", "train.py", *shlex.split(text)] for text in found]


def typed(script: str) -> list[list[str]]:
    """What the pages give a script, wherever it is started from: with python, torchrun or srun."""
    every = [*in_table(), *(words for fence in fences() for words in fence.commands())]
    given = {tuple(words[words.index(script) + 1 :]): None for words in every if script in words}
    return [list(words) for words in given]


def first_values(overrides: list[str]) -> list[str]:
    """A sweep's overrides with the first value of each choice."""
    return [
        f"{override.key_or_group}={next(override.sweep_string_iterator())}"
        if override.is_sweep_override()
        else override.input_line
        for override in OverridesParser.create().parse_overrides(overrides)
    ]


def compose(config: str, overrides: list[str]):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(config, overrides, return_hydra_config=config == "train")


# What the pages say exists.


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_readme_is_short_and_names_every_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for page in PAGES[1:]:
        assert f"(docs/{page.name})" in text


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    text = "\n".join(page.read_text() for page in PAGES)
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert len(targets) > 4
    assert not [target for target in targets if f"\n{target}:" not in makefile]


def test_extras_that_are_to_be_installed_exist():
    pyproject = (ROOT / "pyproject.toml").read_text()
    text = "\n".join(page.read_text() for page in PAGES)
    extras = set(re.findall(r"'?\.\[(\w+)\]'?", text))
    assert len(extras) > 4
    assert not [extra for extra in extras if f"\n{extra} = [" not in pyproject]


# Every command is one that the program takes, also those that need a network, a GPU or an hour.


def test_something_is_found():
    assert len(in_table()) > 12
    assert len(typed("train.py")) > 40
    assert len(typed("predict.py")) > 4
    assert len(marked()) > 8


@pytest.mark.parametrize("words", typed("train.py"), ids=" ".join)
def test_settings_of_train_compose(words):
    overrides = [w for w in words if w not in ("-m", "--help") and not w.startswith("resume=")]
    settings.check(compose("train", first_values(overrides)))


@pytest.mark.parametrize("words", typed("lecture.py"), ids=" ".join)
def test_settings_of_lecture_compose(words):
    check_lecture(compose("lecture", words))


def test_a_setting_that_does_not_exist_is_found():
    for wrong in ("optim.rate=1", "model=resnet"):
        with pytest.raises(Exception, match=r"rate|resnet"):
            compose("train", [wrong])


# The marked fences run.


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of one short epoch."""
    folder = tmp_path_factory.mktemp("docs") / "RUN"
    done = call(*SHORT, "model=softmax", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


SHIM = """#!{python}
# python or torchrun as a reader has it, with settings added that make training short
import os, sys
words = sys.argv[1:]
if "train.py" in words and not any(w.startswith(("resume=", "--help")) for w in words):
    keys = [w.partition("=")[0] for w in words]
    words += [w for w in {short!r} if w.partition("=")[0] not in keys]
os.execv(sys.executable, [sys.executable, *{start!r}, *words])
"""


@pytest.fixture
def desk(request, tmp_path) -> Path:
    """A folder in which the commands of the pages can be typed."""
    for name in ("train.py", "predict.py", "lecture.py", "exercise.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    picture = Image.new("RGB", (40, 30), "orange")
    (tmp_path / "holiday").mkdir()
    for name in ("cat.jpg", "holiday/beach.png", "holiday/dog.jpg"):
        picture.save(tmp_path / name)
    solved = ROOT / "tests" / "training" / "formulas" / "solved"
    (tmp_path / "mine.py").write_text((solved / "torch_style.py").read_text())
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f"PATH={shlex.quote(str(programs))}:$PATH\n")
    torchrun = ["-m", "torch.distributed.run", "--standalone"]
    for name, start in (("python", []), ("torchrun", torchrun)):
        (programs / name).write_text(SHIM.format(python=sys.executable, short=SHORT, start=start))
        (programs / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("fence", marked())
def test_a_marked_fence_runs_as_written(fence, desk, request):
    environment = {
        **clean_environment(),
        "PATH": f"{desk / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    if "new mine.py" in fence.text:
        (desk / "mine.py").unlink()
    if "RUN" in fence.text:
        shutil.copytree(request.getfixturevalue("run"), desk / "RUN")
    if fence.language == "python":
        arguments = [sys.executable, "-W", "error", "-c", fence.text]
    else:
        arguments = ["bash", "-euo", "pipefail", "-c", fence.text]
    done = subprocess.run(
        arguments, cwd=desk, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
