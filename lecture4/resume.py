"""Go on with a run: ``python train.py resume=RUN``, in RUN and with the configuration of RUN.

A run directory may come from a stranger. So its configuration is read as plain values, and nothing
is built from it but what this repository's own conf/ names.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lecture4.files import write_atomically
from lecture4.settings import ACCEPTED, CONF

EXTENSION = "resumed.yaml"  # in RUN: the larger trainer.max_epochs with which it was resumed
MAY_BE_MISSING = ("resume", "sweep_resume", "checkpoint")  # in the configuration of an older run


def hydra_arguments(argv: list[str]) -> list[str]:
    """The command line with which Hydra works in RUN, and leaves the record in RUN/.hydra alone.

    Raises:
        ValueError: RUN is no run's directory.
    """
    given = [word for word in argv if word.startswith("resume=") and word != "resume=null"]
    if not given:
        return argv
    if {"-m", "--multirun"} & set(argv):
        raise ValueError("resume goes on with one run; with a sweep, sweep_resume=true does")
    run = given[-1].removeprefix("resume=").strip("\"'")
    if not _record(run).is_file():
        raise ValueError(
            f"resume={run} is no run's directory: {_record(run)} is not there; "
            f"python train.py without resume= begins a new run"
        )
    quoted = '"' + run.replace('"', '\\"') + '"'
    others = [word for word in argv if word not in given]
    return [*others, f"resume={quoted}", f"hydra.run.dir={quoted}", "hydra.output_subdir=null"]


def configuration(cfg: DictConfig) -> DictConfig:
    """The configuration of the run that ``cfg.resume`` names, or ``cfg`` if it names none.

    Args:
        cfg: as composed for this command; of it, ``trainer.max_epochs`` counts, if it was typed.

    Raises:
        ValueError: other settings were typed, fewer epochs than before were asked for, or the
            configuration cannot be read or names what conf/ does not.
    """
    if cfg.resume is None:
        return cfg
    run = Path(cfg.resume)
    recorded = _read(_record(run))
    _refuse_foreign(recorded, cfg, run)
    for key in MAY_BE_MISSING:
        recorded.setdefault(key, OmegaConf.to_container(cfg, resolve=True)[key])
    recorded["resume"] = cfg.resume
    _recall_choices(run)
    epochs = recorded["trainer"]["max_epochs"]
    if (run / EXTENSION).exists():
        epochs = max(epochs, _read(run / EXTENSION)["trainer"]["max_epochs"])
    recorded["trainer"]["max_epochs"] = _extended(cfg, epochs)
    if recorded["trainer"]["max_epochs"] > epochs:
        extension = {"trainer": {"max_epochs": recorded["trainer"]["max_epochs"]}}
        write_atomically(run / EXTENSION, OmegaConf.to_yaml(extension))
    return OmegaConf.create(recorded)


def last_checkpoint(cfg: DictConfig) -> str | None:
    """Where the run goes on; None if it has to begin."""
    if cfg.resume is None:
        return None
    path = Path(cfg.resume) / "checkpoints" / "last.ckpt"
    return str(path) if path.exists() else None


def completed(cfg: DictConfig) -> float | None:
    """Tell if the run has nothing left to do, and return its validation accuracy; or else None."""
    if cfg.resume is None or not (path := Path(cfg.resume) / "results.json").exists():
        return None
    try:
        results = json.loads(path.read_text())
        if results["status"] != "completed" or results["epochs"] < cfg.trainer.max_epochs:
            return None
        print(
            f"{cfg.resume} is complete: {results['epochs']} epochs, test accuracy "
            f"{results['test_accuracy']:.2%}; a larger trainer.max_epochs trains on"
        )
        return results["val_accuracy"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as the results of a run") from error


def _record(run: str | Path) -> Path:
    return Path(run) / ".hydra" / "config.yaml"


def _read(path: Path) -> dict[str, Any]:
    """A configuration as plain values."""
    try:
        plain = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OSError, YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read as a configuration ({reason})") from error
    if not isinstance(plain, dict):
        raise ValueError(f"{path} cannot be read as a configuration (it is no mapping)")
    return plain


def _refuse_foreign(recorded: dict[str, Any], cfg: DictConfig, run: Path) -> None:
    """Let nothing through that this program would not have recorded itself."""
    offered = {
        value
        for file in CONF.rglob("*.yaml")
        for key, value in _leaves(OmegaConf.to_container(OmegaConf.load(file)))
        if key == "_target_"
    }
    for key, value in _leaves(recorded):
        if key == "_target_" and value not in offered:
            raise ValueError(
                f"{_record(run)} names {value}, which is none of the choices in conf/; "
                f"it is not run"
            )
        if "${" in str(value):  # would be resolved later, to what nobody has looked at
            raise ValueError(f"{_record(run)}: {key}={value} is not accepted; it hides a value")
    if odd := sorted(set(recorded) - set(cfg)):
        raise ValueError(f"{_record(run)} has a setting {odd[0]}, which python train.py has not")
    if gone := [key for key in cfg if key not in recorded and key not in MAY_BE_MISSING]:
        raise ValueError(f"{_record(run)} lacks {gone[0]}; it is no configuration of train.py")


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _leaves(child, str(name))
    elif isinstance(node, list):
        for child in node:
            yield from _leaves(child, key)
    else:
        yield key, node


def _recall_choices(run: Path) -> None:
    """Let errors and checks speak of the choices of the run, such as model=mlp."""
    path = run / ".hydra" / "hydra.yaml"
    if not path.exists():
        return  # killed while Hydra wrote its record
    try:
        choices = OmegaConf.to_container(OmegaConf.load(path).hydra.runtime.choices)
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{path} cannot be read as Hydra's record") from error
    with read_write(HydraConfig.get()):
        HydraConfig.get().runtime.choices = {str(k): v and str(v) for k, v in choices.items()}


def _extended(cfg: DictConfig, epochs: int) -> int:
    """How many epochs the command line asks for, where it may ask for no more than that."""
    typed = {word.partition("=")[0].lstrip("+~"): word for word in HydraConfig.get().overrides.task}
    if others := [
        word for key, word in typed.items() if key not in ("resume", "trainer.max_epochs")
    ]:
        raise ValueError(
            f"resume={cfg.resume} takes its configuration from there; leave out {others[0]} "
            f"(only trainer.max_epochs may be given, to train on)"
        )
    if "trainer.max_epochs" not in typed:
        return epochs
    asked = cfg.trainer.max_epochs
    accepts, _ = ACCEPTED["trainer.max_epochs"]
    if not accepts(asked) or asked < epochs:
        raise ValueError(
            f"trainer.max_epochs={asked} is not accepted; to resume {cfg.resume} it must be a "
            f"whole number ≥ {epochs}"
        )
    return asked
