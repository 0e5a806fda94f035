"""Files that are there whole, or not at all."""

import os
from pathlib import Path


def write_atomically(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file beside its place, then rename it; a kill leaves the old file or the new.

    Raises:
        OSError: it cannot be written; what was at ``path`` is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        kept = "; the one before is still there" if path.exists() else ""
        raise OSError(f"{path} could not be saved: {error.strerror}{kept}") from error
    finally:
        temporary.unlink(missing_ok=True)
