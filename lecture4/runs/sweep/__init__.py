"""A sweep: many jobs, ranked in one table."""

from lecture4.runs.sweep.hydra import join_study, summarize
from lecture4.runs.sweep.jobs import record

__all__ = ["join_study", "record", "summarize"]
