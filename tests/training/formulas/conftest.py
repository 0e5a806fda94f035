"""Files of formulas."""

import textwrap
from pathlib import Path

import pytest

from lecture4.training.formulas import read

SOLVED = Path(__file__).parent / "solved"


@pytest.fixture
def entries(tmp_path):
    """The entries of a file with this text."""

    def of(text):
        path = tmp_path / "mine.py"
        path.write_text(textwrap.dedent(text))
        return read(path).entries

    return of


@pytest.fixture(scope="session")
def solved():
    """The entries of each solved file, by its style."""
    return {path.stem: read(path).entries for path in SOLVED.glob("*.py")}
