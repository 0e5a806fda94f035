"""Outputs without which a run or a sweep is complete, such as figures and tables."""

import sys
from collections.abc import Callable

from lecture4.support.console import printable, shortened


class Outputs:
    """Writes outputs one by one, and keeps an error from affecting the others.

    Attributes:
        written: the names of those that were written.
    """

    def __init__(self) -> None:
        self.written: list[str] = []
        self._failed: dict[str, dict[str, None]] = {}  # names by reason

    def write(self, name: str, write: Callable[[], object]) -> None:
        """Call ``write``, which returns False if there is nothing to write.

        Record ``name`` as written, or with the reason why it was not.
        """
        try:
            found = write()
        except Exception as error:  # plots, servers and disks fail in many ways
            self._failed.setdefault(reason(error), {})[name] = None
        else:
            self.written += [name] if found is not False else []

    def report(self, where: object = "") -> None:
        """Print on stderr which outputs were not written and why, a line for each reason."""
        for why, names in self._failed.items():
            place = f"{printable(where)}: " if where else ""
            print(f"{place}{', '.join(names)} could not be written: {why}", file=sys.stderr)


def reason(error: BaseException) -> str:
    """The first line of an error, or of the one that caused it, without a path."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return shortened(printable(text.splitlines()[0]))
