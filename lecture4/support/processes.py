"""Rank of this process, read from the environment before torch.distributed is initialized."""

import os

# rank and world size, as set by torchrun, Lightning's launcher and srun
NAMES = (("RANK", "WORLD_SIZE"), ("LOCAL_RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


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


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else None
