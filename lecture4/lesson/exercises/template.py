"""Unsolved files: the solved ones without their bodies. Nothing here imports torch."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lecture4.lesson.exercises.typeset import FORMULAS, formula_of

SOLVED = Path(__file__).parent / "solved"
STYLES = {"pairs": "pairs.py", "torch": "torch_style.py", "course": "course.py"}
TITLE = "The lecture's formulas, to write yourself"
DEFINITIONS = ast.FunctionDef | ast.ClassDef
TENSORS = ("q", "weight", "bias", "w", "b", "gamma", "beta")  # besides the first argument
CHECK = "from lecture4.lesson.exercises.notebook import check"


def write(file: Path, style: str) -> None:
    """Write a Python file or a notebook of functions to fill in.

    Args:
        file: a .py or .ipynb that does not exist.
        style: one of ``STYLES``.

    Raises:
        ValueError: the file exists; it is unchanged.
        OSError: it cannot be written; nothing is left of it.
    """
    source = (SOLVED / STYLES[style]).read_text(encoding="utf-8")
    text = notebook(source) if file.suffix == ".ipynb" else python(source, file.name)
    try:
        with open(file, "x", encoding="utf-8") as new:
            try:
                new.write(text)
                new.flush()
            except OSError:
                file.unlink()
                raise
    except FileExistsError:
        raise ValueError(f"{file} exists and is not overwritten; choose another name") from None


def python(source: str, name: str) -> str:
    """A solved file without its bodies."""
    title = f'"""{TITLE}.\n\n    python exercise.py check {name}\n"""'
    functions = (text for texts in parts(source).values() for text in texts)
    return "\n\n\n".join([f"{title}\n\n{imports(source)}", *functions]) + "\n"


def notebook(source: str) -> str:
    """A notebook of nbformat 4 with a formula, its functions and a check in a row."""
    cells = [
        _cell("markdown", f"# {TITLE}\n\nEach cell is followed by one that checks it."),
        _cell("code", imports(source)),
        _cell("code", CHECK, tags=["check"]),
    ]
    for name, texts in parts(source).items():
        cells.append(_cell("markdown", f"## {name}\n\n$${FORMULAS[name][1]}$$"))
        cells.append(_cell("code", "\n\n\n".join(texts)))
        cells.append(_cell("code", f'check("{name}", globals())', tags=["check"]))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    whole = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def _cell(kind: str, source: str, **metadata: Any) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "metadata": metadata, "source": source}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def imports(source: str) -> str:
    """The imports of a file."""
    kept = (
        node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)
    )
    return "\n".join(_lines(source, node.lineno, node.end_lineno) for node in kept)


def parts(source: str) -> dict[str, list[str]]:
    """The public functions and classes of a file without their bodies, by formula."""
    found: dict[str, list[str]] = {name: [] for name in FORMULAS}
    nodes = {node.name: node for node in ast.parse(source).body if isinstance(node, DEFINITIONS)}
    for node in nodes.values():
        if name := formula_of(node.name):
            forward = nodes.get(node.name.replace("_backward", "_forward"))
            text = _backward(node, forward) if forward not in (None, node) else None
            found[name].append(text or "\n".join(_emptied(source, node)))
    return {name: texts for name, texts in found.items() if texts}


def _backward(node: ast.FunctionDef, forward: ast.FunctionDef) -> str:
    """A backward pass, whose docstring in the solved file is the gradient that is asked for."""
    names = [argument.arg for argument in forward.args.args]
    tensors = [name for i, name in enumerate(names) if i == 0 or name in TENSORS]
    gradients = ", ".join(f"∂L/∂{name}" for name in tensors)
    return (
        f"def {node.name}({ast.unparse(node.args)}):\n"
        f'    """Return {gradients}; dout is ∂L/∂out."""\n'
        f"    raise NotImplementedError"
    )


def _emptied(source: str, node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """Signature and docstring; of a class also its constructor, and its methods emptied."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    body = node.body
    documented = ast.get_docstring(node) is not None
    yield _lines(source, first, body[0].end_lineno if documented else body[0].lineno - 1)
    if isinstance(node, ast.FunctionDef):
        yield f"{' ' * body[0].col_offset}raise NotImplementedError"
        return
    for method in body:
        if isinstance(method, ast.FunctionDef):
            yield ""
            if method.name == "__init__":
                yield _lines(source, method.lineno, method.end_lineno)
            else:
                yield from _emptied(source, method)


def _lines(source: str, first: int, last: int | None) -> str:
    return "\n".join(source.splitlines()[first - 1 : last])
