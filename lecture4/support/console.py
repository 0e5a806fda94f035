"""Rich consoles, tables and printable text."""

from rich import box
from rich.console import Console
from rich.table import Table


def make_console(**options) -> Console:
    """A console as wide as the terminal, or 120 columns in a file or a pipe."""
    console = Console(**options)
    return console if console.is_terminal else Console(width=120, **options)


def make_table(*headers: str, **options) -> Table:
    """A table with a rule below the header and no frame."""
    return Table(*headers, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), **options)


def printable(text: object) -> str:
    """Escape control characters, such as line breaks and escape codes in file names."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
