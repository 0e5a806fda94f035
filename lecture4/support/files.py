"""Write files atomically, check the checksums of archives, and name the folder of caches."""

import os
import zipfile
from pathlib import Path

from platformdirs import user_cache_dir


def cache_folder() -> Path:
    """$LECTURE4_CACHE, or the platform's folder for caches, such as ~/.cache/lecture4."""
    return Path(os.environ.get("LECTURE4_CACHE") or user_cache_dir("lecture4", False))


def write_atomically(path: Path, content: str | bytes | memoryview) -> None:
    """Write to a temporary file in the same folder, then rename it to ``path``.

    After a kill at any moment, ``path`` is the previous file or the complete new one.

    Raises:
        OSError: the file cannot be written; a previous file at ``path`` is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        kept = "; the previous file is unchanged" if path.exists() else ""
        raise OSError(f"{path} could not be saved: {error.strerror}{kept}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_archive(path: Path) -> None:
    """Compare each part of a ZIP archive with its checksum; ``torch.load`` does not.

    Raises:
        ValueError: the file is no ZIP archive, or a part differs from its checksum.
        OSError: the file cannot be opened.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"it cannot be read ({error})") from None
    if damaged:
        raise ValueError(f"its part {damaged} differs from its checksum")
