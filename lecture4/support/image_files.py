"""Which files are images, in training and in prediction, by their names alone."""

import os
import unicodedata
from collections import Counter
from pathlib import Path

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".avif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".jp2", ".j2k"),
)
NOT_DATA = ("__MACOSX", "@eaDir", "lost+found")  # folders that systems add


def find_images(folder: str | os.PathLike) -> tuple[list[str], Counter[str]]:
    """List the image files below a folder, sorted, and count what is left out, by reason.

    Regular files with one of ``SUFFIXES`` count, also by links. Links to folders are followed, but
    no folder is read twice. Left out are names that start with a dot, ``NOT_DATA``, other suffixes
    and special files.

    Raises:
        ValueError: there is no image.
        OSError: a folder cannot be read.
    """
    paths, folders = [], [os.fspath(folder)]
    left_out: Counter[str] = Counter()
    seen = {os.fspath(parent) for parent in Path(folder).resolve().parents}
    while folders:
        here = folders.pop()
        if (real := os.path.realpath(here)) in seen:
            left_out["linked folders that were read before"] += 1
            continue
        seen.add(real)
        for name in os.listdir(here):
            path, suffix = os.path.join(here, name), os.path.splitext(name)[1].lower()
            if is_hidden(name):
                left_out["hidden"] += 1
            elif os.path.isdir(path):
                folders.append(path)
            elif suffix not in SUFFIXES:
                left_out[suffix or "without a suffix"] += 1
            elif os.path.exists(path) and not os.path.isfile(path):
                left_out["pipes or devices"] += 1
            else:  # also a dangling link, which reading will name
                paths.append(path)
    if not paths:
        others = f" (left out: {summary(left_out)})" if left_out else ""
        raise ValueError(
            f"{folder} holds no image{others}; accepted suffixes are {', '.join(SUFFIXES)}"
        )
    return sorted(paths, key=_order), left_out


def summary(left_out: Counter[str]) -> str:
    """What was left out: ``2 hidden, 1 .txt``."""
    return ", ".join(f"{n} {reason}" for reason, n in left_out.most_common())


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is never data."""
    return name.startswith(".") or name in NOT_DATA


def _order(path: str) -> tuple[str, str]:
    return unicodedata.normalize("NFC", path), path
