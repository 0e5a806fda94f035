"""What was computed once with the same code and configuration is not computed again."""

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import torch

from lecture4.support.conf import CONF

PACKAGE = Path(__file__).parents[2]
APART = (
    "lesson/claims",
    "lesson/page",
)  # a claim's own file is a part of its own key alone, a page's of none


@cache
def code_version() -> str:
    """A hash of the code and configuration files that any result may depend on, and of torch's."""
    digest = hashlib.sha256(torch.__version__.encode())
    files = [
        f for f in PACKAGE.rglob("*.py") if not f.relative_to(PACKAGE).as_posix().startswith(APART)
    ]
    for file in sorted(files) + sorted(CONF.rglob("*.yaml")):
        digest.update(file.relative_to(PACKAGE.parent).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


class Cache:
    """Results in a folder, a file each, named by a hash of everything that went into it.

    Args:
        folder: is made if it is not there.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def key(self, name: str, *parts: Any) -> str:
        """The name of what the parts (plain values) and the code determine."""
        text = json.dumps([code_version(), *parts], sort_keys=True, default=str)
        return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"

    def load(self, key: str) -> Any | None:
        """What was stored, or None. A file that cannot be read counts as none."""
        try:
            return torch.load(self.folder / f"{key}.pt", weights_only=True)
        except Exception:  # whatever a broken file may raise
            return None

    def store(self, key: str, value: Any) -> None:
        """Keep plain values and tensors: whole, or not at all."""
        temporary = self.folder / f".{key}.{os.getpid()}.part"
        torch.save(value, temporary)
        temporary.replace(self.folder / f"{key}.pt")
