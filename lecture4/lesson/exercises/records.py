"""What comes back from a child process: lines of JSON that hold plain numbers, never objects."""

import base64
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LARGEST = 2**26  # bytes that a process may write
Answers = dict[str, np.ndarray]


@dataclass(frozen=True)
class Raised:
    """An exception, with the line of the student's file in which it occurred."""

    kind: str  # such as ValueError
    text: str
    place: str = ""  # such as "line 12", or "cell 3, line 2"; "" outside of the file
    code: str = ""  # the line itself

    def __str__(self) -> str:
        text = f"{self.kind}: {self.text}" if self.text else self.kind
        return f"{text} ({self.place}: {self.code})" if self.place else text


@dataclass
class Outcome:
    """What a process found out about a file, or about one function of it."""

    entries: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)  # style, names
    errors: list[str] = field(default_factory=list)  # of top-level statements
    answers: dict[int, Answers] = field(default_factory=dict)  # by the number of the case
    raised: dict[int, Raised] = field(default_factory=dict)
    begun: int = -1  # the last case that was begun
    printed: str = ""
    finished: bool = False
    ended: str = ""  # why it did not finish, such as "no answer within 10 s"


def encode(answers: Answers) -> dict[str, Any]:
    """Arrays as values of JSON.

    Raises:
        TypeError: an array holds objects.
    """
    record = {}
    for key, array in answers.items():
        array = np.asarray(array)
        if array.dtype.hasobject:
            raise TypeError(f"{key} is {array.dtype}, not an array of numbers")
        data = base64.b64encode(array.tobytes()).decode()
        record[str(key)] = {"dtype": array.dtype.str, "shape": array.shape, "data": data}
    return record


def decode(record: dict[str, Any]) -> Answers:
    """Arrays from values of JSON; ValueError if they are not what ``encode`` writes."""
    answers = {}
    for key, value in record.items():
        if not re.fullmatch(r"[<>|=][biufcU]\d+", value["dtype"]):
            raise ValueError(f"dtype {value['dtype']}")
        dtype, shape = np.dtype(value["dtype"]), tuple(int(n) for n in value["shape"])
        data = base64.b64decode(value["data"])
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"shape {shape}")
        answers[key] = np.ndarray(shape, dtype, bytearray(data))
    return answers


def parse(text: bytes, cases: int) -> Outcome:
    """The outcome that the lines of a process tell; lines that it would not write are left out."""
    outcome = Outcome()
    for line in text.splitlines():
        try:
            _add(outcome, json.loads(line), cases)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return outcome


def _add(outcome: Outcome, record: dict[str, Any], cases: int) -> None:
    case = record.get("case")
    if case is not None and not (type(case) is int and 0 <= case < cases):
        raise ValueError(f"case {case}")
    match record:
        case {"case": int(), "answers": dict(answers)}:
            outcome.answers[case] = decode(answers)
        case {"case": int(), "raised": dict(raised)}:
            outcome.raised[case] = Raised(**{k: str(v) for k, v in raised.items()})
        case {"case": int()}:
            outcome.begun = case
        case {"entries": dict(entries), "errors": list(errors)}:
            outcome.entries = {
                name: (str(style), tuple(str(n) for n in names))
                for name, (style, names) in entries.items()
            }
            outcome.errors = [str(error) for error in errors]
        case {"printed": str(printed)}:
            outcome.printed = printed
        case {"ended": str(ended)}:
            outcome.ended = ended
        case {"finished": True}:
            outcome.finished = True
