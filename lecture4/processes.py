"""Which of several processes this is, before any of them has met the others."""

import os

# of torchrun, of Lightning's own launcher, of srun
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")


def rank() -> int:
    """Number of this process, over all machines; 0 tells and writes."""
    return next((int(os.environ[name]) for name in RANKS if os.environ.get(name)), 0)
