"""Check a function where it is written, in a notebook: ``check("conv2d", globals())``."""

from collections.abc import Mapping
from typing import Any

from lecture4.lesson.exercises import report
from lecture4.lesson.exercises.cases import CASES
from lecture4.lesson.exercises.child import outcome_here
from lecture4.lesson.exercises.verdict import MISSING, RIGHT, Verdict, judge
from lecture4.support.console import make_console
from lecture4.training.formulas.styles import entries_of


def check(name: str, names: Mapping[str, Any]) -> None:
    """Print what is right and wrong about a formula, case by case if it is not right.

    The function runs in this process, without limits; ``exercise.py check`` sets them.

    Args:
        name: of the formula, such as "conv2d".
        names: of the notebook, ``globals()``.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in CASES:
        raise ValueError(f"{name} is unknown; choose among {', '.join(CASES)}")
    verdict = verdict_on(name, names)
    make_console().print(report.details(verdict, briefly=verdict.status in (RIGHT, MISSING)))


def verdict_on(name: str, names: Mapping[str, Any]) -> Verdict:
    """The verdict on a formula that a notebook defines; a function that raises is not begun."""
    own = {key: f for key, f in names.items() if getattr(f, "__module__", "") == "__main__"}
    entry = entries_of(own).get(name)
    if entry is None:
        return Verdict(name, MISSING)
    code = getattr(names.get(entry.names[0]), "__code__", None)
    outcome = outcome_here(name, entry.call, code.co_filename if code else "<no file>")
    begun = any(raised.kind != "NotImplementedError" for raised in outcome.raised.values())
    if outcome.raised and not outcome.answers and not begun:
        return Verdict(name, MISSING)
    return judge(name, entry.style, entry.names, outcome)
