"""A sweep: its jobs, and the table, files and figure with which ``python train.py -m …`` ends.

Each job leaves results.json in a directory of its own, wherever it ran. Everything here is read
from these files, so that jobs in other processes or on other machines stand in the same table.
"""

import csv
import io
import json
import re
import statistics
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from lecture4.support.files import write_atomically
from lecture4.training.settings import check_sweep

APART = ("sweep_resume",)  # how a job is run, not what it computes
Identity = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Job:
    """One job of a sweep, as its files tell.

    Attributes:
        path: of its directory.
        overrides: as typed, without those that stand ``APART``.
        results: what results.json holds; empty if it is not there.
    """

    path: Path
    overrides: tuple[str, ...]
    results: dict[str, Any]

    @property
    def status(self) -> str:
        """``completed``, ``failed``, or ``unfinished`` if it was killed."""
        return self.results.get("status", "unfinished")

    @property
    def reason(self) -> str:
        """Why it did not complete."""
        return self.results.get("reason", "it left no results")

    @property
    def score(self) -> float | None:
        """Validation accuracy, by which jobs are ranked; None if the job did not complete."""
        return self.results["val_accuracy"] if self.status == "completed" else None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Values by key."""
        return settings_of(self.overrides)

    @property
    def identity(self) -> Identity:
        """What makes it the same job, whatever its number."""
        return identity(self.overrides)


class Group(list[Job]):
    """Jobs that differ in their seed alone."""

    def values(self, name: str) -> list[float]:
        """A number of each job that completed."""
        return [job.results[name] for job in self if job.status == "completed"]

    @property
    def score(self) -> tuple[bool, float]:
        """By which it is ranked: whether all jobs completed, and their mean validation accuracy."""
        scores = self.values("val_accuracy")
        return len(scores) == len(self), statistics.fmean(scores or [-1.0])


def settings_of(overrides: Iterable[str]) -> dict[str, Any]:
    """Values by key: ``["optim.lr=1e-3"]`` -> ``{"optim.lr": 0.001}``."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {override.get_key_element().lstrip("+"): override.value() for override in parsed}


def identity(overrides: Iterable[str]) -> Identity:
    """Equal for the same settings, in whatever order and notation (1e-3, 0.001)."""
    settings = settings_of(overrides)
    return tuple(sorted((k, _text(v)) for k, v in settings.items() if k not in APART))


def jobs(folder: str | Path) -> list[Job]:
    """The jobs in a sweep's directory; of the same job in two places, the newer that completed."""
    return distinct(attempts(folder))


def distinct(tried: Iterable[Job]) -> list[Job]:
    """Of the same job more than once, older ones first, the newest that completed."""
    found: dict[Identity, Job] = {}
    for job in tried:
        before = found.get(job.identity)
        if before is None or job.status == "completed" or before.status != "completed":
            found[job.identity] = job
    return list(found.values())


def attempts(folder: str | Path) -> list[Job]:
    """Every directory of a job below a sweep's, older ones first."""
    records = sorted(Path(folder).rglob(".hydra/overrides.yaml"), key=_number)
    return [job for job in map(_job, records) if job is not None]


def _job(record: Path) -> Job | None:
    """The job with this record of its overrides; None if it was killed while it was written."""
    path = record.parent.parent
    try:
        overrides = yaml.safe_load(record.read_text())
        kept = tuple(o for o in overrides if not settings_of([o]).keys() & set(APART))
    except (OSError, yaml.YAMLError, HydraException, TypeError, ValueError):
        return None
    return Job(path, kept, _results(path))


def finished(folder: str | Path) -> set[Identity]:
    """What need not be done again."""
    return {job.identity for job in jobs(folder) if job.status == "completed"}


def groups(of: Iterable[Job]) -> list[Group]:
    """Jobs by their settings but for the seed, the best mean validation accuracy first."""
    by_settings: dict[Identity, Group] = {}
    for job in of:
        key = tuple(pair for pair in job.identity if pair[0] != "seed")
        by_settings.setdefault(key, Group()).append(job)
    return sorted(by_settings.values(), key=lambda group: group.score, reverse=True)


def swept(of: Sequence[Job]) -> list[str]:
    """The keys in which jobs differ, in the order in which they were typed."""
    keys = dict.fromkeys(key for job in of for key in job.settings)
    return [k for k in keys if len({_text(job.settings.get(k)) for job in of}) > 1]


def record_failure(folder: str | Path, reason: str) -> None:
    """Leave results.json for a job that failed, so that the sweep's table tells why."""
    failure = {"status": "failed", "reason": reason}
    write_atomically(Path(folder) / "results.json", json.dumps(failure, indent=2) + "\n")


class Watch(Callback):
    """Tells Hydra where the jobs of a sweep go, and ``report`` that there is one."""

    begun: "tuple[Path, dict[Path, Any]] | None" = None  # its directory, and what was there before

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before the first job, and before a grid or a study is made of the choices."""
        folder = Path(config.hydra.sweep.dir)
        try:
            check_sweep(config)
            before = attempts(folder)
            if config.sweep_resume and not before:
                raise ValueError(
                    f"sweep_resume=true finds no job in {folder}; hydra.sweep.dir= says where the "
                    f"sweep is that is to go on"
                )
            with read_write(config), open_dict(config):
                _continue_numbers(config, before)
                if "study_name" in config.hydra.sweeper:
                    _compose_choices(config)
                    folder.mkdir(parents=True, exist_ok=True)  # for the database
                    _continue_study(config, before)
        except Exception as error:  # which Hydra would hide
            raise SystemExit(1) from error
        Watch.begun = folder, {job.path: job.results for job in before}


@contextmanager
def report() -> Iterator[None]:
    """End a sweep with its table, whatever has happened; with code 1 if one of its jobs failed."""
    try:
        yield
    except BaseException as error:
        if Watch.begun and attempts(Watch.begun[0]):
            conclude(*Watch.begun)
            if isinstance(error, Exception) and not finished(Watch.begun[0]):
                sys.exit(1)  # a study finds no best one among jobs that all failed, as is told
        raise
    if Watch.begun and conclude(*Watch.begun):
        sys.exit(1)


def conclude(folder: Path, before: dict[Path, Any]) -> bool:
    """Print the table, write sweep.csv, sweep.md and sweep.png; did a job of this sweep fail?

    Args:
        folder: of the sweep.
        before: results of the jobs that were there when it began.

    Raises:
        ValueError: there is no job.
    """
    tried = attempts(folder)
    ran = distinct(tried)
    if not ran:
        raise ValueError(f"no job left a record in {folder}; hydra.output_subdir must not be null")
    from lecture4.support.console import make_console
    from lecture4.training import figures

    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()  # or what its workers print would follow the table
    rows = table(ran, folder)
    write_atomically(folder / "sweep.csv", as_csv(ran))
    write_atomically(folder / "sweep.md", as_markdown(rows))
    figure = figures.sweep([job.settings for job in ran], [job.score for job in ran], swept(ran))
    figure.savefig(folder / "sweep.png", dpi=150)
    written = ["sweep.csv", "sweep.md", "sweep.png"]
    if (study := folder / "study.db").exists() and (importance := _importance(study)):
        figures.importance(importance).savefig(folder / "importance.png", dpi=150)
        written.append("importance.png")

    console = make_console()
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    console.print(_render(rows))
    new = [j for j in tried if j.path not in before or before[j.path] != j.results]
    odd = {job.path: job for job in [*ran, *new] if job.status != "completed"}
    for path, job in odd.items():
        say(f"{path.relative_to(folder)} {job.status}: {job.reason}")
    say(f"{folder}: {', '.join(written)}")
    if odd:
        say(f"python train.py -m … hydra.sweep.dir={folder} sweep_resume=true does the rest")
    return any(job.status != "completed" for job in new)


def table(of: Sequence[Job], folder: Path) -> list[dict[str, str]]:
    """A row for each configuration, ranked by validation accuracy, seeds as mean ± std."""
    from lecture4.training import figures

    keys = [key for key in swept(of) if key != "seed"]
    rows = []
    for rank, group in enumerate(groups(of), 1):
        done = sum(job.status == "completed" for job in group)
        odd = sorted({job.status for job in group} - {"completed"})
        rows.append(
            {
                "rank": str(rank) if done else "",
                "overrides": " ".join(
                    f"{key}={figures.plain(group[0].settings[key])}"
                    for key in keys
                    if key in group[0].settings
                ),
                "val accuracy": _spread(group.values("val_accuracy"), ".2%"),
                "test accuracy": _spread(group.values("test_accuracy"), ".2%"),
                "n": str(done),
                "seconds": _spread(group.values("train_seconds"), ".1f"),
                "status": ", ".join((["completed"] if done else []) + odd),
                "path": " ".join(str(job.path.relative_to(folder)) for job in group),
            }
        )
    return rows


def as_csv(of: Sequence[Job]) -> str:
    """A row for each job, ranked by validation accuracy."""
    keys = swept(of)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    results = ("val_accuracy", "test_accuracy", "train_seconds", "status", "reason")
    writer.writerow(["rank", "overrides", *keys, *results[:2], "seconds", *results[3:], "path"])
    ranked = sorted(of, key=lambda job: -1 if job.score is None else job.score, reverse=True)
    for rank, job in enumerate(ranked, 1):
        told = {**job.results, "status": job.status}
        writer.writerow(
            [
                rank if job.score is not None else "",
                " ".join(job.overrides),
                *(_cell(job.settings.get(key, "")) for key in keys),
                *(told.get(name, "") for name in results),
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
    from rich.text import Text

    from lecture4.support.console import make_table

    shown = make_table()
    for name in rows[0]:
        number = name in ("rank", "val accuracy", "test accuracy", "n", "seconds")
        shown.add_column(name, justify="right" if number else "left", no_wrap=number)
    for row in rows:
        shown.add_row(*map(Text, row.values()))
    return shown


def _results(path: Path) -> dict[str, Any]:
    try:
        results = json.loads((path / "results.json").read_text())
        if results["status"] == "completed":
            for name in ("val_accuracy", "test_accuracy", "train_seconds"):
                results[name] = float(results[name])
        return results
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        return {"status": "unfinished", "reason": f"{path / 'results.json'} cannot be read"}


def _number(path: Path) -> list:
    """For sorting: r2-10 after r2-9 after 10."""
    parts = re.split(r"(\d+)", path.parent.parent.name)
    return [len(parts), *(int(part) if part.isdigit() else part for part in parts)]


def _continue_numbers(config: DictConfig, before: Sequence[Job]) -> None:
    """Where jobs lie already, name those of the n-th sweep rn-0, rn-1, …, so that none is lost."""
    names = [job.path.name for job in before]
    chosen = [
        word for word in config.hydra.overrides.hydra if word.startswith("hydra.sweep.subdir")
    ]
    if names and not chosen:
        turns = [int(match[1]) for name in names if (match := re.match(r"r(\d+)-", name))]
        name = f"r{max(turns, default=1) + 1}-${{hydra.job.num}}"
        config.hydra.overrides.hydra.append(f"hydra.sweep.subdir={name}")


def _compose_choices(config: DictConfig) -> None:
    """Refuse what does not compose; a grid does so itself, a study when the choice is drawn."""
    loader = GlobalHydra.instance().config_loader()
    words = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    words += config.hydra.overrides.task
    choices = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(words):
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices[key] = [override.input_line]
        elif override.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            choices[key] = [f"{key}={override.value().start}"]
    first = {key: of_key[0] for key, of_key in choices.items()}
    for key, of_key in choices.items():
        for word in of_key[1:] or of_key:
            loader.load_sweep_config(config, list({**first, key: word}.values()))


def _continue_study(config: DictConfig, before: Sequence[Job]) -> None:
    """Draw other trials than those that are there; with sweep_resume, as many as are missing."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sweeper = config.hydra.sweeper
    if sweeper.sampler.get("seed") is not None:
        sweeper.sampler.seed += len(before)
    if config.sweep_resume:
        done = sum(job.status == "completed" for job in before)
        sweeper.n_trials = max(sweeper.n_trials - done, 0)


def _importance(study: Path) -> dict[str, float]:
    """How much each choice of a study tells of validation accuracy; empty if too few trials do.

    The share of each in what a random forest's splits explain (mean decrease of impurity); they
    sum to 1.
    """
    import optuna
    from optuna.importance import MeanDecreaseImpurityImportanceEvaluator

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{study}"
    (name,) = (summary.study_name for summary in optuna.get_all_study_summaries(storage))
    loaded = optuna.load_study(name, storage)
    if len({trial.value for trial in loaded.trials} - {None}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = MeanDecreaseImpurityImportanceEvaluator(seed=0)
        return optuna.importance.get_param_importances(loaded, evaluator=evaluator)


def _spread(values: Sequence[float], form: str) -> str:
    """Mean ± standard deviation."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):{form}}"
    return f"{mean} ± {statistics.stdev(values):{form}}" if len(values) > 1 else mean


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else _text(value)


def _text(value: Any) -> str:
    """Equal for equal values: 1 and 1.0, 1e-3 and 0.001."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, default=str, ensure_ascii=False)
