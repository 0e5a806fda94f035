"""The jobs of a sweep, read from the files that each leaves in its own directory.

Jobs may have run in other processes or on other machines; only their files count.
"""

import json
import os
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from lecture4.runs.lock import held
from lecture4.runs.recorded import PATHS, read_paths
from lecture4.support.files import write_atomically

# settings that change how a job is run, not what it computes
APART = ("sweep_resume", "sweep.workers")
Identity = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes:
        path: its directory.
        overrides: as typed, without the settings in ``APART``.
        results: the content of results.json; empty if there is none.
    """

    path: Path
    overrides: tuple[str, ...]
    results: dict[str, Any]

    @property
    def status(self) -> str:
        """``completed``, ``failed``, ``pruned``, ``running``, or ``unfinished`` if killed."""
        return self.results.get("status", "unfinished")

    @property
    def reason(self) -> str:
        """Why it did not complete."""
        return self.results.get("reason", "it left no results")

    @property
    def score(self) -> float | None:
        """Validation accuracy, which ranks jobs; None if there is none (``data.val_size=0``)."""
        return self.results["val_accuracy"] if self.status == "completed" else None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Overridden values by key."""
        return settings_of(self.overrides)

    @property
    def identity(self) -> Identity:
        """Equal for jobs with the same settings, see ``identity``."""
        return identity(self.overrides)


class Group(list[Job]):
    """Jobs that differ in their seed alone."""

    @property
    def completed(self) -> int:
        """Number of completed jobs."""
        return sum(job.status == "completed" for job in self)

    def values(self, name: str) -> list[float]:
        """One number of results.json for each completed job that has it."""
        found = [job.results.get(name) for job in self if job.status == "completed"]
        return [value for value in found if value is not None]

    @property
    def score(self) -> tuple[bool, bool, float]:
        """Ranking key: whether there is a validation accuracy, whether all completed, its mean."""
        scores = self.values("val_accuracy")
        return bool(scores), self.completed == len(self), statistics.fmean(scores or [-1.0])


def settings_of(overrides: Iterable[str]) -> dict[str, Any]:
    """Values by key: ``["optim.lr=1e-3"]`` -> ``{"optim.lr": 0.001}``."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {override.get_key_element().lstrip("+"): override.value() for override in parsed}


def identity(overrides: Iterable[str]) -> Identity:
    """A key that is equal for the same settings in any order and notation (1e-3, 0.001)."""
    settings = settings_of(overrides)
    for key in settings.keys() & {*PATHS, "formulas"}:
        if isinstance(settings[key], str):
            settings[key] = os.path.abspath(os.path.expanduser(settings[key]))
    return tuple(sorted((k, as_text(v)) for k, v in settings.items() if k not in APART))


def load_jobs(folder: str | Path) -> list[Job]:
    """The jobs in a sweep's directory, one attempt each, see ``distinct``."""
    return distinct(attempts(folder))


def distinct(tried: Iterable[Job]) -> list[Job]:
    """Keep one attempt per job: the newest that completed, else the newest.

    Args:
        tried: older attempts first.
    """
    found: dict[Identity, Job] = {}
    for job in tried:
        before = found.get(job.identity)
        if before is None or job.status == "completed" or before.status != "completed":
            found[job.identity] = job
    return list(found.values())


def attempts(folder: str | Path) -> list[Job]:
    """Every job's directory below a sweep's, older ones first."""
    records = sorted(Path(folder).rglob(".hydra/overrides.yaml"), key=_number)
    return [job for job in map(_load_job, records) if job is not None]


def finished(folder: str | Path) -> set[Identity]:
    """Identities of the completed jobs, which need not run again."""
    return {job.identity for job in load_jobs(folder) if job.status == "completed"}


def groups(jobs: Iterable[Job]) -> list[Group]:
    """Group jobs that differ only in their seed, the best mean validation accuracy first."""
    by_settings: dict[Identity, Group] = {}
    for job in jobs:
        key = tuple(pair for pair in job.identity if pair[0] != "seed")
        by_settings.setdefault(key, Group()).append(job)
    return sorted(by_settings.values(), key=lambda group: group.score, reverse=True)


def swept_keys(jobs: Sequence[Job]) -> list[str]:
    """The keys in which jobs differ, in the order in which they were typed."""
    keys = dict.fromkeys(key for job in jobs for key in job.settings)
    return [k for k in keys if len({as_text(job.settings.get(k)) for job in jobs}) > 1]


def record(folder: str | Path, status: str, reason: str) -> dict[str, Any]:
    """Write results.json for a failed or pruned job, so that the sweep's table has the reason."""
    results = {"status": status, "reason": reason}
    write_atomically(Path(folder) / "results.json", json.dumps(results, indent=2) + "\n")
    return results


def as_text(value: Any) -> str:
    """JSON that is equal for equal values: 1 and 1.0, 1e-3 and 0.001."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, default=str, ensure_ascii=False)


def _load_job(record: Path) -> Job | None:
    """The job with this record of its overrides; None if it was killed while writing it."""
    path = record.parent.parent
    try:
        overrides = yaml.safe_load(record.read_text())
        kept = [o for o in overrides if not settings_of([o]).keys() & set(APART)]
    except (OSError, yaml.YAMLError, HydraException, TypeError, ValueError):
        return None
    if settings_of(kept).keys() & set(PATHS):
        kept = _with_absolute_paths(kept, path)
    return Job(path, tuple(kept), load_results(path))


def _with_absolute_paths(overrides: list[str], run: Path) -> list[str]:
    """The overrides with the paths that the job recorded, which mean the same from anywhere."""
    try:
        recorded = {word.partition("=")[0]: word for word in read_paths(run)}
    except (LookupError, TypeError, ValueError):  # it was killed while it began
        return overrides
    return [recorded.get(word.partition("=")[0].lstrip("+"), word) for word in overrides]


def load_results(path: Path) -> dict[str, Any]:
    """What results.json in a job's directory says."""
    try:
        results = json.loads((path / "results.json").read_text())
        if results["status"] == "completed":
            for name in ("test_accuracy", "train_seconds"):
                results[name] = float(results[name])
            if results["val_accuracy"] is not None:
                results["val_accuracy"] = float(results["val_accuracy"])
        return results
    except FileNotFoundError:
        return {"status": "running", "reason": "another process trains it"} if held(path) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {"status": "unfinished", "reason": f"{path / 'results.json'} cannot be read"}


def _number(path: Path) -> list:
    """Sort key: r2-10 after r2-9 after 10."""
    parts = re.split(r"(\d+)", path.parent.parent.name)
    return [len(parts), *(int(part) if part.isdigit() else part for part in parts)]
