"""CIFAR-10: 60,000 colour photographs of 32×32 pixels in ten classes (Krizhevsky 2009)."""

import os
import shutil
import tempfile
from pathlib import Path

import torch
from filelock import FileLock
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity

from lecture4.data.dataset import Dataset


def load_cifar10(root: str | os.PathLike) -> Dataset:
    """Read CIFAR-10 from ``root``, after downloading it if ``root`` holds none of its files.

    Every file is checked against its published MD5 sum before it is read. Complete data is only
    read, so ``root`` may be read-only. A download is unpacked in a temporary folder and renamed
    under a lock: several processes download once, and a failed download leaves no partial data.

    Raises:
        ValueError: a file is missing or damaged (existing files are never replaced), or ``root``
            holds no data and cannot be written to.
        ConnectionError: the download failed.
    """
    root = Path(root).expanduser()
    if not cifar10_lies_in(root):
        _download(root)
    _check(root / CIFAR10.base_folder)
    train, test = CIFAR10(root, train=True), CIFAR10(root, train=False)
    source = {"name": "cifar10", "root": str(root.absolute())}
    return Dataset(train.classes, *_tensors(train), *_tensors(test), source)


def cifar10_lies_in(root: str | os.PathLike) -> bool:
    """Whether ``root`` holds any file of CIFAR-10; then nothing is downloaded."""
    folder = Path(root).expanduser() / CIFAR10.base_folder
    return any((folder / name).exists() for name, _ in _files())


def _tensors(part: CIFAR10) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()  # NHWC -> NCHW
    return images, torch.tensor(part.targets)


def _files() -> list[tuple[str, str]]:
    """Name and MD5 sum of each file."""
    meta = CIFAR10.meta
    return [*CIFAR10.train_list, *CIFAR10.test_list, (meta["filename"], meta["md5"])]


def _check(folder: Path) -> None:
    for name, md5 in _files():
        path = folder / name
        if not path.exists():
            problem = "is missing"
        elif not check_integrity(path, md5):
            problem = "is damaged (its checksum is not the published one)"
        else:
            continue
        raise ValueError(f"{path} {problem}; delete {folder} to download CIFAR-10 again")


def _download(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise ValueError(
            f"CIFAR-10 is not in data.root={root}, which cannot be written to ({error.strerror}); "
            f"set data.root= to a folder that holds {CIFAR10.base_folder}, or use data=shapes"
        ) from error
    try:
        with FileLock(root / ".cifar10.lock"):
            if cifar10_lies_in(root):
                return  # another process has downloaded it while this one waited
            for partial in root.glob(".cifar10-*"):  # of a process that was killed
                shutil.rmtree(partial)
            with tempfile.TemporaryDirectory(prefix=".cifar10-", dir=root) as unpacked:
                archive = root / CIFAR10.filename
                if check_integrity(archive, CIFAR10.tgz_md5):
                    (Path(unpacked) / CIFAR10.filename).symlink_to(archive.resolve())
                CIFAR10(unpacked, download=True)
                os.rename(Path(unpacked) / CIFAR10.base_folder, root / CIFAR10.base_folder)
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"CIFAR-10 is not in data.root={root}, and its download failed ({error}); "
            f"set data.root= to a folder that holds {CIFAR10.base_folder}, or use data=shapes"
        ) from error
