import io
import random
from pathlib import Path

import pytest
from rich.console import Console

from lecture4.data import download as module
from lecture4.data.download import NotServed, download

CONTENT = random.Random(0).randbytes(60_000)
OTHER = random.Random(1).randbytes(60_000)  # as long
LONGER = random.Random(2).randbytes(70_000)
SLOW = {"pace": 10}  # at most 500 bytes per second


@pytest.fixture
def impatient(monkeypatch):
    """10 bytes every 20 ms are too slow, and what comes at once never is."""
    monkeypatch.setattr(module, "SPEED", 2_000)
    monkeypatch.setattr(module, "WINDOW", 0.1)


@pytest.fixture
def fetch(tmp_path):
    """Download from URLs; return what is accepted: CONTENT or LONGER."""
    accepted = []

    def accept(path):
        if path.read_bytes() not in (CONTENT, LONGER):
            raise NotServed("is wrong")
        accepted.append(path.read_bytes())

    def fetch(*urls):
        download(urls, tmp_path / "file", accept)
        return accepted.pop()

    return fetch


def parts(tmp_path):
    return {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("how", [{}, {"lie": None}, {"ranges": False}], ids=str)
def test_the_first_source_that_serves_is_used(server, fetch, tmp_path, how):
    urls = [server.add("gone", status=404), server.add("a", CONTENT, **how), server.add("b")]
    assert fetch(*urls) == CONTENT
    assert server.requests == [("gone", None), ("a", None)]
    assert parts(tmp_path) == {}


def test_redirections_are_followed(server, fetch):
    server.add("there", CONTENT)
    assert fetch(server.add("here", location="/there")) == CONTENT


def test_a_file_is_a_source(fetch, tmp_path_factory):
    mirror = tmp_path_factory.mktemp("mirror") / "file"
    mirror.write_bytes(CONTENT)
    assert fetch("nonsense", (mirror.parent / "none").as_uri(), mirror.as_uri()) == CONTENT


def test_a_broken_transfer_is_continued_at_the_same_source(server, fetch, tmp_path):
    assert fetch(server.add("a", CONTENT, cut=25_000)) == CONTENT
    assert parts(tmp_path) == {}
    assert server.asked("a") == [None, 25_000, 50_000]


def test_a_source_that_breaks_off_again_and_again_is_left_for_the_next(
    server, fetch, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "CONNECTIONS", 5)
    broken, good = server.add("a", CONTENT, cut=1_000), server.add("b", CONTENT)
    with pytest.raises(NotServed, match="broke off after 5,000 of 60,000 bytes"):
        fetch(broken)
    assert parts(tmp_path) == {"file.60000": CONTENT[:5_000]}
    assert fetch(broken, good) == CONTENT
    assert server.asked("b") == [10_000]


def test_a_slow_source_is_left_for_the_next_which_continues(server, fetch, impatient):
    slow, good = server.add("slow", CONTENT, **SLOW), server.add("good", CONTENT)
    assert fetch(slow, good) == CONTENT
    assert server.asked("slow") == [None]
    (start,) = server.asked("good")
    assert 0 < start < len(CONTENT)


def test_slow_sources_are_better_than_none(server, tmp_path, impatient):
    content = CONTENT[:300]
    urls = [server.add("slow", content, **SLOW), server.add("gone", status=404)]
    arrived = []
    download(urls, tmp_path / "file", lambda path: arrived.append(path.read_bytes()))
    assert arrived == [content]
    first, second = server.asked("slow")
    assert (first, second > 0) == (None, True)


@pytest.mark.parametrize("stall", [0, 30_000], ids=["before the header", "half-way"])
def test_a_source_that_hangs_is_left_for_the_next(server, fetch, stall, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.4)
    bad, good = server.add("a", CONTENT, stall=stall), server.add("b", CONTENT)
    assert fetch(bad, *[good] * 5) == CONTENT  # on a busy machine it may answer too late, too
    assert server.requests[0] == ("a", None)
    assert server.requests[-1] == ("b", stall or None)


def test_the_reason_of_a_source_that_hangs(server, fetch, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with pytest.raises(NotServed, match=r"no answer in 0.1 s"):
        fetch(server.add("a", stall=0))
    with pytest.raises(NotServed, match=r"sent nothing for 0.1 s|no answer in 0.1 s"):
        fetch(server.add("a", CONTENT, stall=5))


REFUSALS = {"the whole file instead": False, "416": 416, "501": 501}


@pytest.mark.parametrize("ranges", REFUSALS.values(), ids=REFUSALS)
def test_a_source_that_refuses_ranges_sends_all(server, fetch, tmp_path, ranges):
    (tmp_path / "file.60000").write_bytes(CONTENT[:40_000])
    assert fetch(server.add("a", CONTENT, ranges=ranges)) == CONTENT


def test_a_source_that_refuses_ranges_does_not_lose_what_has_come(server, fetch, tmp_path):
    (tmp_path / "file.60000").write_bytes(CONTENT[:40_000])
    with pytest.raises(NotServed, match="broke off after 20,000"):
        fetch(server.add("a", CONTENT, ranges=False, cut=20_000))
    assert parts(tmp_path) == {"file.60000": CONTENT[:40_000]}


@pytest.mark.parametrize("cut", [None, 25_000])
def test_parts_that_do_not_fit_are_replaced_by_the_whole_file(server, fetch, tmp_path, cut):
    (tmp_path / "file.60000").write_bytes(OTHER[:30_000])
    assert fetch(server.add("a", CONTENT, cut=cut)) == CONTENT
    assert server.asked("a")[0] == 30_000
    assert None in server.asked("a")


def test_a_file_of_another_size_is_not_mixed_in_and_both_parts_are_kept(
    server, fetch, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "CONNECTIONS", 5)
    a, b = server.add("a", CONTENT, cut=10_000), server.add("b", LONGER, cut=11_000)
    with pytest.raises(NotServed, match=r"50,000 of 60,000 .*55,000 of 70,000"):
        fetch(a, b)
    assert parts(tmp_path) == {"file.60000": CONTENT[:50_000], "file.70000": LONGER[:55_000]}
    server.requests.clear()
    download([a], tmp_path / "file", lambda path: None)
    assert parts(tmp_path) == {"file.70000": LONGER[:55_000]}
    assert server.asked("a") == [55_000, 50_000]


@pytest.mark.parametrize(
    "how", [{"shift": 5_000}, {"shift": -5_000}, {"total": 60_001}, {"total": 30_000}], ids=str
)
def test_a_false_range_does_no_harm(server, fetch, tmp_path, how):
    (tmp_path / "file.60000").write_bytes(CONTENT[:30_000])
    assert fetch(server.add("a", CONTENT, **how)) == CONTENT


@pytest.mark.parametrize(("lie", "reason"), [(10, "broke off after 60,000"), (-10, "is wrong")])
def test_a_false_length_is_noticed(server, fetch, lie, reason):
    lying = server.add("a", CONTENT, lie=lie)
    with pytest.raises(NotServed, match=reason):
        fetch(lying)
    assert fetch(lying, server.add("b", CONTENT)) == CONTENT


def test_other_bytes_are_refused_and_deleted(server, fetch, tmp_path):
    wrong = server.add("a", OTHER)
    with pytest.raises(NotServed, match="is wrong"):
        fetch(wrong)
    assert parts(tmp_path) == {}
    assert server.asked("a") == [None]
    assert fetch(wrong, server.add("b", CONTENT)) == CONTENT


@pytest.mark.parametrize(("content", "requests"), [(CONTENT, 0), (OTHER, 1)], ids=["good", "bad"])
def test_a_complete_file_of_a_killed_process_is_looked_at_first(
    server, fetch, tmp_path, content, requests
):
    (tmp_path / "file.60000").write_bytes(content)
    assert fetch(server.add("a", CONTENT)) == CONTENT
    assert server.asked("a") == [None] * requests


def test_each_source_says_why(server, fetch):
    urls = {
        server.add("a", status=404): "HTTP 404 Not Found",
        server.add("b", status=599): "HTTP 599",
        server.add("c", location="/c"): "HTTP 302 Found",
        "http://no-such-host.invalid/x": "",
        "http://127.0.0.1:9/x": "Connection refused",
        "http://user:password@127.0.0.1:9/x": "",
        "nonsense": "unknown url type: 'nonsense'",
    }
    with pytest.raises(NotServed) as error:
        fetch(*urls)
    said = str(error.value)
    assert "\n" not in said
    assert "password" not in said
    for part, (url, reason) in zip(said.split("; "), urls.items(), strict=True):
        host = url.split("/")[-2:][0].removeprefix("user:password@")
        assert part.startswith(f"{host}: {reason}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_file_that_cannot_be_written_is_no_fault_of_the_source(server, fetch, tmp_path):
    (tmp_path / "file.60000").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        fetch(server.add("a", CONTENT), server.add("b", CONTENT))
    assert server.asked("b") == []


def test_a_terminal_shows_bytes_and_time_left(server, fetch, monkeypatch, capsys):
    url, screen = server.add("a", CONTENT), io.StringIO()
    fetch(url)
    assert capsys.readouterr() == ("", f"downloading from {server.host}\n")
    terminal = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(module, "make_console", lambda stderr: terminal)
    fetch(url)
    shown = screen.getvalue()
    for part in (f"from {server.host}", "60.0/60.0 kB", "0:00", "left"):
        assert part in shown
