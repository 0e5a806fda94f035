import hashlib
import math
import shutil
import subprocess

import pytest

from lecture4.lesson.lab import Finding
from lecture4.lesson.lab.cache import Cache
from lecture4.lesson.provenance import first_bounds, source_of

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder, *words):
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", folder, *author, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def claim(tmp_path):
    """A claim's file in a repository, in no commit."""
    git(tmp_path, "init", "--quiet")
    file = tmp_path / "s01_claim.py"
    file.write_text("at_least = 0.5")
    return file


@needs_git
def test_a_committed_claim_has_the_commit_that_last_changed_it(claim):
    folder = claim.parent
    assert (source_of(claim)["commit"], source_of(claim)["changed"]) == (None, True)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=claim")
    commit = git(folder, "log", "-1", "--format=%h (%cs)")
    (folder / "other.py").touch()
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=other")
    assert source_of(claim) == {
        "file": "s01_claim.py",
        "sha256": hashlib.sha256(b"at_least = 0.5").hexdigest(),
        "commit": commit,
        "changed": False,
    }
    claim.write_text("at_least = 0.4")
    assert source_of(claim)["commit"] == commit
    assert source_of(claim)["changed"]
    assert source_of(claim)["sha256"] == hashlib.sha256(b"at_least = 0.4").hexdigest()


def test_without_a_repository_there_is_the_sha256_alone(tmp_path, monkeypatch):
    file = tmp_path / "s01_claim.py"
    file.touch()
    outside = source_of(file)
    assert (outside["commit"], outside["changed"]) == (None, False)
    monkeypatch.setenv("PATH", "")  # without git
    assert source_of(file) == outside


def found(at_least=-math.inf, at_most=math.inf, name="gain"):
    return Finding(name, "…", [1.0], at_least=at_least, at_most=at_most)


def test_the_first_bounds_stay(tmp_path):
    cache = Cache(tmp_path)
    first = first_bounds([found(0.5)], cache, "bounds")
    assert (first["gain"]["at_least"], first["gain"]["at_most"]) == (0.5, math.inf)
    later = first_bounds([found(0.4), found(at_most=2, name="new")], cache, "bounds")
    assert later["gain"] == first["gain"]
    assert later["new"]["at_most"] == 2
    assert first_bounds([found(0.4)], cache, "other claim")["gain"]["at_least"] == 0.4


def test_without_a_cache_no_bounds_are_known():
    assert first_bounds([found(0.5)], None, "bounds") == {}
