"""Rich consoles, tables, progress bars and printable text."""

import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
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


def command_line(*words: str) -> str:
    """A command that bash reads as these words, also if they hold quotes or control characters."""
    return " ".join(
        shlex.quote(word) if word.isprintable() else f"$'{''.join(map(_in_bash, word))}'"
        for word in words
    )


def _in_bash(c: str) -> str:
    """A character inside of $'…'; of a name that is not UTF-8, its bytes."""
    plain = c.isprintable() and c not in "\\'"
    return c if plain else "".join(f"\\x{byte:02x}" for byte in os.fsencode(c))


@contextmanager
def image_bar(console: Console, total: int) -> Iterator[Callable[..., None]]:
    """Show images done, images/s and time left if ``console`` is a terminal.

    Yields a function that counts ``n`` images, one by default.
    """
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images, {task.fields[rate]:,.0f} images/s,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    start, done = time.perf_counter(), 0

    def step(n: int = 1) -> None:
        nonlocal done
        done += n
        if done % 16 < n or done == total:  # an update takes as long as a tenth of an image
            bar.update(task, completed=done, rate=done / (time.perf_counter() - start))

    with bar:
        task = bar.add_task("", total=total, rate=0.0)
        yield step
