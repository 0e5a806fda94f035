"""What a process writes is read as plain numbers, or left out."""

import json

import numpy as np
import pytest

from lecture4.lesson.exercises.records import Raised, decode, encode, parse


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.float32(np.nan),
        np.zeros((0, 3)),
        np.array(True),
        np.array("float64"),
        np.array([1 + 2j]),
    ],
    ids=str,
)
def test_arrays_come_back_as_they_were(array):
    (back,) = decode(json.loads(json.dumps(encode({"x": array})))).values()
    assert (back.dtype, back.shape) == (np.asarray(array).dtype, np.shape(array))
    np.testing.assert_array_equal(back, array)


def test_objects_are_refused():
    with pytest.raises(TypeError, match="value is object"):
        encode({"value": np.array([print])})


def line(**changes):
    value = {"dtype": "<f8", "shape": [1], "data": "AAAAAAAA8D8="} | changes
    return {"case": 0, "answers": {"value": value}}


BAD = [
    line(dtype="|O8"),
    line(dtype="f8; import os"),
    line(shape=[2]),
    line(shape=[-1]),
    line(shape=[10**12, 10**12]),
    line(shape="many"),
    line(data="not base64"),
    {"case": 7, "answers": {}},
    {"case": True, "answers": {}},
    {"case": 0, "raised": {"kind": "E", "text": "", "evil": 1}},
    {"entries": {"relu": 1}, "errors": []},
    [1, 2],
    "finished",
    None,
]


@pytest.mark.parametrize("record", BAD, ids=str)
def test_what_no_child_would_write_is_left_out(record):
    text = json.dumps(record).encode()
    outcome = parse(b"\xff{\n" + text + b"\n" + b"[" * 100_000 + b'\n{"finished": true}', 2)
    assert outcome.finished
    assert not any((outcome.answers, outcome.raised, outcome.entries))


def test_a_good_record_is_read():
    raised = {"kind": "ValueError", "text": "no", "place": "line 3", "code": "f(x)"}
    lines = [line(), {"case": 1}, {"case": 1, "raised": raised}, {"printed": "hello"}]
    lines.append({"entries": {"relu": ["torch", ["relu"]]}, "errors": ["line 1: E"]})
    outcome = parse("\n".join(map(json.dumps, lines)).encode(), 2)
    assert outcome.answers[0]["value"].tolist() == [1.0]
    assert outcome.raised[1] == Raised(**raised)
    assert str(outcome.raised[1]) == "ValueError: no (line 3: f(x))"
    assert (outcome.begun, outcome.printed, outcome.finished) == (1, "hello", False)
    assert outcome.entries == {"relu": ("torch", ("relu",))}
    assert outcome.errors == ["line 1: E"]
