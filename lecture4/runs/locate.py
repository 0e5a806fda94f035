"""Find the files that predict.py is given, before torch is imported."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from lecture4.support.console import printable
from lecture4.support.image_files import find_images


def find_checkpoint(path: str | os.PathLike) -> Path:
    """A ``.ckpt`` file itself; of a run's directory, ``best.ckpt``, or else ``last.ckpt``.

    Raises:
        ValueError: there is none.
    """
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        what = "is not a file" if path.exists() else "does not exist"
        raise ValueError(f"{printable(path)} {what}; give a run's directory or a .ckpt file in it")
    for folder in (path / "checkpoints", path):
        for name in ("best.ckpt", "last.ckpt"):
            if (folder / name).is_file():
                return folder / name
    runs = sorted({p.parent.parent.name for p in path.glob("*/checkpoints/*.ckpt")})
    hint = f"give one of the runs in it: {', '.join(runs)}" if runs else "it is not a run"
    raise ValueError(
        f"{printable(path)} has no checkpoints/best.ckpt and no checkpoints/last.ckpt; "
        f"{printable(hint)}"
    )


def list_images(inputs: Iterable[str]) -> tuple[list[str], Counter[str]]:
    """List files as given, with any suffix, and the images below folders, sorted.

    Returns:
        The paths, and the number of files left out below folders, by reason.

    Raises:
        ValueError: a path does not exist, or a folder holds no image.
    """
    paths: list[str] = []
    left_out: Counter[str] = Counter()
    for given in inputs:
        if os.path.isdir(given):
            below, others = find_images(given)
            paths += below
            left_out.update(others)
        elif os.path.exists(given):
            paths.append(given)
        else:
            raise ValueError(f"{printable(given) or 'an empty name'} does not exist")
    return paths, left_out


def check_export(path: Path) -> None:
    """Refuse a file to which no model can be exported.

    Raises:
        ValueError: its suffix is unknown, it is a folder, or it is in none.
    """
    if path.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"{printable(path)}: a model is exported as .onnx or .pt2")
    _check_place(path)


def check_page(path: Path) -> None:
    """Refuse a file to which no page can be written.

    Raises:
        ValueError: its suffix is not .html, it is a folder, or it is in none.
    """
    if path.suffix != ".html":
        raise ValueError(f"{printable(path)}: a page is written as .html")
    _check_place(path)


def _check_place(path: Path) -> None:
    if path.is_dir() or not path.parent.is_dir():
        trouble = "is a folder" if path.is_dir() else "is in a folder that does not exist"
        raise ValueError(f"{printable(path)} {trouble}; give a file to write")
