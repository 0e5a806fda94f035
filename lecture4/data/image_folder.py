"""Images in folders, root/{train,test}/CLASS/*.png, *.jpg, …: classes and splits."""

import hashlib
import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from lecture4.data.dataset import Dataset, stratified_split
from lecture4.data.decode import RESIZES
from lecture4.data.image_cache import decoded_images
from lecture4.support.console import printable
from lecture4.support.image_files import find_images, is_hidden, summary
from lecture4.support.processes import rank

VALIDATION = ("valid", "val", "validation")  # folders below root

Example = tuple[str, int]  # path and label


def load_image_folder(
    root: str | os.PathLike,
    image_size: int = 32,
    channels: int = 3,
    resize: str = "stretch",
    test_size: int | float = 0.2,
    val_root: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
) -> Dataset:
    """Decode the images below ``root/train/CLASS`` and ``root/test/CLASS``, or map earlier results.

    Files that are left out and splits that are made are reported on stderr.

    Args:
        root: holds ``train``, and may hold ``test`` and one of ``VALIDATION``.
        image_size: side of the squares that images become.
        channels: 3 (RGB) or 1 (grey).
        resize: ``stretch``, ``crop`` or ``pad``, see ``lecture4.data.decode.read_image``.
        test_size: number or fraction of the images in ``train`` that become the test set,
            stratified by class, if there is no ``test``.
        val_root: folder of the validation split; None for one of ``VALIDATION`` below ``root``, or
            else the caller splits the training images.
        cache: folder of decoded images; None for ``lecture4.support.files.cache_folder()``.

    Raises:
        ValueError: a folder or class is missing or empty, there is only one class, splits have
            different classes, or a file cannot be read as an image.
        OSError: a folder cannot be read, or the cache not written.
    """
    if resize not in RESIZES or channels not in (1, 3):
        raise ValueError(
            f"resize={resize} must be one of {', '.join(RESIZES)}, and channels={channels} 1 or 3"
        )
    root = Path(root).expanduser().absolute()
    try:
        class_names, train, val, test = _find_examples(root, val_root, test_size)
    except ValueError as error:  # names may hold line breaks
        raise ValueError(printable(error)) from error
    every = [*train, *val, *test]
    images = decoded_images([path for path, _ in every], (image_size, channels, resize), cache)
    labels, end = torch.tensor([label for _, label in every]), len(train) + len(val)
    source = {
        "name": "image_folder",
        "root": str(root),
        "image_size": image_size,
        "channels": channels,
        "resize": resize,
        "test_size": test_size,
        "val_root": str(Path(val_root).expanduser().absolute()) if val_root else None,
    }
    splits = images[:end], labels[:end], images[end:], labels[end:]
    folders = [str(root), str(_validation_folder(root, val_root) or root)]
    fingerprints = {
        "train": _fingerprint([*train, *val], folders),
        "test": _fingerprint(test, folders),
    }
    return Dataset(class_names, *splits, source, len(val), fingerprints)


def _fingerprint(examples: Sequence[Example], folders: Sequence[str]) -> str:
    """A hash of the label, the name below one of ``folders`` and the size of each file."""
    digest = hashlib.sha256()
    for path, label in examples:
        place = max((len(f) for f in folders if path.startswith(f"{f}{os.sep}")), default=0)
        name = unicodedata.normalize("NFC", path[place:])
        digest.update(repr((label, name, os.path.getsize(path))).encode())
    return digest.hexdigest()[:32]


def _find_examples(
    root: Path, val_root: str | os.PathLike | None, test_size: int | float
) -> tuple[list[str], list[Example], list[Example], list[Example]]:
    """The class names, and the examples of training, validation (perhaps none) and test."""
    validation = _validation_folder(root, val_root)
    folders = {"train": root / "train", "val": validation, "test": root / "test"}
    if not (root / "test").is_dir():
        del folders["test"]
    left_out: Counter[str] = Counter()
    files = {name: _files_by_class(folder, left_out) for name, folder in folders.items() if folder}
    class_names = _common_classes(root, files)
    if left_out:
        _report(f"{root}: left out {summary(left_out)}")

    def examples(split: str) -> list[Example]:
        of_class = files.get(split, {})
        return [(path, k) for k, name in enumerate(class_names) for path in of_class.get(name, [])]

    train, val, test = (examples(split) for split in ("train", "val", "test"))
    _check_shared({"train": train, "validation": val, "test": test})
    if val:
        _report(f"{validation}: {len(val):,} images for validation; no val_size applies")
    if not test:
        of_train = len(train)
        rest, taken = stratified_split(
            torch.tensor([k for _, k in train]), test_size, 0, "test_size"
        )
        train, test = [train[i] for i in rest], [train[i] for i in taken]
        _report(
            f"{root} has no test folder: the test set is {len(test):,} of the {of_train:,} images "
            f"in train, by class (data.test_size={test_size})"
        )
    return class_names, train, val, test


def _check_shared(splits: dict[str, list[Example]]) -> None:
    """Refuse a file that links give two labels; report how many files two splits share."""
    known: dict[tuple[int, int], tuple[str, int, str]] = {}
    shared: Counter[str] = Counter()
    for split, examples in splits.items():
        for path, label in examples:
            device, inode = _inode(path)
            if not inode:
                continue
            first = known.setdefault((device, inode), (path, label, split))
            if first[1] != label:
                raise ValueError(f"{first[0]} and {path} are the same file, with two labels")
            shared[f"{first[2]} and {split}"] += first[2] != split
    for pair, n in (+shared).items():
        _report(f"{pair} share {n:,} files")


def _inode(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:  # a dangling link; reading it names it
        return 0, 0
    return found.st_dev, found.st_ino


def _files_by_class(folder: Path, left_out: Counter[str]) -> dict[str, list[str]]:
    """The images of each class, in the order of their names; adds to ``left_out``."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is not there; an image folder holds train/CLASS/*.png, and perhaps "
            f"test/CLASS/*.png"
        )
    files: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder), key=lambda name: (_class_name(name), name)):
        if is_hidden(name):
            left_out["hidden"] += 1
        elif not (folder / name).is_dir():
            left_out["outside of a class"] += 1
        elif folder.resolve().is_relative_to((folder / name).resolve()):
            left_out["links to a folder of all classes"] += 1
        else:
            paths, others = find_images(folder / name)
            left_out.update(others)
            files.setdefault(_class_name(name), []).extend(paths)
    if not files:
        raise ValueError(
            f"{folder} is empty or holds files alone; it should hold one folder of images per class"
        )
    return files


def _class_name(folder: str) -> str:
    """Text in NFC, the same on all systems; a byte that is not UTF-8 is written as ``\\\\xff``."""
    return unicodedata.normalize("NFC", os.fsencode(folder).decode("utf-8", "backslashreplace"))


def _validation_folder(root: Path, val_root: str | os.PathLike | None) -> Path | None:
    if val_root:
        return Path(val_root).expanduser().absolute()
    there = [root / name for name in VALIDATION if (root / name).is_dir()]
    if len(there) > 1:
        raise ValueError(f"{there[0]} and {there[1].name} are both there; set data.val_root to one")
    return there[0] if there else None


def _common_classes(root: Path, files: dict[str, dict[str, list[str]]]) -> list[str]:
    """The class names, which must be the same in each split."""
    names = list(files["train"])
    if len(names) < 2:
        raise ValueError(f"{root / 'train'} has one class, {names[0]}; at least two are needed")
    for split, of_class in files.items():
        if odd := set(names) ^ set(of_class):
            alone = [
                f"only {name} has {', '.join(sorted(odd & set(files[name])))}"
                for name in ("train", split)
                if odd & set(files[name])
            ]
            raise ValueError(
                f"{root}: train and {split} must have the same classes; {' and '.join(alone)}"
            )
    return names


def _report(text: str) -> None:
    if rank() == 0:
        print(printable(text), file=sys.stderr)
