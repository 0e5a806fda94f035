"""A sweep: many jobs, ranked in one table."""

from lecture4.runs.sweep.hydra import summarize
from lecture4.runs.sweep.jobs import record_failure

__all__ = ["record_failure", "summarize"]
