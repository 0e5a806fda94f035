"""The lecture as a page: run every claim, remember what was measured, write the page."""

import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from lecture4.data import cifar10_lies_in
from lecture4.lesson.claims import claim
from lecture4.lesson.lab import Lab, verdict
from lecture4.lesson.lab.finding import VERDICTS, Claim
from lecture4.lesson.page import render
from lecture4.support.console import make_console
from lecture4.support.files import write_atomically


def find_data(name: str, root: str) -> str:
    """``auto`` is CIFAR-10 if it lies in ``root``, else shapes."""
    if name != "auto":
        return name
    return "cifar10" if cifar10_lies_in(root) else "shapes"


def measure(
    names: Sequence[str], lab: Lab, progress: "Progress", fallback: bool = False
) -> dict[str, Any]:
    """Run the claims of these names, or take them from the cache: what ``claims.json`` holds.

    Args:
        names: of the claims.
        lab: trains.
        progress: is told what is at work.
        fallback: the lab's data is not the one that was hoped for.
    """
    dataset = lab.dataset
    start = time.perf_counter()
    return {
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
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


def _entry(name: str, lab: Lab, progress: "Progress") -> dict[str, Any]:
    """One claim: its measurements, findings and verdict, and the commands that repeat them."""
    progress.begin(name)
    tested = claim(name)
    of_claim = _source(tested), lab.budget, lab.seed, lab.data, machine()
    key = lab.cache and lab.cache.key(name, *of_claim)
    kept = lab.cache and lab.cache.load(key)
    measured = kept or _measure(tested, lab)
    if lab.cache and not kept:
        lab.cache.store(key, measured)
    findings = tested.judge(measured["measurements"])
    result = verdict(findings)
    progress.end(name, result, None if kept else measured["seconds"])
    return {
        "name": name,
        "title": tested.title,
        "verdict": result,
        "findings": [
            {
                "statement": f.statement,
                "values": list(f.values),
                "mean": f.mean,
                "interval": list(f.interval),
                "at_least": f.at_least if f.at_least > -float("inf") else None,
                "at_most": f.at_most if f.at_most < float("inf") else None,
                "unit": f.unit,
                "verdict": f.verdict,
            }
            for f in findings
        ],
        **measured,
    }


def _measure(tested: Claim, lab: Lab) -> dict[str, Any]:
    lab.commands.clear()
    start = time.perf_counter()
    measurements = json.loads(json.dumps(tested.measure(lab), allow_nan=False))
    return {
        "commands": list(dict.fromkeys(lab.commands)),
        "measurements": measurements,
        "seconds": round(time.perf_counter() - start, 1),
    }


def _source(tested: Claim) -> list[str]:
    """Hashes of the files of ``lecture4.lesson.claims`` that a claim's measurements stand on."""
    module = sys.modules[tested.measure.__module__]
    parts = [module, *vars(module).values()]
    names = {getattr(p, "__module__", None) or getattr(p, "__name__", "") for p in parts}
    files = [
        sys.modules[n].__file__ for n in sorted(names) if n.startswith("lecture4.lesson.claims.")
    ]
    return [sha256(Path(file).read_bytes()).hexdigest() for file in files]


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
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


def publish(report: dict[str, Any], folder: str, copy: str | None) -> None:
    """Write ``claims.json`` and ``lecture.html`` into the run's folder, and say how it went."""
    pages = [Path(folder) / "lecture.html", *([Path(copy)] if copy else [])]
    write_atomically(Path(folder) / "claims.json", json.dumps(report, indent=1) + "\n")
    for page in pages:
        write_atomically(page, render(report, page.parent))
    verdicts = [entry["verdict"] for entry in report["claims"]]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in VERDICTS if v in verdicts)
    make_console().print(
        f"{len(verdicts)} claims on {report['data']['name']}, budget={report['budget']}: {counts}; "
        f"{report['seconds']:.0f} s\n" + "\n".join(f"{page}" for page in pages),
        highlight=False,
        soft_wrap=True,
    )


class Progress:
    """Names the claim at work: a bar on a terminal, and a line for each claim anywhere.

    Args:
        names: of the claims, in order.
        kept: what is measured is kept for another run.
    """

    def __init__(self, names: Sequence[str], kept: bool = True):
        self.names, self.kept = list(names), kept
        self._console = make_console()
        self._bar = Bar(
            TextColumn("{task.completed}/{task.total}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=len(self.names))
        self._at_work = ""

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, kind, error, trace):
        self._bar.stop()
        if isinstance(error, KeyboardInterrupt | SystemExit):
            done = self.names.index(self._at_work) if self._at_work else 0
            kept = "are kept, and the same command goes on from there" if self.kept else "were done"
            make_console(stderr=True).print(
                f"interrupted at {self._at_work or 'the start'}; "
                f"{done} of {len(self.names)} claims {kept}",
                highlight=False,
                soft_wrap=True,
            )
            raise SystemExit(130) from error

    def begin(self, name: str) -> None:
        """A claim begins."""
        self._at_work = name
        self._bar.update(self._task, completed=self.names.index(name), description=name)
        if not self._console.is_terminal:
            self._say(name, "…")

    def note(self, text: str) -> None:
        """What is being done for the claim at work."""
        text = text if len(text) <= 60 else text[:59] + "…"
        self._bar.update(self._task, description=f"{self._at_work}: {text}".replace("[", r"\["))

    def end(self, name: str, result: str, seconds: float | None) -> None:
        """A claim has its verdict; it took these seconds, or was measured before."""
        self._say(
            name, f"{result:14} " + ("measured before" if seconds is None else f"{seconds:.1f} s")
        )

    def _say(self, name: str, text: str) -> None:
        number = f"{self.names.index(name) + 1:2}/{len(self.names)}"
        self._console.print(f"{number}  {name:14} {text}", highlight=False, soft_wrap=True)
