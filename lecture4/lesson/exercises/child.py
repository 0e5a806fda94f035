"""What runs in a process of its own: read the student's file, call one function, write answers.

The process may be stopped at any moment, so each answer is a line that is written at once. No file
is open while the student's code runs, except the one for the line at which time ran out.
"""

import contextlib
import faulthandler
import io
import json
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lecture4.lesson.exercises.answers import answers, applies
from lecture4.lesson.exercises.cases import CASES
from lecture4.lesson.exercises.records import LARGEST, Outcome, encode, parse
from lecture4.training.formulas import read, unused

try:
    import resource
except ImportError:  # Windows has no limits; the parent's clock is the only one there
    resource = None  # type: ignore[assignment]

MEMORY = 2**31  # bytes beside what torch takes
KEPT = 2000  # bytes of what the file prints


def run(path: str, name: str | None, results: str, place: str, seconds: float) -> None:
    """Write to ``results`` which formulas a file has, or how formula ``name`` answers its cases.

    Args:
        path: the student's file.
        name: of the formula; None: only list what the file has.
        results: file to which lines are added.
        place: file for the traceback when time runs out.
        seconds: of computing, for reading and for the function.
    """

    def write(record: dict[str, Any]) -> None:
        with open(results, "a") as file:
            file.write(json.dumps(record) + "\n")

    printed = _Printed()
    _isolate(place, printed)
    _limit_time(seconds)
    try:
        source = read(path, strict=False)
    except ValueError as error:  # a notebook of another format, for example
        write({"ended": str(error)})
        os._exit(0)
    entries, errors = source.entries, [*source.errors, *filter(None, [unused(source)])]
    write({"errors": errors, "entries": {n: (e.style, e.names) for n, e in entries.items()}})
    if name in entries:
        _limit_time(seconds)
        answer_cases(name, entries[name].call, path, write)
    write({"printed": printed.text})
    write({"finished": True})
    os._exit(0)  # without waiting for threads or exit handlers of the file


def answer_cases(name: str, call: Callable, path: str, write: Callable[[dict], None]) -> None:
    """Write a record before each case, and one with the answers or what was raised."""
    for i, case in enumerate(CASES[name]):
        write({"case": i})
        try:
            if not applies(name, call, case):
                continue
            record = {"answers": encode(answers(name, call, case))}
        except BaseException as error:  # SystemExit and KeyboardInterrupt, too, cost a row alone
            record = {"raised": described(error, path)}
        write({"case": i, **record})


def outcome_here(name: str, call: Callable, path: str = "<no file>") -> Outcome:
    """How a function answers its cases in this process, without limits."""
    lines: list[str] = []
    answer_cases(name, call, path, lambda record: lines.append(json.dumps(record)))
    outcome = parse("\n".join(lines).encode(), len(CASES[name]))
    outcome.finished = True
    return outcome


def described(error: BaseException, path: str) -> dict[str, str]:
    """An exception as fields of ``Raised``, with the last line of the student's file in it."""
    try:
        text = str(error)
    except Exception:  # its own __str__ fails
        text = ""
    found = {"kind": type(error).__name__, "text": text[:500]}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(path):  # a notebook's cell has its number behind the path
            cell = frame.filename.removeprefix(path).strip(" ,:")
            found["place"] = f"{cell}, line {frame.lineno}" if cell else f"line {frame.lineno}"
            found["code"] = (frame.line or "").strip()[:200]
            break
    return found


def _isolate(place: str, printed: io.RawIOBase) -> None:
    """Close every file, keep what is printed, and limit memory and files."""
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own, which ends as one; Ctrl-C does not reach it
        os.closerange(3, 2**16)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    sys.stdin = sys.__stdin__ = open(os.devnull)  # noqa: SIM115
    text = io.TextIOWrapper(printed, "utf-8", "replace", write_through=True)  # type: ignore[arg-type]
    sys.stdout = sys.__stdout__ = sys.stderr = sys.__stderr__ = text  # type: ignore[misc]
    torch.set_num_threads(1)
    if resource is None:
        return
    trace = open(place, "w")  # noqa: SIM115  # faulthandler writes to it in a signal handler
    faulthandler.register(signal.SIGXCPU, file=trace, all_threads=False, chain=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
    with contextlib.suppress(OSError, ValueError):  # outside of Linux
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit_time(seconds: float) -> None:
    """Raise SIGXCPU after ``seconds`` more of computing; sleeping does not count."""
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        end = math.ceil(used.ru_utime + used.ru_stime + seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (end, hard))


class _Printed(io.RawIOBase):
    """Keeps the beginning of what is printed, and counts the lines."""

    def __init__(self) -> None:
        self.kept, self.lines = b"", 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        data = bytes(data)
        self.lines += data.count(b"\n")
        self.kept += data[: KEPT - len(self.kept)]
        return len(data)

    @property
    def text(self) -> str:
        left_out = self.lines - self.kept.count(b"\n")
        text = self.kept.decode(errors="replace")
        return f"{text}\n… and {left_out:,} lines more\n" if left_out > 0 else text
