"""Run each function of a student's file in a process of its own, forked where torch is loaded."""

import collections
import contextlib
import multiprocessing
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import connection
from pathlib import Path
from typing import Any

from lecture4.lesson.exercises.records import LARGEST, Outcome, parse

CHILD = "lecture4.lesson.exercises.child"
ROOT = str(Path(__file__).parents[3])
AT_ONCE = 2
PATIENCE = 3  # times as long by the clock, because a process may have to wait for a processor
GRACE = 2  # seconds beside, to start and to end
PRELOADED = [CHILD]
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def start_server(*preload: str) -> None:
    """Start the process that imports torch once and then forks a child for each function.

    Args:
        preload: further modules that a child would import, such as the main module's.
    """
    if METHOD != "forkserver":
        return
    from multiprocessing import forkserver

    PRELOADED.extend(name for name in preload if name not in PRELOADED)
    multiprocessing.set_forkserver_preload(PRELOADED)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([ROOT, *([before] if before else [])])
    try:
        forkserver.ensure_running()  # Python 3.11 does not give it sys.path
    finally:
        del os.environ["PYTHONPATH"]
        os.environ.update({"PYTHONPATH": before} if before is not None else {})


def listed(path: Path, seconds: float) -> Outcome:
    """Which formulas a file has; they are what it says, and may not exist."""
    ((_, outcome),) = outcomes(path, {None: 0}, seconds)
    return outcome


def outcomes(
    path: Path, cases: Mapping[str | None, int], seconds: float
) -> Iterator[tuple[str | None, Outcome]]:
    """What each function of a file answers, in the order in which the processes end.

    Args:
        path: the student's file.
        cases: the number of cases of each formula; None lists what the file has.
        seconds: of computing for each, and three times as many by the clock.
    """
    lost = {}
    for child in _over(path, cases, seconds, AT_ONCE):
        if child.lost_its_server:
            lost[child.name] = child.cases
        else:
            yield child.name, child.outcome()
    for name, number in lost.items():  # one of them has ended the server: each alone once more
        for child in _over(path, {name: number}, seconds, 1):
            yield name, child.outcome()


def _over(path: Path, cases: Mapping[str | None, int], seconds: float, at_once: int):
    """The processes, as soon as they are over."""
    waiting = collections.deque(cases.items())
    running: list[_Child] = []
    over: list[_Child] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as at_the_end:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(_Child(path, *waiting.popleft(), seconds, folder))
                at_the_end.callback(running[-1].close)
            yield from over
            deadline = min(child.deadline for child in running)
            sentinels = [child.process.sentinel for child in running]
            connection.wait(sentinels, max(0.0, deadline - time.monotonic()))
            over = [child for child in running if child.is_over()]
            running = [child for child in running if child not in over]
        yield from over


class _Child:
    """A process, and the file it adds to, which is opened here first so that it stays that file."""

    def __init__(self, path: Path, name: str | None, cases: int, seconds: float, folder: str):
        from lecture4.lesson.exercises import child  # imports torch

        self.path, self.name, self.cases, self.seconds = path, name, cases, seconds
        self.results, self.place = (
            open(Path(folder, f"{name}.{kind}"), "w+b")  # noqa: SIM115  # see close()
            for kind in ("results", "place")
        )
        arguments = (str(path), name, self.results.name, self.place.name, seconds)
        self.process = _started(child.run, arguments)
        self.overdue = self.ended = False
        self.deadline = time.monotonic() + PATIENCE * seconds + GRACE

    def is_over(self) -> bool:
        """Whether the process has ended; end it if it is overdue."""
        if self.process.exitcode is None and time.monotonic() >= self.deadline:
            self.overdue = True
            with contextlib.suppress(OSError, AttributeError):
                os.kill(self.process.pid, signal.SIGXCPU)  # it writes where it is
                self.process.join(GRACE)
            self.end()
        return self.process.exitcode is not None

    @property
    def lost_its_server(self) -> bool:
        """Whether nobody could tell how the process ended, or whether it has."""
        return METHOD == "forkserver" and self.process.exitcode == 255

    def end(self) -> None:
        """End the process and those that it has started."""
        if self.ended:
            return
        with contextlib.suppress(OSError, AttributeError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.ended = True

    def close(self) -> None:
        """End the process and close its files."""
        self.end()
        self.results.close()
        self.place.close()

    def outcome(self) -> Outcome:
        """What it has written, and why it ended if it did so too early."""
        self.end()  # also processes that it left behind
        outcome = parse(_content(self.results), self.cases)
        if not outcome.finished:
            outcome.ended = outcome.ended or self._reason() + self._line()
        return outcome

    def _reason(self) -> str:
        code = self.process.exitcode or 0
        if self.overdue or code == -getattr(signal, "SIGXCPU", 0):
            return f"no answer within {self.seconds:g} s"
        if code < 0:
            return f"ended by a signal: {signal.strsignal(-code)}"
        return f"ended the process with exit code {code}"

    def _line(self) -> str:
        """The innermost line of the student's file in the traceback, as ``" in line 3"``."""
        trace = _content(self.place).decode(errors="replace")
        name = ascii(str(self.path))[1:-1]
        found = re.search(rf'File "{re.escape(name)}(.*)", line (\d+)', trace)
        return f" ({found[1].strip(' ,:')}{', ' * bool(found[1])}line {found[2]})" if found else ""


def _started(target: Callable, arguments: tuple) -> Any:
    """A process that runs ``target``; the server is started again if another child has ended it."""
    for patience in (0.1, 1, 10, None):
        start_server()
        process = multiprocessing.get_context(METHOD).Process(
            target=target, args=arguments, daemon=True
        )
        try:
            process.start()
            break
        except (EOFError, ConnectionError):
            if patience is None:
                raise
            time.sleep(patience)
    return process


def _content(file) -> bytes:
    file.seek(0)
    return file.read(LARGEST)
