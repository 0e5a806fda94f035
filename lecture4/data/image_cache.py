"""Decode images once: uint8 (N, C, S, S) in a memory-mapped file of the user's cache folder."""

import contextlib
import hashlib
import math
import os
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import torch
from filelock import FileLock
from torch.utils.data import DataLoader, Dataset

from lecture4.data import decode
from lecture4.support.console import image_bar, make_console, printable
from lecture4.support.files import cache_folder

BLOCK_IMAGES, BLOCK_BYTES = 64, 2**24  # decoded images that a process holds: at most, or one
SMALL_BYTES = 2**23  # of files, which are decoded sooner than processes start
KEPT_DAYS = 7  # without use; then a result is deleted when the next one is written


def decoded_images(
    paths: Sequence[str],
    pixels: tuple[int, int, str],
    folder: str | os.PathLike | None = None,
) -> torch.Tensor:
    """Map the decoded images of files into memory: uint8 (N, C, S, S).

    They are decoded if no complete result exists for the same paths, sizes, times and settings. A
    result is written under a lock to a temporary file and renamed, so that processes that start at
    once decode once, and nothing half-written is read.

    Args:
        paths: of the images, in order.
        pixels: S, C and the way of resizing, see ``lecture4.data.decode.read_image``.
        folder: of the result; None for ``cache_folder()``.

    Raises:
        ValueError: a file cannot be read as an image.
        OSError: the result cannot be written.
    """
    folder = Path(folder).expanduser() if folder else cache_folder() / "images"
    shape = (len(paths), pixels[1], pixels[0], pixels[0])
    file = folder / f"lecture4-{_key(paths, pixels)}.uint8"
    if (images := _mapped(file, shape)) is not None:
        return images

    start = time.perf_counter()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            if (images := _mapped(file, shape)) is not None:
                return images  # decoded by another process while this one waited
            _delete_unused(folder)
            _decode(paths, pixels, file, shape)
            images = _mapped(file, shape)
            assert images is not None  # it has just been written
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            f"decoded images cannot be kept in {folder} ({reason}); set data.cache=FOLDER"
        ) from error
    seconds = time.perf_counter() - start
    print(
        f"decoded {len(paths):,} images in {seconds:.1f} s, {len(paths) / seconds:,.0f} images/s; "
        f"kept in {printable(file)} ({images.nbytes / 1e6:,.1f} MB)",
        file=sys.stderr,
    )
    return images


def _decode(
    paths: Sequence[str], pixels: tuple[int, int, str], file: Path, shape: tuple[int, ...]
) -> None:
    """Write the images to a temporary file, then rename it to ``file``."""
    nbytes, free = math.prod(shape), shutil.disk_usage(file.parent).free
    if nbytes > free:
        raise OSError(f"they take {nbytes / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free")
    unfinished, broken = file.with_suffix(".partial"), []
    blocks = _Blocks(paths, pixels, unfinished, nbytes // len(paths))
    large = sum(sum(_state(path)[:1]) for path in paths) > SMALL_BYTES
    workers = torch.get_num_threads() if large else 0
    try:
        with (
            open(unfinished, "wb") as out,
            image_bar(make_console(stderr=True), len(paths)) as step,
        ):
            for n, errors in DataLoader(blocks, batch_size=None, num_workers=workers):
                for error in errors:
                    if isinstance(error, OSError):
                        raise error
                    broken.append(str(error))
                step(n)
            os.fsync(out.fileno())  # or a crash of the machine could leave a file of zeros
        if broken:
            others = f"\n{len(broken) - 1} more, such as {broken[1]}" if broken[1:] else ""
            raise ValueError(broken[0] + others)
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Blocks(Dataset):
    """Item i decodes the i-th block of images into its place in a file, in any process."""

    paths: Sequence[str]
    pixels: tuple[int, int, str]
    file: Path
    nbytes: int  # of a decoded image

    @property
    def size(self) -> int:
        """Images of a block."""
        return max(1, min(BLOCK_IMAGES, BLOCK_BYTES // self.nbytes))

    def __len__(self) -> int:
        return math.ceil(len(self.paths) / self.size)

    def __getitem__(self, i: int) -> tuple[int, list[Exception]]:
        """The number of images, and the errors of reading or writing, if there are any."""
        warnings.filterwarnings("ignore", module="PIL")  # it warns of odd files that it reads
        first = i * self.size
        images: list[torch.Tensor] = []
        errors: list[Exception] = []
        paths = self.paths[first : first + self.size]
        for path in paths:
            image = decode.try_image(path, self.pixels)
            if isinstance(image, ValueError):
                errors.append(image)
            else:
                images.append(image)
        try:
            if not errors:
                with open(self.file, "r+b") as out:
                    out.seek(first * self.nbytes)
                    out.write(torch.stack(images).numpy().data)
        except OSError as error:
            errors = [error]
        return len(paths), errors


def _mapped(file: Path, shape: tuple[int, ...]) -> torch.Tensor | None:
    """The images in a complete file, read only, or None."""
    if not file.exists() or file.stat().st_size != math.prod(shape):
        return None
    with contextlib.suppress(PermissionError):  # a cache of another user's
        os.utime(file)  # see _delete_unused
    array = np.memmap(file, np.uint8, "r", shape=shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _delete_unused(folder: Path) -> None:
    for file in folder.glob("lecture4-*"):
        with contextlib.suppress(OSError):  # deleted by another process, or in use on Windows
            if file.stat().st_mtime < time.time() - KEPT_DAYS * 86_400:
                file.unlink()


def _key(paths: Sequence[str], pixels: tuple[int, int, str]) -> str:
    """A hash of the rule for pixels and, for each file, its path, size and times."""
    digest = hashlib.sha256(Path(decode.__file__).read_bytes())
    digest.update(repr((PIL.__version__, pixels)).encode())
    for path in paths:
        digest.update(repr((path, *_state(path))).encode())
    return digest.hexdigest()[:32]


def _state(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:  # a dangling link; reading it names it
        return ()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
