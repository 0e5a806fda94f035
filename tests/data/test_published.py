import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import pytest
from running import ROOT
from serving import File

from lecture4.data import download
from lecture4.data.published import Published

DRAW = random.Random(0)
FILES = {name: DRAW.randbytes(30_000) for name in ("one", "two", "meta")}
SUMS = {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()}
TOY = Published("toy", "Toy", "toy/raw", SUMS, ["http://127.0.0.1:9/toy.tar.gz"], "toy-python")
COMPLETE = [".toy.lock", "toy"]


def tar(files, mode="w:gz", folder="toy-py/"):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(folder + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        archive.mkdir("meta")
        for name, content in files.items():
            archive.writestr(f"some/where/{name}", content)
    return packed.getvalue()


ARCHIVE = tar(FILES)


def names(root):
    return sorted(path.name for path in root.iterdir())


def check(root):
    assert names(root / TOY.folder) == sorted(FILES)
    assert {name: TOY.read(root, name) for name in FILES} == FILES


PACKINGS = {
    "tar.gz": ARCHIVE,
    "tar": tar(FILES, "w"),
    "tar.xz": tar(FILES, "w:xz"),
    "tar without folders": tar(FILES, folder=""),
    "zip": zipped(FILES),
    "stored zip": zipped(FILES, zipfile.ZIP_STORED),
    "other order, more files": tar({"readme": b"x", **dict(reversed(FILES.items()))}),
    "a tar in which a zip is stored": tar({"a.zip": zipped({"one": b"no"}, 0), **FILES}, "w"),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_any_packing_will_do(server, tmp_path, packing):
    TOY.obtain(tmp_path, [server.add("x", PACKINGS[packing])])
    check(tmp_path)
    assert names(tmp_path) == COMPLETE
    TOY.obtain(tmp_path, [server.add("x", b"")])
    assert server.asked("x") == [None]


def test_files_are_served_one_by_one_from_a_folder(server, tmp_path):
    for name, content in FILES.items():
        server.add(f"folder/{name}", content)
    TOY.obtain(tmp_path, [f"http://{server.host}/folder/"])
    check(tmp_path)


def test_files_may_come_from_several_sources(server, tmp_path):
    server.add("folder/one", FILES["one"])
    some = server.add("some.tar", tar({"two": FILES["two"], "meta": b"other"}))
    rest = server.add("rest.zip", zipped({"meta": FILES["meta"]}))
    TOY.obtain(tmp_path, [f"http://{server.host}/folder/", some, rest])
    check(tmp_path)


def odd_members():
    """An archive with links, folders, paths that lead elsewhere, and files of the same names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, kind in (("one", tarfile.SYMTYPE), ("two", tarfile.DIRTYPE), ("meta", b"3")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        for name, content in {
            "../../evil": b"x",
            "/tmp/evil": b"x",
            "../../../one": FILES["one"],
            "a/two": b"other",
            "b/two": FILES["two"],
            "/meta": FILES["meta"],
            "c/meta": b"other",
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_nothing_but_the_files_is_unpacked_and_nowhere_else(server, tmp_path):
    root = tmp_path / "a" / "b" / "root"
    TOY.obtain(root, [server.add("x", odd_members())])
    check(root)
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a" / "b") == ["root"]
    assert names(root) == COMPLETE
    assert all(not (root / TOY.folder / name).is_symlink() for name in FILES)


WRONG = {
    "a page": b"<html>Sign in",
    "nothing": b"",
    "half an archive": ARCHIVE[:45_000],
    "a damaged archive": ARCHIVE[:45_000] + b"?" + ARCHIVE[45_001:],
    "a damaged zip": zipped(FILES)[:45_000] + b"?" + zipped(FILES)[45_001:],
    "a file altered": tar({**FILES, "two": b"?" + FILES["two"][1:]}),
    "a file missing": tar({"one": FILES["one"], "meta": FILES["meta"]}),
    "another dataset": tar({"1.png": b"x"}),
    "gzip of something else": PACKINGS["tar.gz"][:10] + b"garbage",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_content_is_refused_and_the_next_source_asked(server, tmp_path, wrong):
    bad, good = server.add("bad", WRONG[wrong]), server.add("good", ARCHIVE)
    with pytest.raises(ConnectionError, match="no source served it") as error:
        TOY.obtain(tmp_path, [bad])
    assert "\n" not in str(error.value)
    assert not TOY.lies_in(tmp_path)
    assert list((tmp_path / ".toy-download").glob("part.*")) == []
    TOY.obtain(tmp_path, [bad, good])
    check(tmp_path)


def test_parts_of_two_archives_are_never_mixed(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CONNECTIONS", 5)
    other = DRAW.randbytes(len(ARCHIVE))
    urls = [server.add("a", other, cut=10_000), server.add("b", ARCHIVE)]
    TOY.obtain(tmp_path, urls)
    check(tmp_path)
    assert server.asked("b") == [50_000, None]


# Archives placed by hand


@pytest.mark.parametrize("name", ["toy-python.tar.gz", "toy-python.zip", "toy-python.tar"])
def test_an_archive_that_is_there_is_unpacked_and_kept(tmp_path, name):
    content = PACKINGS[name.removeprefix("toy-python.")]
    (tmp_path / name).write_bytes(content)
    TOY.obtain(tmp_path)
    check(tmp_path)
    assert (tmp_path / name).read_bytes() == content


def test_a_damaged_archive_is_named_and_kept(server, tmp_path):
    archive = tmp_path / "toy-python.tar.gz"
    archive.write_bytes(ARCHIVE[:45_000])
    with pytest.raises(ConnectionError, match=r"\(toy-python.tar.gz: is no archive .*; 127.0.0.1"):
        TOY.obtain(tmp_path)
    TOY.obtain(tmp_path, [server.add("x", ARCHIVE)])
    check(tmp_path)
    assert archive.read_bytes() == ARCHIVE[:45_000]


def test_if_all_fail_the_error_says_what_each_source_said_and_what_to_do(server, tmp_path):
    urls = [server.add("a", status=500), server.add("b", status=404)]
    with pytest.raises(ConnectionError) as error:
        TOY.obtain(tmp_path, urls)
    assert str(error.value) == (
        f"Toy is not in data.root={tmp_path}, and no source served it ({server.host}: HTTP 500 "
        f"Internal Server Error; {server.host}: HTTP 404 Not Found); place toy-python.tar.gz in "
        f"{tmp_path}, name another source with data.urls=[…], or use data=shapes"
    )
    without = Published("toy", "Toy", "toy/raw", SUMS, urls)
    with pytest.raises(ConnectionError, match=r"its files \(one, two, meta\) in .*/toy/raw"):
        without.obtain(tmp_path)


# Folders


def complete(root):
    folder = root / TOY.folder
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return root


@pytest.mark.parametrize("damage", ["is missing", "is damaged"])
@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_damaged_file_is_named_and_never_replaced(server, tmp_path, name, damage):
    path = complete(tmp_path) / TOY.folder / name
    if damage == "is missing":
        path.unlink()
    else:
        path.write_bytes(FILES[name][:-1])
    TOY.obtain(tmp_path, [server.add("x", ARCHIVE)])
    with pytest.raises(ValueError, match=f"{path} {damage}.*; delete .*toy/raw to download Toy"):
        TOY.read(tmp_path, name)
    assert server.requests == []


@contextlib.contextmanager
def read_only(root):
    """A folder that may not be written to, not even by root, who becomes nobody meanwhile."""
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)


@pytest.fixture
def reachable():
    """A folder that nobody can reach."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("state", ["complete", "empty"])
def test_a_read_only_folder(server, reachable, state):
    url = server.add("x", ARCHIVE)
    if state == "complete":
        complete(reachable)
        with read_only(reachable):
            TOY.obtain(reachable, [url])
            assert {name: TOY.read(reachable, name) for name in FILES} == FILES
    else:
        with read_only(reachable), pytest.raises(ValueError, match="Permission denied") as error:
            TOY.obtain(reachable, [url])
        assert "which cannot be written to" in str(error.value)
        assert "use data=shapes" in str(error.value)
    assert server.requests == []


def test_a_root_that_is_a_file(tmp_path):
    (tmp_path / "root").write_text("not a folder")
    with pytest.raises(ValueError, match=r"which cannot be written to \(File exists\)"):
        TOY.obtain(tmp_path / "root")


@contextlib.contextmanager
def files_of_at_most(size):
    """Writing more than that to a file fails, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", [20_000, 100_000], ids=["transfer", "unpack"])
def test_a_full_disk_is_an_error_and_loses_nothing(server, tmp_path, size):
    large = {**FILES, "two": bytes(200_000)}  # compresses well
    sums = {name: hashlib.md5(content).hexdigest() for name, content in large.items()}
    toy = Published("toy", "Toy", "toy", sums, [server.add("x", tar(large))])
    with files_of_at_most(size), pytest.raises(ValueError, match="cannot be written to") as error:
        toy.obtain(tmp_path)
    assert "File too large" in str(error.value)
    assert not toy.lies_in(tmp_path)
    toy.obtain(tmp_path)
    assert toy.read(tmp_path, "two") == large["two"]
    assert server.asked("x") == ([None, 20_000] if size == 20_000 else [None])


# Processes


def test_threads_that_start_at_once_download_once(server, tmp_path):
    url, go = server.add("x", ARCHIVE), threading.Barrier(3)

    def obtain():
        go.wait()
        TOY.obtain(tmp_path, [url])

    threads = [threading.Thread(target=obtain) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(tmp_path)
    assert server.asked("x") == [None]


SCRIPT = """
import json, sys
from pathlib import Path
from lecture4.data import download
from lecture4.data.published import Published

root, toy = sys.argv[1:]
Published(**json.loads(toy)).obtain(Path(root))
"""


def test_another_process_waits_and_continues_where_the_first_was_killed(server, tmp_path):
    toy = {**vars(TOY), "urls": [server.add("x", ARCHIVE, stall=50_000)]}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path), json.dumps(toy)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    part = tmp_path / ".toy-download" / f"part.{len(ARCHIVE)}"
    while process.poll() is None and not (part.exists() and part.stat().st_size):
        time.sleep(0.02)
    second = threading.Thread(target=Published(**toy).obtain, args=[tmp_path])
    second.start()
    time.sleep(0.1)
    assert server.asked("x") == [None]  # the second waits
    server.files["x"] = File(ARCHIVE)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    second.join(60)
    check(tmp_path)
    assert names(tmp_path) == COMPLETE
    _, start = server.asked("x")
    assert 0 < start <= 50_000
