"""A dataset that is published as files of known MD5 sums: find, read, download and unpack them."""

import hashlib
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from filelock import FileLock
from torchvision.datasets.utils import check_integrity

from lecture4.data.download import NotServed, download


@dataclass(frozen=True)
class Published:
    """The files of a dataset, and where they are served.

    The MD5 sums alone are trusted, so the files may come from anywhere, in any archive.

    Attributes:
        name: of the choice ``data=name``.
        title: in messages.
        folder: of the files, below ``data.root``.
        files: MD5 sum of each, by name.
        urls: an archive of them (or one of the files); of a URL that ends with /, ``url + file``.
        archive: name without suffix of an archive that may lie in ``data.root``, or "".
    """

    name: str
    title: str
    folder: str
    files: Mapping[str, str]
    urls: Sequence[str]
    archive: str = ""

    def lies_in(self, root: str | os.PathLike) -> bool:
        """Whether ``root`` holds any of the files; then nothing is downloaded."""
        folder = Path(root).expanduser() / self.folder
        return any((folder / name).exists() for name in self.files)

    def read(self, root: Path, name: str) -> bytes:
        """Content of a file.

        Raises:
            ValueError: it is missing or damaged.
        """
        folder = root / self.folder
        path = folder / name
        content = path.read_bytes() if path.exists() else b""
        if self._is_published(name, content):
            return content
        damaged = "is damaged (its checksum is not the published one)"
        raise ValueError(
            f"{path} {damaged if path.exists() else 'is missing'}; delete {folder} to download "
            f"{self.title} again"
        )

    def _is_published(self, name: str, content: bytes) -> bool:
        return hashlib.md5(content, usedforsecurity=False).hexdigest() == self.files[name]

    def obtain(self, root: Path, urls: Sequence[str] | None = None) -> None:
        """Download the files, unless ``root`` holds any of them.

        They are collected in a hidden folder, which is renamed when it is complete. One process
        downloads, others wait; after a kill, the next one continues.

        Args:
            root: the folder in which ``folder`` will be.
            urls: used in place of the known ones.

        Raises:
            ValueError: ``root`` cannot be written to, or is full.
            ConnectionError: no source serves the files.
        """
        if self.lies_in(root):
            return
        try:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / f".{self.name}.lock"):
                if not self.lies_in(root):  # another process may have downloaded them meanwhile
                    self._collect(root, urls or self.urls)
        except NotServed as reasons:
            files = f"its files ({', '.join(self.files)}) in {root / self.folder}"
            raise ConnectionError(
                f"{self.title} is not in data.root={root}, and no source served it ({reasons}); "
                f"place {f'{self.archive}.tar.gz in {root}' if self.archive else files}, name "
                f"another source with data.urls=[…], or use data=shapes"
            ) from reasons
        except OSError as error:
            raise ValueError(
                f"{self.title} is not in data.root={root}, which cannot be written to "
                f"({error.strerror or error}); set data.root= to another folder, such as one that "
                f"holds {self.folder}, or use data=shapes"
            ) from error

    def _collect(self, root: Path, urls: Sequence[str]) -> None:
        parts = root / f".{self.name}-download"
        files = parts / "files"
        files.mkdir(parents=True, exist_ok=True)
        refused = []
        for archive in sorted(root.glob(f"{self.archive}.*")) if self.archive else ():
            try:
                self._unpack(files, next(iter(self.files)), archive)
            except NotServed as reason:
                refused.append(f"{archive.name}: {reason}")
        for name, md5 in self.files.items():
            if check_integrity(files / name, md5):
                continue
            sources = [url + name if url.endswith("/") else url for url in urls]
            try:
                download(sources, parts / "part", partial(self._unpack, files, name))
            except NotServed as reasons:
                raise NotServed("; ".join([*refused, str(reasons)])) from reasons
        (root / self.folder).parent.mkdir(parents=True, exist_ok=True)
        os.rename(files, root / self.folder)
        shutil.rmtree(parts)

    def _unpack(self, folder: Path, needed: str, archive: Path) -> None:
        """Write the files of the dataset that are in an archive, or a file that is ``needed``.

        Raises:
            NotServed: the file that is needed is not among them.
        """
        found = set()
        for name, content in _contents(archive, self.files, needed):
            if self._is_published(name, content):
                (folder / name).write_bytes(content)
                found.add(name)
        if needed not in found:
            raise NotServed(f"has no {needed} of the published checksum")


def _contents(archive: Path, names: Mapping[str, str], needed: str) -> Iterator[tuple[str, bytes]]:
    """The files with these names in a tar or zip archive; else the file itself as ``needed``."""
    try:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                for member in tar:
                    name = PurePosixPath(member.name).name
                    if member.isfile() and name in names:
                        yield name, tar.extractfile(member).read()  # type: ignore[union-attr]
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                for path in packed.namelist():
                    name = PurePosixPath(path).name
                    if not path.endswith("/") and name in names:
                        yield name, packed.read(path)
        else:
            yield needed, archive.read_bytes()
    except Exception as error:  # decoders raise all kinds of errors on broken archives
        raise NotServed(f"is no archive that can be read ({error})") from error
