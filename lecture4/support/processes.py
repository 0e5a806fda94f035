"""Which of several processes this is, before any of them has met the others."""

import os

# number of this process, and of all: of torchrun, of Lightning's own launcher, of srun
NAMES = (("RANK", "WORLD_SIZE"), ("LOCAL_RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


def rank() -> int:
    """Number of this process, over all machines; 0 tells and writes."""
    for name, of_all in NAMES:
        if _number(name) is not None and (_number(of_all) or 1) > 1:
            return _number(name)
    return 0


def started_by_torchrun() -> int:
    """How many processes torchrun has started; 1 if it has not started this."""
    return _number("WORLD_SIZE") or 1 if "TORCHELASTIC_RUN_ID" in os.environ else 1


def forget_stray_ranks() -> None:
    """Let a number of one process, left in a shell, not make Lightning wait for a first one."""
    for name, of_all in NAMES:
        if _number(name) and (_number(of_all) or 1) <= 1:
            del os.environ[name]


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else None
