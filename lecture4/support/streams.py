"""Standard streams that are closed, full, or whose reader has gone."""

import os
import sys
from typing import IO, Any


class Tolerant:
    """A text stream that drops everything after the first error; ``error`` keeps that error.

    A run's results are in its files, so a run continues when nobody reads what it prints.
    """

    def __init__(self, stream: IO[str]):
        self.stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or drop the text."""
        return self._tried(self.stream.write, text) or len(text)

    def writelines(self, lines: Any) -> None:
        """Write every line."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Flush, or drop what is buffered."""
        self._tried(self.stream.flush)

    def _tried(self, call: Any, *arguments: Any) -> Any:
        if self.error is not None:
            return None
        try:
            return call(*arguments)
        except OSError as error:
            self.error = error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.stream.fileno())  # for what is buffered
            os.close(null)
            return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def tolerate_errors() -> None:
    """Make standard output and error tolerant, and open the null device where one is closed.

    Otherwise the next file to be opened would get the number of a closed stream, and receive what
    is printed.
    """
    for name in ("stdin", "stdout", "stderr"):  # in the order of their numbers
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, Tolerant):
            setattr(sys, name, Tolerant(stream))


def check_written(gone: int = 1) -> None:
    """End a program whose output is its result, if that did not arrive.

    Args:
        gone: exit code if the reader has gone, as with ``| head``.

    Raises:
        SystemExit: the reader has gone; nothing is printed.
        OSError: another error, such as a full disk.
    """
    sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    if isinstance(error, BrokenPipeError):
        sys.exit(gone)
    if error is not None:
        raise OSError(f"standard output: {error.strerror}") from error
