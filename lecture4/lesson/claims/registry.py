"""Which claims there are: a file for each, numbered in the order of the lecture."""

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lecture4.lesson.lab import Finding, Item, Lab

FILES = {
    file.stem.partition("_")[2]: file.stem
    for file in sorted(Path(__file__).parent.glob("s[0-9][0-9]_*.py"))
}
NAMES = tuple(FILES)


class Claim(Protocol):
    """What the module of a claim holds, beside an optional ``published(m)``.

    ``published`` yields the ``Published`` numbers that answer the question of the claim, too.

    Attributes:
        TITLE: of its section on the page.
        QUOTE: lines of the lecture, each whole and as it stands there, ``$$…$$`` included.
        TEXT: what the experiment does, in a few sentences.
        FORMULAS: of the section, in TeX.
        CODE: functions and classes that implement the formulas; the page shows their source.
    """

    TITLE: str
    QUOTE: Sequence[str]
    TEXT: str
    FORMULAS: Sequence[str]
    CODE: Sequence[Any]

    def measure(self, lab: "Lab") -> Any:
        """Run the experiment; return a dataclass of plain values, every number of the page in it.

        The annotation of the result is the dataclass, by which stored measurements are read.
        """

    def judge(self, m: Any) -> Iterable["Finding"]:
        """Findings of the measurements."""

    def draw(self, m: Any) -> Iterable["Item"]:
        """What the page shows of the measurements."""


def claim(name: str) -> Claim:
    """The claim of that name; its file, and torch, are imported only now."""
    return import_module(f"lecture4.lesson.claims.{FILES[name]}")
