"""Check a student's file: run its functions apart from each other, judge their answers, report."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lecture4.lesson.exercises import processes, report
from lecture4.lesson.exercises.broken import broken_definitions
from lecture4.lesson.exercises.cases import CASES
from lecture4.lesson.exercises.progress import record
from lecture4.lesson.exercises.verdict import ERROR, MISSING, Checked, Verdict, judge
from lecture4.support.console import make_console
from lecture4.support.files import write_atomically


def run(
    file: Path,
    names: Sequence[str],
    seconds: float,
    as_json: bool = False,
    gradescope: Path | None = None,
) -> int:
    """Check a file and print what was found.

    Args:
        file: a .py or .ipynb file that exists.
        names: of formulas to show case by case; none for a table of all.
        seconds: of computing for each function.
        as_json: print one object instead.
        gradescope: file for the results of Gradescope's autograder.

    Returns:
        The exit code: 0 if all that is begun is right, else 1.

    Raises:
        ValueError: a name is unknown, or the file cannot be read to its end.
        OSError: a file cannot be read or written.
    """
    console = make_console()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    checked = check(file, names, seconds, make_console(stderr=True))
    record(file, digest, {v.name: v.status for v in checked.verdicts})
    if as_json:
        print(json.dumps(report.as_object(checked), ensure_ascii=False, indent=1))
    else:
        report.show(console, checked, case_by_case=bool(names))
    if gradescope is not None:
        results = report.for_gradescope(checked)
        write_atomically(gradescope, json.dumps(results, ensure_ascii=False, indent=1))
    return 0 if checked.right else 1


def check(
    file: Path, names: Sequence[str], seconds: float, console: Console | None = None
) -> Checked:
    """Judge the formulas of a file, all or those named; a console that is a terminal shows which.

    Raises:
        ValueError: a name is unknown, or the file cannot be read to its end.
    """
    if unknown := [name for name in names if name not in CASES]:
        raise ValueError(f"{unknown[0]} is unknown; choose among {', '.join(CASES)}")
    file_has = processes.listed(file.absolute(), seconds)
    if not file_has.finished:
        named = str(file) in file_has.ended
        raise ValueError(file_has.ended if named else f"{file} cannot be read: {file_has.ended}")
    asked = [name for name in CASES if not names or name in names]
    begun = {name: len(CASES[name]) for name in asked if name in file_has.entries}
    broken = broken_definitions(file, file_has.errors)
    found = {name: Verdict(name, ERROR, remark=broken[name]) for name in asked if name in broken}
    with (console or Console(quiet=True)).status(f"checking {file}"):
        for name, outcome in processes.outcomes(file.absolute(), begun, seconds):
            found[name] = judge(name, *file_has.entries[name], outcome)
    verdicts = tuple(found.get(name, Verdict(name, MISSING)) for name in asked)
    return Checked(file, verdicts, tuple(file_has.errors))
