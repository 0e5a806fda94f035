"""Go on with a run: ``python train.py resume=RUN``, in RUN and with the configuration of RUN.

A run directory may come from a stranger. So its configuration is read as plain values; nothing is
built from it but what this repository's own conf/ names; nothing of the environment enters it but
what conf/ takes from there; and it cannot send its records elsewhere than conf/ does.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from lecture4.support.conf import CONF
from lecture4.support.files import write_atomically
from lecture4.support.processes import rank
from lecture4.training.settings import ACCEPTED, in_sweep

EXTENSION = "resumed.yaml"  # in RUN: the larger trainer.max_epochs with which it was resumed
MAY_BE_MISSING = ("resume", "sweep_resume", "checkpoint")  # in the configuration of an older run
OWN_FOLDERS = (".hydra", "checkpoints", "figures", "tensorboard")  # in which a run writes
# What a run may say of its records otherwise than conf/logger does; the rest says where they go.
FREE = {
    "wandb": {"project", "notes", "offline", "name", "group", "tags"},
    "mlflow": {"experiment_name", "run_name", "tags"},
}


def hydra_arguments(argv: list[str]) -> list[str]:
    """The command line with which Hydra works in RUN, and leaves the record in RUN/.hydra alone.

    Raises:
        ValueError: RUN is no run's directory.
    """
    given = [word for word in argv if re.match(r"\+{0,2}resume=(?!null$)", word)]
    if not given:
        return argv
    if {"-m", "--multirun"} & set(argv):
        raise ValueError("resume goes on with one run; with a sweep, sweep_resume=true does")
    run = given[-1].partition("=")[2]
    if len(run) > 1 and run[0] == run[-1] and run[0] in "\"'":
        run = run[1:-1].replace(f"\\{run[0]}", run[0])
    if Path(run).is_file():
        raise ValueError(f"resume={run} is a file; name the run's directory, the one with .hydra/")
    if not _record(run).is_file():
        raise ValueError(
            f"resume={run} is no run's directory: {_record(run)} is not there; "
            f"python train.py without resume= begins a new run"
        )
    quoted = '"' + os.path.abspath(run).replace('"', '\\"') + '"'
    others = [word for word in argv if word not in given]
    return [*others, f"resume={quoted}", f"hydra.run.dir={quoted}", "hydra.output_subdir=null"]


def configuration(cfg: DictConfig) -> DictConfig:
    """The configuration of the run that ``cfg.resume`` names, or ``cfg`` if it names none.

    Args:
        cfg: as composed for this command; of it, ``trainer.max_epochs`` counts, if it was typed.

    Raises:
        ValueError: other settings were typed, fewer epochs than before were asked for, or the
            configuration cannot be read or is none that this program would have recorded.
    """
    if cfg.resume is None:
        return cfg
    run = Path(cfg.resume)
    if in_sweep() or Path(HydraConfig.get().runtime.output_dir) != run:
        raise ValueError("resume is given alone, as in python train.py resume=RUN, without -m")
    typed = _typed(cfg)
    _refuse_links(run)
    _recall_choices(run)
    recorded = _read(_record(run))
    plain = OmegaConf.to_container(cfg, resolve=True)
    for key in MAY_BE_MISSING:
        recorded.setdefault(key, plain[key])
    recorded["resume"] = cfg.resume
    _refuse_foreign(recorded, plain, _record(run))
    recorded["trainer"]["max_epochs"] = _epochs(run, recorded["trainer"]["max_epochs"], typed)
    return OmegaConf.create(recorded)


def last_checkpoint(cfg: DictConfig) -> str | None:
    """Where the run goes on; None if it has to begin."""
    if cfg.resume is None:
        return None
    path = Path(cfg.resume) / "checkpoints" / "last.ckpt"
    return str(path) if path.exists() else None


def completed(cfg: DictConfig) -> float | None:
    """Tell if the run has nothing left to do, and return its validation accuracy; or else None.

    Raises:
        ValueError: its results cannot be read.
    """
    if cfg.resume is None or not (path := Path(cfg.resume) / "results.json").exists():
        return None
    try:
        results = json.loads(path.read_text())
        if results["status"] != "completed" or results["epochs"] < cfg.trainer.max_epochs:
            return None
        told = f"{results['epochs']} epochs, test accuracy {results['test_accuracy']:.2%}"
        accuracy = float(results["val_accuracy"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as the results of a run") from error
    if rank() == 0:
        print(f"{cfg.resume} is complete: {told}; a larger trainer.max_epochs trains on")
    return accuracy


def forget_earlier_run(folder: str) -> None:
    """Let a run that begins find nothing in its directory that would be taken for its own."""
    left = ("results.json", EXTENSION, "checkpoints/best.ckpt", "checkpoints/last.ckpt")
    for name in left if rank() == 0 else ():
        (Path(folder) / name).unlink(missing_ok=True)


def _record(run: str | Path) -> Path:
    return Path(run) / ".hydra" / "config.yaml"


def _typed(cfg: DictConfig) -> int | None:
    """The number of epochs that was typed, which is all that may be, or None."""
    words = {word.partition("=")[0].lstrip("+~"): word for word in HydraConfig.get().overrides.task}
    if others := [
        word for key, word in words.items() if key not in ("resume", "trainer.max_epochs")
    ]:
        raise ValueError(
            f"resume={cfg.resume} takes its configuration from there; leave out {others[0]} "
            f"(only trainer.max_epochs may be given, to train on)"
        )
    return cfg.trainer.max_epochs if "trainer.max_epochs" in words else None


def _epochs(run: Path, epochs: int, typed: int | None) -> int:
    """How many epochs the run is to have; a number larger than recorded is recorded beside it."""
    accepts, _ = ACCEPTED["trainer.max_epochs"]
    for path in [run / EXTENSION] if (run / EXTENSION).exists() else []:
        extended = _read(path).get("max_epochs")
        if not accepts(extended):
            raise ValueError(f"{path}: max_epochs={extended} is not accepted; delete this file")
        epochs = max(epochs, extended)
    if typed is None:
        return epochs
    if not accepts(typed) or typed < epochs:
        raise ValueError(
            f"trainer.max_epochs={typed} is not accepted; to resume {run} it must be a whole "
            f"number ≥ {epochs}"
        )
    if typed > epochs:
        write_atomically(run / EXTENSION, OmegaConf.to_yaml({"max_epochs": typed}))
    return typed


def _read(path: Path) -> dict[str, Any]:
    """A configuration as plain values, with no interpolation but those that conf/ has."""
    try:
        text = path.read_text()
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ValueError("it repeats itself by YAML aliases, which Hydra's records do not")
        unresolved = OmegaConf.load(path)
        offered = {value for _, value in _conf_leaves() if "${" in str(value)}
        for key, value in _leaves(OmegaConf.to_container(unresolved)):
            if "${" in str(value) and value not in offered:
                raise ValueError(f"{key}={value} is not in conf/")
        plain = OmegaConf.to_container(unresolved, resolve=True)
        if not isinstance(plain, dict):
            raise ValueError("it is no mapping")
    except (OSError, yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read as a configuration ({reason})") from error
    return plain


def _refuse_foreign(recorded: dict[str, Any], own: dict[str, Any], path: Path) -> None:
    """Let nothing through that this program would not have recorded itself."""
    offered = {value for key, value in _conf_leaves() if key == "_target_"}
    for key, value in _leaves(recorded):
        if key == "_target_" and value not in offered:
            raise ValueError(f"{path} names {value}, which conf/ does not; it is not run")
        if "${" in str(value):  # would be resolved once more, to what nobody has looked at
            raise ValueError(f"{path}: {key}={value} is not accepted; it hides a value")
    if odd := sorted(set(recorded) - set(own)):
        raise ValueError(f"{path} has a setting {odd[0]}, which python train.py has not")
    for key, value in own.items():
        if key not in recorded:
            raise ValueError(f"{path} lacks {key}; it is no configuration of train.py")
        if isinstance(value, dict) and key != "logger" and not isinstance(recorded[key], dict):
            raise ValueError(f"{path}: {key}={recorded[key]} is not accepted; it must be a group")
    _refuse_foreign_loggers(recorded["logger"] or {}, path)


def _refuse_foreign_loggers(loggers: Any, path: Path) -> None:
    """Records go where conf/logger lets them go; what else is set there would lead elsewhere."""
    own = {
        name: _resolved(settings)
        for file in (CONF / "logger").glob("*.yaml")
        for name, settings in OmegaConf.load(file).items()
        if name != "defaults"
    }
    for name, settings in loggers.items() if isinstance(loggers, dict) else [("logger", loggers)]:
        known = own.get(name, {})
        given = settings if isinstance(settings, dict) else {name: settings}
        for key in known.keys() | given.keys():
            if key not in FREE.get(name, ()) and (
                key not in known or key not in given or given[key] != known[key]
            ):
                raise ValueError(
                    f"{path}: logger.{name}.{key}={given.get(key)} is not that of conf/logger; "
                    f"a run is resumed with its own records alone"
                )


def _resolved(settings: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.create({"of": settings}), resolve=True)["of"]


def _conf_leaves() -> Iterator[tuple[str, Any]]:
    for file in CONF.rglob("*.yaml"):
        yield from _leaves(OmegaConf.to_container(OmegaConf.load(file)))


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its key."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _leaves(child, str(name))
    elif isinstance(node, list):
        for child in node:
            yield from _leaves(child, key)
    else:
        yield key, node


def _refuse_links(run: Path) -> None:
    """A link would let the run write outside of its directory."""
    folders = [run / name for name in OWN_FOLDERS]
    for path in [*folders, *(path for folder in folders for path in folder.glob("*"))]:
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link, and a run writes in its directory alone")


def _recall_choices(run: Path) -> None:
    """Let errors and checks speak of the choices of the run, such as model=mlp."""
    try:
        record = OmegaConf.load(run / ".hydra" / "hydra.yaml")
        choices = OmegaConf.to_container(record.hydra.runtime.choices)
        recalled = {str(k): v and str(v) for k, v in choices.items()}
    except (OSError, yaml.YAMLError, OmegaConfBaseException, AttributeError, ValueError):
        return  # not there, or killed while Hydra wrote it: they stay those of the defaults
    with read_write(HydraConfig.get()):
        HydraConfig.get().runtime.choices.update(recalled)
