"""CIFAR-10: 60,000 colour photographs of 32×32 pixels in ten classes (Krizhevsky 2009)."""

import os
import shutil
import socket
import tempfile
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity

from lecture4.data.dataset import Dataset

TIMEOUT = 10  # seconds that the server may stay silent


def cifar10(root: str | os.PathLike) -> Dataset:
    """Read CIFAR-10 from ``root``; download it there first if it is not there at all.

    Every file is checked against its published MD5 sum before it is read. Complete data is never
    written to, so ``root`` may be read-only. A download is unpacked beside its place and renamed,
    under a lock: several processes fetch it once, and a broken download leaves nothing.

    Raises:
        ValueError: a file is missing or damaged; it is not replaced, for it may be all you have.
        ConnectionError: nothing is there, and the server cannot be reached.
    """
    root = Path(root).expanduser()
    if not cifar10_lies_in(root):
        _download(root)
    _check(root / CIFAR10.base_folder)
    train, test = CIFAR10(root, train=True), CIFAR10(root, train=False)
    source = {"name": "cifar10", "root": str(root.absolute())}
    return Dataset(train.classes, *_tensors(train), *_tensors(test), source)


def cifar10_lies_in(root: str | os.PathLike) -> bool:
    """Is any file of CIFAR-10 in ``root``, so that nothing would be downloaded?"""
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
            trouble = "is missing"
        elif not check_integrity(path, md5):
            trouble = "is damaged (its checksum is not the published one)"
        else:
            continue
        raise ValueError(f"{path} {trouble}; delete {folder} to download CIFAR-10 again")


def _download(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise ValueError(
            f"CIFAR-10 is not in data.root={root}, and nothing can be written there "
            f"({error.strerror}); point data.root= at a folder that holds it, or use data=shapes"
        ) from error
    try:
        archive = root / CIFAR10.filename
        has_archive = check_integrity(archive, CIFAR10.tgz_md5)
        if not has_archive:
            _probe(CIFAR10.url)
        with FileLock(root / ".cifar10.lock"):
            if cifar10_lies_in(root):
                return  # another process has fetched it meanwhile
            for left_by_a_killed_process in root.glob(".cifar10-*"):
                shutil.rmtree(left_by_a_killed_process)
            with tempfile.TemporaryDirectory(prefix=".cifar10-", dir=root) as unpacked:
                if has_archive:
                    (Path(unpacked) / CIFAR10.filename).symlink_to(archive.resolve())
                with _socket_timeout(TIMEOUT):
                    CIFAR10(unpacked, download=True)
                os.rename(Path(unpacked) / CIFAR10.base_folder, root / CIFAR10.base_folder)
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"CIFAR-10 is not in data.root={root}, and its download failed ({error}); "
            f"point data.root= at a folder that holds {CIFAR10.base_folder}, or use data=shapes"
        ) from error


def _probe(url: str) -> None:
    """Raise OSError unless the server answers within TIMEOUT, name look-up included."""
    answer: list[Exception | None] = []

    def ask():
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=TIMEOUT).close()
            answer.append(None)
        except Exception as error:  # a proxy may answer with anything
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    if not answer:
        raise OSError(f"no answer within {TIMEOUT} s")
    if answer[0]:
        raise OSError(answer[0]) from answer[0]


@contextmanager
def _socket_timeout(seconds: float):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
