"""Formulas whose definition failed, such as by a decorator that was not imported."""

import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path

from lecture4.lesson.exercises.typeset import formula_of


def broken_definitions(file: Path, errors: Sequence[str]) -> dict[str, str]:
    """The error of each formula whose definition failed, by the formula's name.

    Args:
        file: Python or notebook.
        errors: of top-level statements, such as "cell 3, line 2: NameError: …".
    """
    found = {}
    for error in errors:
        if match := re.match(r"(?:cell (\d+), )?line (\d+): (\w+)", error):
            cell, line, kind = match.groups()
            text = _text(file, int(cell) if cell else None)
            is_syntax = kind in ("SyntaxError", "IndentationError", "TabError")
            for name in _names(text) if is_syntax else _names_at(text, int(line)):
                if formula := formula_of(name):
                    found[formula] = error
    return found


def _text(file: Path, cell: int | None) -> str:
    text = file.read_text(encoding="utf-8", errors="replace")
    return text if cell is None else "".join(json.loads(text)["cells"][cell - 1]["source"])


def _names(text: str) -> list[str]:
    """The names of functions and classes in a text that cannot be parsed."""
    return re.findall(r"^(?:def|class)\s+(\w+)", text, re.MULTILINE)


def _names_at(text: str, line: int) -> list[str]:
    """The name of the function or class that holds a line, its decorators included."""
    return [
        node.name
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and min([node.lineno, *(d.lineno for d in node.decorator_list)]) <= line
        and line <= (node.end_lineno or line)
    ]
