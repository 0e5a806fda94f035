"""What was checked: as a table, as one object of JSON, and as Gradescope's results."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from lecture4.lesson.exercises.verdict import MISSING, RIGHT, Checked, Verdict
from lecture4.support.console import make_table, printable

COLOUR = {RIGHT: "green", MISSING: "dim"}  # others are red


def show(console: Console, checked: Checked, case_by_case: bool) -> None:
    """Print a row for each formula, or for each case of the formulas."""
    if case_by_case:
        for verdict in checked.verdicts:
            console.print(details(verdict))
    else:
        console.print(table(checked.verdicts))
    for error in checked.errors:
        console.print(printable(error), style="red")


def table(verdicts: Sequence[Verdict]) -> Group:
    """A row for each formula that is begun, and the names of the others."""
    rows = make_table("formula", "", "cases", "what is wrong")
    for column in rows.columns[:3]:
        column.no_wrap = True
    begun = [v for v in verdicts if v.status != MISSING]
    for v in begun:
        right = sum(case.status == RIGHT for case in v.cases)
        cases = f"{right}/{len(v.cases)}" if v.cases else ""
        rows.add_row(v.name, _status(v.status), cases, printable(v.remark))
    missing = [v.name for v in verdicts if v.status == MISSING]
    parts: list[Any] = [rows] if begun else []
    parts += [Text(f"not begun: {', '.join(missing)}", "dim")] if missing else []
    return Group(*parts, f"{sum(v.status == RIGHT for v in begun)} of {len(verdicts)} right")


def details(verdict: Verdict, briefly: bool = False) -> Group:
    """The verdict on a formula, a row for each case unless ``briefly``, and what it printed."""
    names = f" ({', '.join(verdict.names)})" if verdict.names not in ((), (verdict.name,)) else ""
    parts: list[Any] = [Text.assemble(f"{verdict.name}{names}: ", _status(verdict.status))]
    if verdict.cases and not briefly:
        rows = make_table("case", "", "what is wrong")
        for case in verdict.cases:
            rows.add_row(case.label, _status(case.status), printable(case.remark))
        parts.append(rows)
    parts += [printable(verdict.remark)] if verdict.remark else []
    if verdict.printed:
        parts += ["printed:", *(f"  {printable(line)}" for line in verdict.printed.splitlines())]
    return Group(*parts)


def _status(status: str) -> Text:
    return Text(status, COLOUR.get(status, "red"))


def as_object(checked: Checked) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "file": str(checked.file),
        "right": checked.right,
        "errors": checked.errors,
        "formulas": [asdict(v) for v in checked.verdicts],
    }


def for_gradescope(checked: Checked) -> dict[str, Any]:
    """Gradescope's results.json: a point for each formula, in parts by the cases that are right."""
    return {
        "visibility": "visible",
        "output": "\n".join(checked.errors),
        "tests": [
            {
                "name": v.name,
                "score": 1.0 if v.status == RIGHT else round(v.share, 2),
                "max_score": 1.0,
                "status": "passed" if v.status == RIGHT else "failed",
                "output": f"{v.status}. {v.remark}" if v.remark else v.status,
                "visibility": "visible",
            }
            for v in checked.verdicts
        ],
    }
