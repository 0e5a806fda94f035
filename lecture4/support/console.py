"""Rich consoles and tables in one style, and text that is safe to print."""

from rich import box
from rich.console import Console
from rich.table import Table


def make_console(**options) -> Console:
    """A console as wide as the terminal, or 120 columns wide in a file or a pipe."""
    console = Console(**options)
    return console if console.is_terminal else Console(width=120, **options)


def make_table(**options) -> Table:
    """A table with a rule below the header and no frame."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), **options)


def printable(text: object) -> str:
    """``text`` with control characters escaped; file names may hold line breaks, escape codes."""
    return "".join(
        c if c.isprintable() else ascii(c)[1:-1]  # \n, \x1b, \udc80
        for c in str(text)
    )
