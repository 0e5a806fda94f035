"""Outputs of which one may fail."""

import json

import pytest

from lecture4.support.files import write_atomically
from lecture4.support.outputs import Outputs, reason


def fail(error: Exception) -> None:
    raise error


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_an_error_does_not_keep_the_others_from_being_written(tmp_path, capsys):
    outputs, full = Outputs(), OSError(28, "No space left on device", "a.png")
    outputs.write("a.png", lambda: fail(full))
    outputs.write("b.png", lambda: (tmp_path / "b.png").write_text("b"))
    outputs.write("c.png", lambda: fail(full))
    outputs.write("d.png", lambda: fail(RuntimeError("no font\nat all")))
    outputs.write("e.png", lambda: False)  # there was nothing to write
    outputs.report(tmp_path)
    assert outputs.written == ["b.png"]
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}: a.png, c.png could not be written: No space left on device",
        f"{tmp_path}: d.png could not be written: no font",
    ]


def test_ctrl_c_is_not_an_error_of_an_output():
    with pytest.raises(KeyboardInterrupt):
        Outputs().write("a.png", lambda: fail(KeyboardInterrupt()))


def test_the_reason_is_that_of_the_first_cause(tmp_path):
    assert reason(caused(RuntimeError("(SQL …)\nlong"), ValueError("the disk is full"))) == (
        "the disk is full"
    )
    assert reason(RuntimeError()) == "RuntimeError"
    assert reason(json.JSONDecodeError("a \x1b[31m", "", 0)).startswith("a \\x1b[31m")
    with pytest.raises(OSError, match=r"could not be saved") as raised:
        write_atomically(tmp_path / "none" / "a.png", "")
    assert reason(raised.value) == "No such file or directory"
