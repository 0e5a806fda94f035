"""Unsolved files hold every signature of the solved ones, and no body."""

import ast
import json
import os

import nbformat
import pytest

from lecture4.lesson.exercises import template
from lecture4.lesson.exercises.cases import CASES
from lecture4.lesson.exercises.typeset import FORMULAS, formula_of
from lecture4.training.formulas import read

STYLES = pytest.mark.parametrize("style", template.STYLES)


def signatures(text):
    """Arguments of the public functions and of the methods of classes, by name."""
    tree = ast.parse(text)
    nodes = [(node.name, node) for node in tree.body if hasattr(node, "name")]
    nodes += [(f"{name}.{part.name}", part) for name, node in nodes for part in node.body
              if isinstance(part, ast.FunctionDef)]  # fmt: skip
    return {
        name: ast.unparse(node.args)
        for name, node in nodes
        if isinstance(node, ast.FunctionDef) and formula_of(name.split(".")[0])
    }


@STYLES
@pytest.mark.parametrize("suffix", [".py", ".ipynb"])
def test_nothing_is_begun_in_a_new_file(tmp_path, style, suffix):
    path = tmp_path / f"mine{suffix}"
    template.write(path, style)
    source = read(path)
    assert (source.entries, source.errors) == ({}, ())


@STYLES
def test_every_signature_is_kept_and_no_private_name(style):
    solved = (template.SOLVED / template.STYLES[style]).read_text()
    unsolved = template.python(solved, "mine.py")
    assert signatures(unsolved) == {
        name: arguments for name, arguments in signatures(solved).items()
        if "._" not in name or "__init__" in name
    }  # fmt: skip
    assert len(unsolved) < len(solved)
    body = ast.parse(unsolved).body
    assert all(ast.get_docstring(node) for node in body if isinstance(node, ast.FunctionDef))
    assert "def _" not in unsolved.replace("def __init__", "")


@STYLES
def test_a_docstring_of_a_backward_does_not_give_the_gradient(style):
    solved = (template.SOLVED / template.STYLES[style]).read_text()
    for node in ast.parse(template.python(solved, "mine.py")).body:
        if isinstance(node, ast.FunctionDef) and "_backward" in node.name:
            assert ast.get_docstring(node).startswith("Return ∂L/∂")


@STYLES
def test_a_notebook_is_one_and_has_a_check_for_each_formula(tmp_path, style):
    template.write(tmp_path / "mine.ipynb", style)
    book = nbformat.read(tmp_path / "mine.ipynb", as_version=4)
    nbformat.validate(book)
    checks = [cell.source for cell in book.cells if "check" in cell.metadata.get("tags", ())]
    names = list(template.parts((template.SOLVED / template.STYLES[style]).read_text()))
    assert checks == [template.CHECK, *(f'check("{name}", globals())' for name in names)]
    titles = [cell.source for cell in book.cells if cell.source.startswith("## ")]
    assert titles == [f"## {name}\n\n$${FORMULAS[name][1]}$$" for name in names]


@pytest.mark.parametrize("suffix", [".py", ".ipynb"])
def test_an_existing_file_is_not_overwritten(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    path.write_text("mine")
    with pytest.raises(ValueError, match="exists and is not overwritten"):
        template.write(path, "torch")
    assert path.read_text() == "mine"
    (tmp_path / f"link{suffix}").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="exists"):
        template.write(tmp_path / f"link{suffix}", "torch")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full disk")
def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"

    def on_a_full_disk(file, mode, **more):
        file.touch()
        return open("/dev/full", "w")

    monkeypatch.setattr(template, "open", on_a_full_disk, raising=False)
    with pytest.raises(OSError, match="space"):
        template.write(path, "torch")
    assert not path.exists()


def test_the_notebook_is_deterministic():
    solved = (template.SOLVED / "course.py").read_text()
    assert template.notebook(solved) == template.notebook(solved)
    assert json.loads(template.notebook(solved))["nbformat"] == 4


def test_formulas_are_those_of_the_cases():
    assert list(FORMULAS) == list(CASES)
