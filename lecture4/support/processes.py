"""Rank of this process, and what is shared before torch.distributed is initialized."""

import os
import sys
import tempfile
from datetime import timedelta

# rank and world size, as set by torchrun, Lightning's launcher and srun
NAMES = (("RANK", "WORLD_SIZE"), ("LOCAL_RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))
PATIENCE = timedelta(seconds=30)  # for another process to print an error


def rank() -> int:
    """Rank of this process over all machines."""
    for name, size in NAMES:
        number = _number(name)
        if number is not None and (_number(size) or 1) > 1:
            return number
    return 0


def started_by_torchrun() -> int:
    """Number of processes that torchrun started, 1 without torchrun."""
    return _number("WORLD_SIZE") or 1 if "TORCHELASTIC_RUN_ID" in os.environ else 1


def forget_stray_ranks() -> None:
    """Drop stale rank variables, so that Lightning does not wait for a rank 0 that never comes."""
    for name, size in NAMES:
        if _number(name) and (_number(size) or 1) <= 1:
            del os.environ[name]


def have_met() -> bool:
    """Whether the processes of this run have a process group of torch.distributed."""
    from torch import distributed

    return distributed.is_available() and distributed.is_initialized()


def leave_group() -> None:
    """Destroy torch.distributed's process group; to be called before Python ends.

    A thread of gloo that still holds a tensor when the interpreter is gone aborts the process
    (github.com/pytorch/pytorch/issues/190489).
    """
    from torch import distributed

    if have_met():
        distributed.destroy_process_group()


def print_once(text: str) -> None:
    """Print an error on stderr, unless another process of this run has printed the same.

    A launcher stops all processes when one exits, so a process waits here until the one that came
    first has printed. Once torch.distributed is initialized, each process prints its own errors.
    """
    try:
        store = _store()
        if store and store.add(text, 1) > 1:
            store.wait([f"printed {text}"])
            return
    except (RuntimeError, KeyError, OSError):  # no store answers, or who came first was stopped
        store = None
    print(f"process {rank()}: {text}" if rank() else text, file=sys.stderr, flush=True)
    if store:
        store.set(f"printed {text}", "")


def _store():
    """A store that the processes share before they meet; None for one process, or if they have met.

    torchrun keeps one, and so does rank 0 when Lightning has launched the others. The tasks of srun
    on one machine share a file.
    """
    tasks = _number("SLURM_NTASKS") or 1
    if started_by_torchrun() == 1 and rank() == 0 and tasks == 1:
        return None
    from torch import distributed

    if have_met():
        return None
    if started_by_torchrun() == 1 and tasks > 1:
        step = f"lecture4-{os.environ.get('SLURM_JOB_ID')}-{os.environ.get('SLURM_STEP_ID')}"
        store: distributed.Store = distributed.FileStore(
            os.path.join(tempfile.gettempdir(), step), tasks
        )
    else:
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = distributed.TCPStore(*address, is_master=False, timeout=PATIENCE)
    store.set_timeout(PATIENCE)
    return store


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else None
