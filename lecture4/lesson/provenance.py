"""Fixed before measured: the source of a claim as git knows it, and the bounds of its first run."""

import datetime
import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lecture4.lesson.lab import Finding
from lecture4.lesson.lab.cache import Cache


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def source_of(file: Path) -> dict[str, Any]:
    """SHA-256 of a claim's file, and the commit that last changed it.

    Returns:
        ``file`` and ``sha256``; ``commit``, its short hash and date, None if git has none;
        ``changed``: the file differs from that commit, or is in none.
    """
    return {
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "commit": _git(file, "log", "-1", "--format=%h (%cs)") or None,
        "changed": bool(_git(file, "status", "--porcelain")),
    }


def _git(file: Path, *arguments: str) -> str:
    """What git prints about a file: nothing without git, or outside of its repositories."""
    command = ["git", "--no-optional-locks", "-C", str(file.parent), *arguments, "--", file.name]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def first_bounds(findings: Iterable[Finding], cache: Cache | None, key: str) -> dict[str, Any]:
    """The bounds with which each finding was first judged, and when; empty without a cache.

    The record survives changes of the code, of which measurements are made anew.
    """
    if cache is None:
        return {}
    first, judged = cache.load(key) or {}, now()
    new = {
        f.name: {"at_least": f.at_least, "at_most": f.at_most, "judged": judged}
        for f in findings
        if f.name not in first
    }
    if new:
        cache.store(key, first | new)
    return first | new
