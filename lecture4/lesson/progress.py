"""The claim at work: a bar on a terminal, and a line for each claim in any case."""

from collections.abc import Sequence

from rich.progress import BarColumn, Progress, TextColumn

from lecture4.support.console import make_console


class ClaimProgress:
    """Shows which claim is being measured, and how each ended.

    Args:
        names: of the claims, in order.
        kept: measurements are cached, so that an interrupted run continues where it stopped.
    """

    def __init__(self, names: Sequence[str], kept: bool = True):
        self.names, self.kept = list(names), kept
        self._console = make_console()
        self._bar = Progress(
            TextColumn("{task.completed}/{task.total}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=len(self.names))
        self._at_work = ""

    def __enter__(self) -> "ClaimProgress":
        self._bar.start()
        return self

    def __exit__(self, kind, error, trace):
        self._bar.stop()
        if isinstance(error, KeyboardInterrupt | SystemExit):
            done = self.names.index(self._at_work) if self._at_work else 0
            kept = "are kept; the same command continues from there" if self.kept else "were done"
            make_console(stderr=True).print(
                f"interrupted at {self._at_work or 'the start'}; "
                f"{done} of {len(self.names)} claims {kept}",
                soft_wrap=True,
            )
            raise SystemExit(130) from error

    def begin(self, name: str) -> None:
        """Show that this claim is being measured."""
        self._at_work = name
        self._bar.update(self._task, completed=self.names.index(name), description=name)
        if not self._console.is_terminal:
            self._print(name, "…")

    def note(self, text: str) -> None:
        """Show what is being done for the current claim."""
        text = text if len(text) <= 60 else text[:59] + "…"
        self._bar.update(self._task, description=f"{self._at_work}: {text}")

    def end(self, name: str, result: str, seconds: float | None) -> None:
        """Print a claim's verdict and the seconds it took; None if it came from the cache."""
        spent = "measured before" if seconds is None else f"{seconds:.1f} s"
        self._print(name, f"{result:14} {spent}")

    def _print(self, name: str, text: str) -> None:
        number = f"{self.names.index(name) + 1:2}/{len(self.names)}"
        self._console.print(f"{number}  {name:14} {text}", soft_wrap=True)
