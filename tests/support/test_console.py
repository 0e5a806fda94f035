import io
import re

import pytest

from lecture4.support.console import image_bar, make_console, make_table, printable


def test_a_console_that_is_no_terminal_is_120_columns_wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert make_console(file=io.StringIO(), force_terminal=False).width == 120


def test_a_terminal_keeps_its_own_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    assert make_console(file=io.StringIO(), force_terminal=True).width == 40


def test_a_table_has_a_rule_below_its_header_and_no_frame():
    table = make_table()
    table.add_column("layer")
    table.add_row("conv1")
    console = make_console(file=io.StringIO(), force_terminal=False)
    console.print(table)
    lines = [line.strip() for line in console.file.getvalue().splitlines() if line.strip()]
    assert [line.strip("─") for line in lines] == ["layer", "", "conv1"]


def test_the_bar_shows_images_per_second_and_time_left_on_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    terminal, pipe = io.StringIO(), io.StringIO()
    for file, is_terminal in ((terminal, True), (pipe, False)):
        console = make_console(file=file, force_terminal=is_terminal)
        with image_bar(console, 40) as step:
            for _ in range(40):
                step()
    assert re.search(r"40/40.* images, .*\d.* images/s, .*0:00:00.* left", terminal.getvalue())
    assert pipe.getvalue().strip() == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat é 猫.jpg", "cat é 猫.jpg"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\udc80", r"\udc80"),  # a byte that is not UTF-8, as Python reads it in file names
        ("\u202egpj.exe", r"\u202egpj.exe"),  # right-to-left override
        (3, "3"),
    ],
)
def test_control_characters_are_escaped(text, shown):
    assert printable(text) == shown
