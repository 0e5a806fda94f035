"""What the Makefile offers, and that what it installs for each target is enough."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from running import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def make(*arguments: str) -> str:
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=outside, capture_output=True, text=True, check=True
    ).stdout


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@needs_make
def test_help_lists_every_target():
    shown = make("help")
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    listed = [line.split()[0] for line in shown.splitlines()]
    assert sorted(listed) == sorted(targets.split())
    assert all(len(line.split()) > 1 for line in shown.splitlines())


@needs_make
@pytest.mark.parametrize(
    ("target", "dev"),
    [("demo", False), ("lecture", False), ("test", True), ("test-all", True), ("lint", True)],
)
def test_only_developers_targets_install_what_developers_need(target, dev, tmp_path):
    shown = make("--dry-run", target, f"VENV={tmp_path / 'venv'}")
    assert "--editable .\n" in shown
    assert ("--editable '.[dev]'" in shown) == dev


@needs_make
def test_a_second_run_installs_nothing(tmp_path):
    for stamp in (".installed", ".installed-dev"):
        (tmp_path / stamp).touch()
    assert "pip" not in make("--dry-run", "test", f"VENV={tmp_path}")


@needs_make
def test_pytest_takes_the_arguments(tmp_path):
    shown = make("--dry-run", "test", f"VENV={tmp_path}", "PYTEST_ARGS=-n 0 -x")
    assert " -m 'not slow' -n 0 -x\n" in shown


def closure(requirements: list[str]) -> set[str]:
    """The distributions that the requirements bring, directly or not."""
    found, waiting = set(), [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name not in found and (not requirement.marker or requirement.marker.evaluate()):
            found.add(name)
            waiting += [Requirement(text) for text in requires(name) or ()]
    return found


def imported(tree: ast.AST, within_functions: bool) -> set[str]:
    """Top-level names of the packages that a file imports."""
    names, waiting = set(), [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
        elif within_functions or not isinstance(node, ast.FunctionDef):
            waiting += ast.iter_child_nodes(node)
    return names - set(sys.stdlib_module_names) - {"lecture4", "hydra_plugins"}


providers = cache(packages_distributions)  # reads the metadata of every installed package


def not_from(dists: set[str], names: set[str]) -> set[str]:
    known = providers()
    return {n for n in names if not {d.lower().replace("_", "-") for d in known[n]} & dists}


def code() -> dict[str, ast.AST]:
    paths = [*ROOT.glob("*.py"), *(ROOT / "hydra_plugins").rglob("*.py")]
    paths += (ROOT / "lecture4").rglob("*.py")
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in paths}


def test_the_core_brings_every_package_that_is_imported_when_a_module_is():
    core = closure(PROJECT["dependencies"])
    assert "optuna" not in core
    missing = {path: not_from(core, imported(tree, False)) for path, tree in code().items()}
    assert not {path: names for path, names in missing.items() if names}
    assert not_from(core, imported(ast.parse("import yaml, optuna"), False)) == {"optuna"}
    assert imported(ast.parse("def f():\n    import optuna"), False) == set()


def test_the_extras_bring_the_packages_that_functions_import():
    extras = [r for listed in PROJECT["optional-dependencies"].values() for r in listed]
    every = closure([*PROJECT["dependencies"], *(r for r in extras if "lecture4[" not in r)])
    missing = {path: not_from(every, imported(tree, True)) for path, tree in code().items()}
    assert not {path: names for path, names in missing.items() if names}
    assert imported(ast.parse("def f():\n    import optuna"), True) == {"optuna"}


def bounds(requirements: list[str]) -> dict[str, str]:
    """The lower bound, or the pin, of each distribution."""
    found = [Requirement(text) for text in requirements if "lecture4[" not in text]
    return {r.name: s.version for r in found for s in r.specifier if s.operator in (">=", "==")}


def test_the_oldest_environment_has_every_lower_bound():
    extras = [r for listed in PROJECT["optional-dependencies"].values() for r in listed]
    pins = (ROOT / "tests" / "lower-bounds.txt").read_text().splitlines()
    assert all("==" in pin for pin in pins)
    assert bounds(pins) == bounds([*PROJECT["dependencies"], *extras])
