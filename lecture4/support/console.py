"""Rich consoles, tables and printable text."""

from rich import box
from rich.console import Console
from rich.table import Table


def make_console(**options) -> Console:
    """A console that prints text as it is: no markup, emoji codes or highlighting in it.

    It is as wide as the terminal, or 120 columns in a file or a pipe.
    """
    options = {"markup": False, "emoji": False, "highlight": False, **options}
    console = Console(**options)
    return console if console.is_terminal else Console(width=120, **options)


def make_table(*headers: str, **options) -> Table:
    """A table with a rule below the header and no frame."""
    return Table(*headers, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), **options)


def shortened(text: str, word: int = 100, most: int = 1000) -> str:
    """Cut long words, such as paths, in their middle, and the whole text if it is still too long.

    The end of a message, where an error's reason stands, is always kept.
    """
    words = (_cut(part, word) for part in text.split(" "))
    return _cut(" ".join(words), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-most // 2 :]}"


def printable(text: object) -> str:
    """Escape control characters, such as line breaks and escape codes in file names."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
