"""Read formulas from a file: run its statements one by one, then find functions by their names."""

import __future__

import ast
import contextlib
import hashlib
import json
import linecache
import os
import random
import re
import symtable
import sys
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

import numpy as np
import torch

from lecture4.support.code_files import SUFFIXES
from lecture4.support.console import printable
from lecture4.training.formulas.styles import Entry, entries_of
from lecture4.training.formulas.unsolved import is_begun

KEPT = ("%%time", "%%timeit", "%%capture")  # commands whose cell is Python


@dataclass(frozen=True)
class Source:
    """A file of formulas that was read.

    Attributes:
        path: of the file, absolute.
        sha256: of its content.
        entries: the formulas that it has begun, by their names in ``lecture4.byhand``.
        errors: of top-level statements that failed, each "line 3: ModuleNotFoundError: …".
    """

    path: Path
    sha256: str
    entries: dict[str, Entry]
    errors: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()  # with a method forward


@dataclass(frozen=True)
class Part:
    """A Python file, or a cell of a notebook."""

    text: str | bytes
    filename: str  # in tracebacks
    place: str = ""  # before the number of a line, such as "cell 3, "


def read(path: str | os.PathLike, strict: bool = True) -> Source:
    """Run a Python file, or the code cells of a notebook, and find the formulas in it.

    Cells tagged ``check`` are left out. The file is imported under a name other than ``__main__``,
    may import modules that lie beside it, and leaves the state of random generators unchanged.

    Args:
        path: of the file.
        strict: raise the first error of a statement; else collect errors and run the others.

    Raises:
        ValueError: the file cannot be read, or with ``strict`` a statement fails; names file and
            line.
    """
    path = Path(path).expanduser().absolute()
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{printable(path)}: formulas are read from a .py or .ipynb file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{printable(path)} cannot be read: {error.strerror}") from error
    module = sys.modules[f"formulas of {path}"] = ModuleType(f"formulas of {path}")
    module.__file__ = str(path)
    if path.suffix == ".ipynb":
        vars(module)["display"] = lambda *shown, **options: None  # which IPython defines
    errors: list[str] = []
    solved: dict[str, bool] = {}  # names that a part assigns: whether their functions are begun
    with _importing(path.parent) as beside, _generators_unchanged():
        for part in _parts(path, content):
            for message in _run(part, module, solved):
                if strict:
                    raise ValueError(f"{printable(path)}: {message}")
                errors.append(message)
    own = {module.__name__, *beside}
    begun = {
        name: value
        for name, value in vars(module).items()
        if solved.get(name, getattr(value, "__module__", None) in own)
    }
    sha256 = hashlib.sha256(content).hexdigest()
    classes = tuple(k for k, v in begun.items() if isinstance(v, type) and hasattr(v, "forward"))
    return Source(path, sha256, entries_of(begun), tuple(errors), classes)


def _parts(path: Path, content: bytes) -> list[Part]:
    if path.suffix == ".py":
        return [Part(content, str(path))]
    try:
        cells = json.loads(content)["cells"]
        code = [
            (number, "".join(cell["source"]))
            for number, cell in enumerate(cells, 1)
            if cell["cell_type"] == "code"
            and "check" not in cell.get("metadata", {}).get("tags", ())
        ]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{printable(path)} cannot be read as a notebook of version 4") from error
    parts = []
    for number, text in code:
        part = Part(_without_magics(text), f"{path}, cell {number}", f"cell {number}, ")
        lines = text.splitlines(keepends=True)
        linecache.cache[part.filename] = len(text), None, lines, part.filename  # for tracebacks
        parts.append(part)
    return parts


def _without_magics(text: str) -> str:
    """A cell without IPython's commands, such as ``%matplotlib inline`` and ``!pip install``."""
    with contextlib.suppress(SyntaxError, ValueError), warnings.catch_warnings(action="ignore"):
        ast.parse(text)
        return text
    if text.lstrip().startswith("%%") and text.split()[0] not in KEPT:
        return ""
    text = re.sub(r"(?m)^([ \t]*[\w, ]+=[ \t]*)[%!](?!=).*$", r"\1None", text)  # files = !ls
    return re.sub(r"(?m)^([ \t]*)((%{1,2}[a-zA-Z]|!(?!=)|\?).*|[\w.]+\?{1,2}\s*)$", r"\1pass", text)


def _run(part: Part, module: ModuleType, solved: dict[str, bool]) -> Iterator[str]:
    """Run the statements of a part; yield an error for each that fails.

    ``solved`` receives the names that the part assigns otherwise than by an import.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # such as \d in a docstring
            tree = ast.parse(part.text, part.filename)
            flags = compile(tree, part.filename, "exec", dont_inherit=True).co_flags
            codes = [_compiled(node, part.filename, flags) for node in tree.body]
            table = symtable.symtable(part.text, part.filename, "exec")  # type: ignore[arg-type]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield f"{part.place}line {getattr(error, 'lineno', None) or 1}: {described(error)}"
        return
    for symbol in table.get_symbols():
        if symbol.is_assigned() and not symbol.is_imported():
            solved[symbol.get_name()] = True
    for node, code in zip(tree.body, codes, strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            solved[node.name] = is_begun(node)
        try:
            exec(code, vars(module))
        except (Exception, SystemExit) as error:
            line = line_in(part.filename, error) or node.lineno
            yield f"{part.place}line {line}: {described(error)}"


def _compiled(node: ast.stmt, filename: str, flags: int) -> CodeType:
    annotations = flags & __future__.annotations.compiler_flag
    return compile(ast.Module([node], []), filename, "exec", annotations, dont_inherit=True)


def place_in(path: str, error: BaseException) -> str | None:
    """The line of a file of formulas, or cell and line of a notebook, in which an error began."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == path:
            return f"line {frame.lineno}"
        if frame.filename.startswith(f"{path}, cell "):
            return f"{frame.filename.removeprefix(f'{path}, ')}, line {frame.lineno}"
    return None


def line_in(filename: str, error: BaseException) -> int | None:
    """The line of a file in which an exception was raised, or from which it was called."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == filename]
    return lines[-1] if lines else None


def described(error: BaseException) -> str:
    """As "KeyError: 'stride'", in one line."""
    text = next(iter(str(getattr(error, "msg", "") or error).strip().splitlines()), "")
    return f"{type(error).__name__}: {printable(text)}" if text else type(error).__name__


@contextlib.contextmanager
def _importing(folder: Path) -> Iterator[set[str]]:
    """Import modules from a folder first; yield the names of those that were.

    The modules are forgotten at the end, since a file in another folder may have others of the same
    names. The folder stays at the end of the path, for imports within functions.
    """
    before, beside = set(sys.modules), set[str]()
    sys.path.insert(0, str(folder))
    try:
        yield beside
    finally:
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
        for name in set(sys.modules) - before:
            place = Path(getattr(sys.modules[name], "__file__", None) or "/")
            if place.is_relative_to(folder) and "site-packages" not in place.parts:
                beside.add(name)
                del sys.modules[name]


@contextlib.contextmanager
def _generators_unchanged() -> Iterator[None]:
    """Restore the random generators and torch's default dtype at the end."""
    states, dtype = (random.getstate(), np.random.get_state()), torch.get_default_dtype()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_default_dtype(dtype)
