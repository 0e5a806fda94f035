import errno
import os
import signal
import subprocess
import sys
import zipfile

import pytest
from running import ROOT

from lecture4.support.files import cache_folder, check_archive, write_atomically


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("η = 0.01\n", "η = 0.01\n".encode()),
        (b"\x00\xff", b"\x00\xff"),
        (memoryview(b"\x00\xff"), b"\x00\xff"),
    ],
)
def test_writes_text_as_utf8_and_bytes_as_they_are(tmp_path, content, expected):
    path = tmp_path / "file"
    write_atomically(path, content)
    assert path.read_bytes() == expected
    assert list(tmp_path.iterdir()) == [path]


def test_replaces_the_previous_file(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "first, and longer")
    write_atomically(path, "second")
    assert path.read_text() == "second"


@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
@pytest.mark.parametrize("previous", [None, "first"])
def test_a_failed_write_names_the_file_and_keeps_the_previous_one(
    tmp_path, monkeypatch, failing, previous
):
    path = tmp_path / "file"
    if previous:
        path.write_text(previous)

    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os if failing == "replace" else type(path), failing, fail)
    with pytest.raises(OSError, match="could not be saved: No space left on device") as caught:
        write_atomically(path, "second")
    monkeypatch.undo()
    assert str(path) in str(caught.value)
    assert ("the previous file is unchanged" in str(caught.value)) == bool(previous)
    assert list(tmp_path.iterdir()) == ([path] if previous else [])
    if previous:
        assert path.read_text() == previous


KILLED = """
import os, signal, sys
from pathlib import Path
from lecture4.support.files import cache_folder, check_archive, write_atomically

def write_half(path, content):
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

Path.write_bytes = write_half
write_atomically(Path(sys.argv[1]), "second, and longer")
"""


def test_a_kill_within_the_write_leaves_the_previous_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("first")
    done = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "first"


def test_an_archive_is_checked_part_by_part(tmp_path):
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "first")
        archive.writestr("b", "second")
    check_archive(path)
    path.write_bytes(path.read_bytes().replace(b"second", b"sekond"))
    with pytest.raises(ValueError, match="its part b differs from its checksum"):
        check_archive(path)
    path.write_text("text")
    with pytest.raises(ValueError, match="it cannot be read"):
        check_archive(path)


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LECTURE4_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("LECTURE4_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "lecture4"
