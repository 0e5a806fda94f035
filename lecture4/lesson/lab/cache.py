"""A cache of results on disk, keyed by the code and the settings that determine them."""

import hashlib
import io
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from lecture4.support.conf import CONF
from lecture4.support.files import write_atomically

PACKAGE = Path(__file__).parents[2]
# Trainings do not depend on these: claims have a key of their own, the page is written anew.
APART = ("lesson/claims", "lesson/page")


@cache
def code_version() -> str:
    """A hash of torch's version and of all code and configuration that a training depends on."""
    files = [
        f for f in PACKAGE.rglob("*.py") if not f.relative_to(PACKAGE).as_posix().startswith(APART)
    ]
    return _hash([*files, *CONF.rglob("*.yaml")])


def claims_version() -> str:
    """A hash of all files in ``lesson/claims``: a claim may import from another."""
    return _hash((PACKAGE / "lesson" / "claims").glob("*.py"))


def _hash(files: Iterable[Path]) -> str:
    digest = hashlib.sha256(torch.__version__.encode())
    for file in sorted(files):
        digest.update(file.relative_to(PACKAGE.parent).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


class Cache:
    """Results in a folder, one file each, named by a hash of everything that determines it.

    Args:
        folder: created if it does not exist.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def key(self, name: str, *parts: Any) -> str:
        """The key of a result that the code and these plain values determine."""
        text = json.dumps([code_version(), *parts], sort_keys=True, default=str)
        return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"

    def load(self, key: str) -> Any | None:
        """What was stored, or None. A file that cannot be read counts as missing."""
        try:
            return torch.load(self.folder / f"{key}.pt", weights_only=True)
        except Exception:  # a broken file may raise anything
            return None

    def store(self, key: str, value: Any) -> None:
        """Store plain values and tensors atomically."""
        content = io.BytesIO()
        torch.save(value, content)
        write_atomically(self.folder / f"{key}.pt", content.getbuffer())
