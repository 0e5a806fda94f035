"""What the list shows after checks."""

import hashlib

import pytest

from lecture4.lesson.exercises import progress


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE4_CACHE", str(tmp_path / "cache"))


def shown(capsys):
    progress.show()
    return " ".join(capsys.readouterr().out.split())


def record(file, **found):
    progress.record(file, hashlib.sha256(file.read_bytes()).hexdigest(), found)


def test_the_list_has_every_formula_in_order(capsys):
    out = shown(capsys)
    places = [out.index(f" {name} ") for name in progress.FORMULAS]
    assert places == sorted(places)
    assert "exercise.py new mine.py" in out


def test_the_list_follows_the_last_check(tmp_path, capsys):
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text("1")
    second.write_text("2")
    record(first, linear="right")
    record(second, linear="wrong", relu="right", tanh="not begun")
    record(first, relu="right")
    out = shown(capsys)
    assert f"{first}: 2 of {len(progress.FORMULAS)} right" in out
    first.write_text("changed")
    assert "right; the file has changed since its last check" in shown(capsys)
    first.unlink()
    assert f"{second}: 1 of" in shown(capsys)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"/x": 1}', "\xff"])
def test_a_damaged_record_is_begun_anew(tmp_path, capsys, content):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "exercises.json").write_text(content, encoding="latin-1")
    assert "exercise.py new" in shown(capsys)
    (tmp_path / "mine.py").touch()
    record(tmp_path / "mine.py", linear="right")
    assert "1 of" in shown(capsys)


def test_a_folder_that_cannot_be_written_costs_the_record_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LECTURE4_CACHE", str(tmp_path / "file"))
    record(tmp_path / "file", linear="right")
    assert "exercise.py new" in shown(capsys)
