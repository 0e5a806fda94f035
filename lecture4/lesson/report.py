"""The lecture as a page: measure every claim, cache what was measured, write the page."""

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from lecture4.data import PUBLISHED
from lecture4.lesson.claims import Claim, claim
from lecture4.lesson.lab import Finding, Lab, Published, tally, verdict
from lecture4.lesson.lab.cache import claims_version
from lecture4.lesson.lab.measurements import from_plain, to_plain
from lecture4.lesson.page.look_inside import describe
from lecture4.lesson.page.render import render_page
from lecture4.lesson.progress import ClaimProgress
from lecture4.lesson.provenance import first_bounds, now, source_of
from lecture4.support.console import make_console
from lecture4.support.files import write_atomically


def find_data(name: str, root: str) -> str:
    """Resolve ``auto``: CIFAR-10 if it is in ``root``, else shapes."""
    if name != "auto":
        return name
    return "cifar10" if PUBLISHED["cifar10"].lies_in(root) else "shapes"


def measure(
    names: Sequence[str], lab: Lab, progress: ClaimProgress, fallback: bool = False
) -> dict[str, Any]:
    """Measure claims, or load them from the cache; return the content of ``claims.json``.

    Args:
        names: of the claims.
        lab: trains and caches.
        progress: shows the current claim.
        fallback: shapes stand in for CIFAR-10, which was not found.
    """
    dataset = lab.dataset
    start = time.perf_counter()
    return {
        "made": now(),
        "budget": lab.budget,
        "seed": lab.seed,
        "data": {
            "name": lab.data,
            "fallback": fallback,
            "train": len(dataset.train_labels),
            "test": len(dataset.test_labels),
            "classes": dataset.class_names,
        },
        "claims": [_entry(name, lab, progress) for name in names],
        "seconds": round(time.perf_counter() - start, 1),
        "machine": machine(),
    }


def _entry(name: str, lab: Lab, progress: ClaimProgress) -> dict[str, Any]:
    """One claim: measurements, findings, verdict, published numbers, commands, and its source."""
    progress.begin(name)
    tested = claim(name)
    settings = claims_version(), lab.budget, lab.seed, lab.data, machine()
    key = lab.cache and lab.cache.key(name, *settings)
    kept = lab.cache and lab.cache.load(key)
    measured = kept or _measure(tested, lab)
    if lab.cache and not kept:
        lab.cache.store(key, measured)
    m = from_plain(tested.measure, measured["measurements"])
    findings = list(tested.judge(m))
    result = verdict(findings)
    first = first_bounds(findings, lab.cache, f"bounds-{name}-{lab.data}-{lab.budget}")
    progress.end(name, result, None if kept else measured["seconds"])
    return {
        "name": name,
        "title": tested.TITLE,
        "verdict": result,
        "findings": [_row(finding, first.get(finding.name)) for finding in findings],
        "published": [_beside(number) for number in getattr(tested, "published", _none)(m)],
        **measured,
    }


def _row(finding: Finding, first: dict[str, Any] | None) -> dict[str, Any]:
    """A finding as plain values, with the bounds of its first run if they are known."""
    results = {"mean": finding.mean, "interval": list(finding.interval), "verdict": finding.verdict}
    row = {**asdict(finding), "values": list(finding.values), **results}
    return {**_finite(row), "first": first and _finite(first)}


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity, so a missing bound is None."""
    return {k: None if v in (float("inf"), -float("inf")) else v for k, v in row.items()}


def _beside(number: Published) -> dict[str, Any]:
    """A published number and ours as plain values."""
    results = {"mean": number.mean, "interval": list(number.interval)}
    return {**asdict(number), **results, "direction": number.direction}


def _none(m: Any) -> tuple[()]:
    """Of a claim to whose question no published number belongs."""
    return ()


def _measure(tested: Claim, lab: Lab) -> dict[str, Any]:
    lab.commands.clear()
    source = source_of(Path(tested.__file__))
    start = time.perf_counter()
    measurements = to_plain(tested.measure(lab))
    return {
        "commands": list(dict.fromkeys(lab.commands)),
        "measurements": measurements,
        "seconds": round(time.perf_counter() - start, 1),
        "source": source,
    }


def machine() -> dict[str, Any]:
    """The hardware and software that the numbers were measured with."""
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = lines[0].partition(":")[2].strip() if lines else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pytorch_lightning": pl.__version__,
    }


def look_inside(names: Sequence[str], lab: Lab) -> dict[str, Any] | None:
    """The ConvNet of the claim ``learned``, a result of ``describe``; None without the claim."""
    if "learned" not in names:
        return None
    pipeline, images = claim("learned").shown_net(lab)
    return describe(pipeline, lab.dataset.class_names, images)


def publish(
    report: dict[str, Any], folder: str, copy: str | None, net: dict[str, Any] | None = None
) -> None:
    """Write ``claims.json`` and ``lecture.html`` into the run's folder, and print a summary.

    Args:
        report: a result of ``measure``.
        folder: of the run.
        copy: a second place for the page, or None.
        net: a result of ``look_inside``; weights are on the page alone, not in ``claims.json``.
    """
    pages = [Path(folder) / "lecture.html", *([Path(copy)] if copy else [])]
    write_atomically(Path(folder) / "claims.json", json.dumps(report, indent=1) + "\n")
    for path in pages:
        write_atomically(path, render_page(report, path, net))
    verdicts = [entry["verdict"] for entry in report["claims"]]
    make_console().print(
        f"{len(verdicts)} claims on {report['data']['name']}, budget={report['budget']}: "
        f"{', '.join(tally(verdicts).values())}; {report['seconds']:.0f} s\n"
        + "\n".join(map(str, pages)),
        soft_wrap=True,
    )
