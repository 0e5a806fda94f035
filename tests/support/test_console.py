import io
import os
import re
import subprocess

import pytest

from lecture4.support.console import (
    command_line,
    image_bar,
    make_console,
    make_table,
    printable,
    shortened,
)


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


@pytest.mark.parametrize("text", ["[te] rm", "a/[/x]/b", ":smile:.png", "[red]x[/red]", "[1, 2]"])
@pytest.mark.parametrize("terminal", [False, True])
def test_no_text_is_read_as_markup(text, terminal):
    console = make_console(file=io.StringIO(), force_terminal=terminal)
    console.print(text, soft_wrap=True)
    table = make_table("name", title=text)
    table.add_row(text)
    console.print(table)
    shown = console.file.getvalue()
    assert shown.count(text) == 3
    assert shown.startswith(text + "\n")  # no colour codes within it


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a few words", "a few words"),
        ("x" * 101 + " end", "x" * 49 + "…" + "x" * 50 + " end"),
        ("ab " * 400 + "end", ("ab " * 400)[:499] + "…" + ("ab " * 400 + "end")[-500:]),
    ],
)
def test_long_text_is_cut_in_the_middle(text, shown):
    assert shortened(text) == shown


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


def test_bash_reads_a_command_as_its_words():
    words = ["a b", "it's", '"', "$HOME", "`id`", "!x", "\\", "", "\n", "\t'\x1b\\", "é", "\udcff"]
    done = subprocess.run(
        ["bash", "-c", command_line("printf", "%s\\0", *words)], capture_output=True, check=True
    )
    assert [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]] == words
    assert command_line("python", "train.py", "resume=/a/b") == "python train.py resume=/a/b"


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
