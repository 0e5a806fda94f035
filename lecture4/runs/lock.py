"""The lock on a run's directory, in which one process at a time trains.

The system releases it when its process ends in any way, so a killed run can be resumed at once.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lecture4.support.console import printable
from lecture4.support.files import write_atomically
from lecture4.support.outputs import reason

PATIENCE = 1.0  # seconds; a process that only asks for a job's state holds the lock for a moment
OWNER = ".lock.json"  # beside the lock while it is held, because Windows lets nobody read a lock


def run_lock(folder: Path) -> FileLock:
    """The lock of a run's directory."""
    return FileLock(folder / ".lock")


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Lock a run's directory, which is created if it is not there.

    If the file system has no locks, a warning is printed.

    Raises:
        BlockingIOError: another process trains there; the message says which.
        OSError: the directory cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, owner = run_lock(folder), folder / OWNER
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise BlockingIOError(
            f"{printable(folder)} is in use: {_holder(owner)}; wait for its end, or choose another "
            f"directory"
        ) from None
    except (OSError, NotImplementedError) as error:
        if not os.access(folder, os.W_OK):
            raise OSError(f"{printable(folder)} cannot be written: {reason(error)}") from error
        print(
            f"{printable(folder)} cannot be locked ({reason(error)}); start no second run there",
            file=sys.stderr,
        )
    try:
        with suppress(OSError):  # it only informs
            write_atomically(owner, json.dumps(_me()))
        yield
    finally:
        with suppress(OSError):
            owner.unlink(missing_ok=True)
        lock.release()


def held(folder: Path) -> bool:
    """Whether a process trains in a run's directory."""
    lock = run_lock(folder)
    try:
        if os.path.exists(lock.lock_file):
            lock.acquire(timeout=0)
            lock.release()
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # it cannot be written, or has no locks
        pass
    return False


def _me() -> dict[str, str | int]:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": now}


def _holder(owner: Path) -> str:
    """Who trains in a directory, and since when."""
    try:
        told = json.loads(owner.read_text())
        who = f"process {told['pid']} on {told['host']} has trained there since {told['since']}"
        return printable(who)
    except (OSError, ValueError, LookupError, TypeError):  # it has begun this moment
        return "another process trains there"
