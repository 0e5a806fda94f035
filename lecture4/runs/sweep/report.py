"""How a sweep ends: a ranked table, sweep.csv, sweep.md, sweep.png and importance.png."""

import csv
import io
import os
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lecture4.runs.recorded import quoted
from lecture4.runs.sweep.jobs import Job, as_text, attempts, distinct, groups, swept_keys
from lecture4.support.console import command_line
from lecture4.support.files import write_atomically
from lecture4.support.outputs import Outputs

FINE = ("completed", "pruned", "running")  # by another process that works on the study


def conclude(folder: Path, before: dict[Path, Any]) -> bool:
    """Print the table and write its files; return whether a job of this sweep failed.

    Args:
        folder: the sweep's directory.
        before: results of the jobs that were there when it began.

    Raises:
        ValueError: there is no job.
    """
    tried = attempts(folder)
    ran = distinct(tried)
    if not ran:
        raise ValueError(f"no job left a record in {folder}")
    from lecture4.support.console import make_console

    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()  # else output of its workers would follow the table
    console, outputs = make_console(), Outputs()
    say = partial(console.print, soft_wrap=True)
    rows = table(ran, folder)
    outputs.write("the table", lambda: console.print(_render(rows)))
    new = [j for j in tried if j.path not in before or before[j.path] != j.results]
    odd = {job.path: job for job in [*ran, *new] if job.status not in FINE}
    for path, job in odd.items():
        say(f"{path.relative_to(folder)} {job.status}: {job.reason}")
    outputs.report(folder)
    say(f"{folder}: {', '.join(_write(folder, ran, rows))}")
    if odd:
        say(f"{_rest(folder)} runs the rest")
    return any(job.status not in FINE for job in new)


def _rest(folder: Path) -> str:
    """The command that continues the sweep in its directory."""
    words = [w for w in sys.argv if not w.startswith(("hydra.sweep.dir=", "sweep_resume="))]
    place = f"hydra.sweep.dir={quoted(os.path.abspath(folder))}"
    return command_line("python", *words, place, "sweep_resume=true")


def _write(folder: Path, ran: Sequence[Job], rows: Sequence[dict]) -> list[str]:
    """Write the table and the figures of a sweep; return the names of those that were written."""
    from lecture4.runs.sweep import figures, study
    from lecture4.training.figures import save

    def choices():
        settings, scores = [job.settings for job in ran], [job.score for job in ran]
        split = "validation"
        if not any(score is not None for score in scores):
            split, scores = "test", [job.results.get("test_accuracy") for job in ran]
        return figures.accuracy_by_choice(settings, scores, swept_keys(ran), split)

    def frontier() -> bool:
        costs = ("train_seconds", "train_flops")
        done = {
            row["overrides"]: [job.results for job in group if all(map(job.results.get, costs))]
            for row, group in zip(rows, groups(ran), strict=True)
        }
        done = {name: results for name, results in done.items() if results}
        if done:
            save(lambda: figures.frontier(done), folder / "frontier.png")
        return bool(done)

    def importance() -> bool:
        if shares := study.importance(folder):
            save(lambda: figures.importance(shares), folder / "importance.png")
        return bool(shares)

    outputs = Outputs()
    outputs.write("sweep.csv", lambda: write_atomically(folder / "sweep.csv", as_csv(ran)))
    outputs.write("sweep.md", lambda: write_atomically(folder / "sweep.md", as_markdown(rows)))
    outputs.write("sweep.png", lambda: save(choices, folder / "sweep.png"))
    outputs.write("frontier.png", frontier)
    if (folder / study.JOURNAL).exists():
        outputs.write("importance.png", importance)
    outputs.report(folder)
    return outputs.written


def table(jobs: Sequence[Job], folder: Path) -> list[dict[str, str]]:
    """A row for each configuration, ranked by validation accuracy; seeds give mean ± std.

    Configurations without validation are not ranked, but listed in their order below the others.
    """
    from lecture4.runs.sweep import figures

    keys = [key for key in swept_keys(jobs) if key != "seed"]
    rows = []
    for rank, group in enumerate(groups(jobs), 1):
        odd = sorted({job.status for job in group} - {"completed"})
        rows.append(
            {
                "rank": str(rank) if group.values("val_accuracy") else "",
                "overrides": " ".join(
                    f"{key}={figures.plain(group[0].settings[key])}"
                    for key in keys
                    if key in group[0].settings
                ),
                "val accuracy": _spread(group.values("val_accuracy"), ".2%"),
                "test accuracy": _spread(group.values("test_accuracy"), ".2%"),
                "n": str(group.completed),
                "seconds": _spread(group.values("train_seconds"), ".1f"),
                "status": ", ".join((["completed"] if group.completed else []) + odd),
                "path": " ".join(str(job.path.relative_to(folder)) for job in group),
            }
        )
    return rows


def as_csv(jobs: Sequence[Job]) -> str:
    """A row for each job, ranked by validation accuracy."""
    keys = swept_keys(jobs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    accuracies = ("val_accuracy", "test_accuracy", "test_time", "test_time_accuracy")
    results = (*accuracies, "train_seconds", "train_flops", "status", "reason")
    names = (*accuracies, "seconds", *results[5:])
    writer.writerow(["rank", "overrides", *keys, *names, "path"])
    ranked = sorted(jobs, key=lambda job: -1 if job.score is None else job.score, reverse=True)
    for rank, job in enumerate(ranked, 1):
        values = {**job.results, "status": job.status}
        writer.writerow(
            [
                rank if job.score is not None else "",
                " ".join(job.overrides),
                *(_cell(job.settings.get(key, "")) for key in keys),
                *(values.get(name, "") for name in results),
                job.path,
            ]
        )
    return text.getvalue()


def as_markdown(rows: Sequence[dict[str, str]]) -> str:
    """The table in Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    cells = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _render(rows: Sequence[dict[str, str]]):
    from lecture4.support.console import make_table

    shown = make_table()
    for name in rows[0]:
        number = name in ("rank", "val accuracy", "test accuracy", "n", "seconds")
        shown.add_column(name, justify="right" if number else "left", no_wrap=number)
    for row in rows:
        shown.add_row(*row.values())
    return shown


def _spread(values: Sequence[float], form: str) -> str:
    """Mean ± standard deviation."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):{form}}"
    return f"{mean} ± {statistics.stdev(values):{form}}" if len(values) > 1 else mean


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else as_text(value)
