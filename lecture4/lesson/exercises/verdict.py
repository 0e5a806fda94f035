"""Whether a formula of a file is right, case by case, and what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lecture4.lesson.exercises import diagnosis
from lecture4.lesson.exercises.answers import AUTHOR, expected
from lecture4.lesson.exercises.cases import CASES
from lecture4.lesson.exercises.records import Answers, Outcome, Raised

RIGHT, WRONG, ERROR, STOPPED, MISSING = "right", "wrong", "error", "stopped", "not begun"


@dataclass(frozen=True)
class CaseVerdict:
    """What a formula answered in a case."""

    label: str
    status: str  # right, wrong, error, or stopped
    remark: str = ""  # what is wrong


@dataclass(frozen=True)
class Verdict:
    """What was found about a formula."""

    name: str
    status: str  # right, wrong, error, stopped, or not begun
    style: str = ""
    names: tuple[str, ...] = ()  # in the file
    remark: str = ""  # what is wrong
    mistakes: tuple[str, ...] = ()  # of the catalogue
    cases: tuple[CaseVerdict, ...] = ()
    printed: str = ""

    @property
    def share(self) -> float:
        """The share of cases that are right."""
        right = sum(case.status == RIGHT for case in self.cases)
        return right / len(self.cases) if self.cases else 0.0


@dataclass(frozen=True)
class Checked:
    """What was found in a file.

    Attributes:
        file: as it was named.
        verdicts: on each formula that was asked for, in the lecture's order.
        errors: of statements outside of functions.
    """

    file: Path
    verdicts: tuple[Verdict, ...]
    errors: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether all that is begun is right, and the file is not one of errors alone."""
        found = {v.status for v in self.verdicts}
        return found <= {RIGHT, MISSING} and (RIGHT in found or not self.errors)


def judge(name: str, style: str, names: tuple[str, ...], outcome: Outcome) -> Verdict:
    """Compare the answers of a file's formula with the reference's."""
    keys = {
        i: diagnosis.wrong_keys(name, i, given, expected(name, CASES[name][i]))
        for i, given in outcome.answers.items()
    }
    wrong = diagnosis.pairs(keys)
    cases = tuple(_case(name, i, outcome, keys) for i in range(len(CASES[name])))
    cases = tuple(case for case in cases if case is not None)
    remarks, mistakes = [], ()
    if wrong:
        mistakes, text = _explanation(name, outcome.answers, wrong)
        remarks.append(text)
    if outcome.raised:
        remarks.append(_errors(name, outcome.raised, [*outcome.answers, *outcome.raised]))
    found = {case.status for case in cases}
    if STOPPED in found:
        at = f" in the case {CASES[name][outcome.begun].label!r}" if outcome.begun >= 0 else ""
        remarks.append((outcome.ended or "no answer") + at)
    status = next((s for s in (STOPPED, WRONG, ERROR) if s in found), RIGHT if found else STOPPED)
    authors = {str(given[AUTHOR]) for given in outcome.answers.values() if AUTHOR in given}
    if authors and status == RIGHT:
        remarks.append(f"Computed by {' and '.join(sorted(authors))}")
    remark = " ".join(text if text.endswith((".", "?")) else f"{text}." for text in remarks)
    return Verdict(name, status, style, names, remark, mistakes, cases, outcome.printed)


def _explanation(
    name: str, given: Mapping[int, Answers], wrong: diagnosis.Found
) -> tuple[tuple[str, ...], str]:
    """Names of the mistakes that explain what is wrong, and a sentence."""
    found, rest = diagnosis.mistakes_in(name, given, wrong)
    if not found:
        return (), diagnosis.description(name, given, wrong)
    text = " And: ".join(" Or: ".join(m.hint for m in same) for same in found)
    text += f" And: {diagnosis.description(name, given, rest)}" if rest else ""
    return tuple(m.name for same in found for m in same), text


def _errors(name: str, raised: Mapping[int, Raised], given: list[int]) -> str:
    """The first exception, and in which cases it is raised."""
    place = diagnosis.where(name, frozenset(raised), given)
    first = raised[min(raised)]
    return f"{place}: {first}" if place else str(first)


def _case(
    name: str, i: int, outcome: Outcome, wrong: Mapping[int, list[str]]
) -> CaseVerdict | None:
    case = CASES[name][i]
    label = case.label
    if i in outcome.raised:
        return CaseVerdict(label, ERROR, str(outcome.raised[i]))
    if i not in wrong:
        left_out = case.optional and outcome.finished  # an option that the function does not have
        return None if left_out else CaseVerdict(label, STOPPED)
    if not wrong[i]:
        return CaseVerdict(label, RIGHT)
    wanted = expected(name, CASES[name][i])
    shown = [key for key in wrong[i] if not key.startswith(diagnosis.WEIGHTS)]
    shown += [key for key in wrong[i] if key not in shown][:1]  # the first wrong step
    remarks = [_number(key, outcome.answers[i].get(key), wanted.get(key)) for key in shown]
    return CaseVerdict(label, WRONG, "; ".join(remarks[:3]))


def _number(key: str, given: np.ndarray | None, wanted: np.ndarray | None) -> str:
    """A wrong answer and the right one, at the number where they differ most."""
    if given is None or wanted is None:
        return f"{key} is {'missing' if given is None else 'not expected'}"
    if given.shape != wanted.shape:
        return f"{key}: {diagnosis.shape(given)} instead of {diagnosis.shape(wanted)}"
    if wanted.dtype.kind == "b":
        return diagnosis.in_words(key)
    if not {given.dtype.kind, wanted.dtype.kind} <= set("iuf"):
        return f"{key} is {given} instead of {wanted}"
    a, b = given.astype(float), wanted.astype(float)
    with np.errstate(invalid="ignore"):
        at = np.unravel_index(np.nan_to_num(np.abs(a - b), nan=np.inf).argmax(), a.shape)
    place = f" at {list(map(int, at))}" if at else ""
    return f"{key}{place} is {a[at]:.6g} instead of {b[at]:.6g}"
