"""Resume a run: ``python train.py resume=RUN`` continues in RUN, with the configuration of RUN."""

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lecture4.runs import recorded
from lecture4.runs.recorded import PATHS, quoted
from lecture4.support.code_files import is_code_file
from lecture4.support.conf import CONF
from lecture4.support.console import printable
from lecture4.support.files import write_atomically
from lecture4.support.places import located
from lecture4.support.processes import rank
from lecture4.training.processes import in_sweep

if TYPE_CHECKING:  # it imports torch, which errors of composition do not wait for
    from lecture4.data import Dataset
    from lecture4.training.formulas import Formulas

BESIDE = ("trainer.max_epochs", *PATHS)  # what may be given with resume=, and formulas=PATH
EXTENSION = "resumed.yaml"  # in RUN: overrides of BESIDE, as given when it was resumed
DATA = "data.json"  # in RUN: what tells its data from others
FORMULAS = "formulas.json"  # in RUN: the checksum of its file of formulas, if it has one


def hydra_arguments(argv: list[str]) -> list[str]:
    """Make Hydra work in RUN, if ``argv`` has resume=RUN.

    Raises:
        ValueError: RUN is not a run's directory.
    """
    given = [word for word in argv if re.match(r"\+{0,2}resume=(?!null$)", word)]
    if not given:
        return argv
    if {"-m", "--multirun"} & set(argv):
        raise ValueError("resume continues one run; sweep_resume=true continues a sweep")
    run = given[-1].partition("=")[2]
    if len(run) > 1 and run[0] == run[-1] and run[0] in "\"'":
        run = run[1:-1].replace(f"\\{run[0]}", run[0])
    run = os.path.expanduser(run)
    if Path(run).is_file():
        raise ValueError(f"resume={run} is a file; name the run's directory, the one with .hydra/")
    record = Path(run) / ".hydra" / "config.yaml"
    if not record.is_file():
        raise ValueError(
            f"resume={run} is not a run's directory: {record} does not exist; "
            f"python train.py without resume= begins a new run"
        )
    path = quoted(os.path.abspath(run))
    # data.val_root is no setting of the data that conf/train.yaml chooses: ++ sets it all the same
    others = [
        f"++{word.lstrip('+')}" if word.lstrip("+").startswith(PATHS) else word
        for word in argv
        if word not in given
    ]
    return [*others, f"resume={path}", f"hydra.run.dir={path}"]


def configuration(cfg: DictConfig) -> DictConfig:
    """Compose the configuration of the run that ``cfg.resume`` names, or begin a run with ``cfg``.

    Args:
        cfg: as composed for this command. The settings ``BESIDE`` apply, if they were typed.

    Raises:
        ValueError: other settings were typed, fewer epochs were asked for than before, or the run's
            overrides are refused or do not give the configuration that it recorded. The run begins,
            and could not be resumed.
    """
    if cfg.resume is None:
        return _begun(cfg) if HydraConfig.initialized() else cfg
    run = Path(cfg.resume)
    if in_sweep() or Path(HydraConfig.get().runtime.output_dir) != run:
        raise ValueError("resume is given alone, as in python train.py resume=RUN, without -m")
    typed = _typed(cfg)
    recorded.refuse_links(run)
    words = recorded.read_overrides(run / ".hydra" / "overrides.yaml")
    recorded.compare(run / ".hydra" / "config.yaml", recorded.compose(words))
    earlier = _extension(run)
    before = recorded.compose(words + earlier)
    resumed = recorded.compose(words + recorded.read_paths(run) + earlier + typed)
    epochs, least = resumed.trainer.max_epochs, before.trainer.max_epochs
    if type(epochs) is not int or epochs < least:
        raise ValueError(
            f"trainer.max_epochs={epochs} is not accepted; to resume {run} it must be a whole "
            f"number ≥ {least}"
        )
    resumed.formulas = _formulas(cfg, before.formulas)
    resumed.resume = cfg.resume
    return resumed


def _formulas(cfg: DictConfig, recorded_: str) -> str:
    """The formulas of a resumed run: a file's are as typed, for a recorded path is not read."""
    typed = any(_key(word) == "formulas" for word in _overrides())
    if is_code_file(recorded_) and not (typed and is_code_file(cfg.formulas)):
        raise ValueError(
            f"{cfg.resume} trained with the formulas of a file, and keeps no copy of it; add "
            f"formulas=PATH, where the file is now"
        )
    if typed and not is_code_file(recorded_):
        raise ValueError(f"{cfg.resume} trained with formulas={recorded_}; leave out formulas=")
    return recorded.absolute(cfg.formulas) if typed else recorded_


def _begun(cfg: DictConfig) -> DictConfig:
    """Refuse what could not be resumed, then make paths absolute.

    In a notebook the overrides may be unknown; such a run cannot be resumed.
    """
    if recorded.overrides_known():
        if rank() == 0 and HydraConfig.get().output_subdir is not None:
            raise ValueError("hydra.output_subdir is not accepted; a run's record is in .hydra")
        plain = OmegaConf.to_container(recorded.check(_overrides()))
        if key := recorded.first_difference(OmegaConf.to_container(cfg), plain, plain):
            raise ValueError(
                f"{key} is not what conf/ gives; a run can be resumed with files of {CONF} alone, "
                f"so copy yours there in place of --config-dir, --config-name or hydra.searchpath"
            )
    for key in (*PATHS, *(["formulas"] if is_code_file(cfg.formulas) else [])):
        if isinstance(path := OmegaConf.select(cfg, key), str) and path:
            OmegaConf.update(cfg, key, recorded.absolute(path))
    return cfg


def check_data(folder: str, dataset: "Dataset", resumed: bool) -> None:
    """Record which data a new run in ``folder`` has; refuse to resume it with others.

    Raises:
        ValueError: says what differs.
    """
    path = Path(folder) / DATA
    if not resumed and rank() == 0:
        write_atomically(path, json.dumps(dataset.description, indent=2) + "\n")
    if not resumed or not path.exists():  # a run of an earlier version
        return
    with located(str(path)):
        difference = dataset.difference(recorded.read_yaml(path))
    if difference:
        root = dataset.source.get("root", "memory")
        raise ValueError(
            f"the data in {root} are not those of the run: {difference}; restore them, say where "
            f"they are with data.root=, or begin a new run"
        )


def check_formulas(folder: str | os.PathLike, found: "Formulas", resumed: bool) -> None:
    """Record the checksum of a run's file of formulas; say if a resumed run has another."""
    if found.source is None or rank() != 0:
        return
    path, now = Path(folder) / FORMULAS, {"sha256": found.source.sha256}
    if resumed and path.exists() and recorded.read_yaml(path) != now:
        print(
            f"{printable(found.source.path)} has changed since {printable(folder)} trained with "
            f"it; the run continues with the file as it is now",
            file=sys.stderr,
        )
    write_atomically(path, json.dumps(now, indent=2) + "\n")


def record_typed(cfg: DictConfig) -> None:
    """Record what was typed beside ``resume=``, once nothing speaks against resuming with it."""
    if cfg.resume is None or in_sweep() or rank() != 0:
        return
    run = Path(cfg.resume)
    if typed := _typed(cfg):
        write_atomically(run / EXTENSION, yaml.safe_dump(_extension(run) + typed))


def _extension(run: Path) -> list[str]:
    path = run / EXTENSION
    return recorded.read_overrides(path, BESIDE) if path.exists() else []


def last_checkpoint(cfg: DictConfig) -> str | None:
    """The checkpoint to continue from; None if training starts from the beginning."""
    if cfg.resume is None:
        return None
    path = Path(cfg.resume) / "checkpoints" / "last.ckpt"
    return str(path) if path.exists() else None


def completed(cfg: DictConfig) -> dict[str, Any] | None:
    """If the resumed run has nothing left to do, say so and return its results.

    Raises:
        ValueError: its results cannot be read.
    """
    if cfg.resume is None or not (path := Path(cfg.resume) / "results.json").exists():
        return None
    try:
        results = json.loads(path.read_text())
        if results["status"] != "completed" or results["epochs"] < cfg.trainer.max_epochs:
            return None
        reached = f"{results['epochs']} epochs, test accuracy {results['test_accuracy']:.2%}"
        float(results["val_accuracy"] or 0)  # null without a validation split
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as the results of a run") from error
    if rank() == 0:
        print(f"{cfg.resume} is complete: {reached}; a larger trainer.max_epochs trains on")
    return results


def forget_earlier_run(folder: str) -> None:
    """Delete results, figures and checkpoints that an earlier run left in this directory."""
    names = "results.json", EXTENSION, FORMULAS, "checkpoints/best.ckpt", "checkpoints/last.ckpt"
    paths = [*(Path(folder) / name for name in names), *Path(folder).glob("figures/*.png")]
    for path in paths if rank() == 0 else ():
        path.unlink(missing_ok=True)


def _overrides() -> list[str]:
    """The overrides of this job as they were typed."""
    return OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)


def _typed(cfg: DictConfig) -> list[str]:
    """The overrides of ``BESIDE`` that were typed; any other is an error."""
    typed = []
    for word in _overrides():
        key = _key(word)
        if key in BESIDE and word[0] != "~":
            if "${" in word:
                raise ValueError(f"{word} is not accepted with resume=; give the value itself")
            path = OmegaConf.select(cfg, key)
            text = quoted(recorded.absolute(path)) if key in PATHS and isinstance(path, str) else ""
            typed.append(f"{key}={text}" if text else word.lstrip("+"))
        elif key not in ("resume", "formulas"):
            raise ValueError(
                f"resume={cfg.resume} takes its configuration from there; leave out {word} "
                f"(only {', '.join(BESIDE[:-1])} and {BESIDE[-1]} may be given)"
            )
    return typed


def _key(word: str) -> str:
    """+data.root=/x -> data.root"""
    return word.partition("=")[0].lstrip("+~")
