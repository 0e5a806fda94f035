"""The terminal."""

from rich.console import Console


def make_console(**options) -> Console:
    """A console as wide as the terminal, and wide enough for our tables in a file or a pipe."""
    console = Console(**options)
    return console if console.is_terminal else Console(width=120, **options)
