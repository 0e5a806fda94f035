"""The configuration that a run recorded, composed once more.

A run's directory may come from an untrusted source, so nothing in it is instantiated. Its overrides
are composed against this repository's own conf/, after those have been refused that could do more
than choose from conf/ and set plain values. The result must equal the recorded configuration, which
is compared as plain data.
"""

import re
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from lecture4.support.conf import CONF
from lecture4.support.files import write_atomically

NOT_COMPARED = ("data.root", "formulas")  # a resumed run may take them from elsewhere
FOLDERS = (".hydra", "checkpoints", "figures", "tensorboard")  # to which a run writes
# Settings of conf/logger that a run may change; the others say where its records go.
LOGGERS = re.compile(
    r"logger\.(wandb\.(project|notes|offline|name|group|tags)"
    r"|mlflow\.(experiment_name|run_name|tags))\b"
)


def read_overrides(path: Path, keys: tuple[str, ...] = ()) -> list[str]:
    """Read recorded overrides, of ``keys`` alone if any are given.

    Raises:
        ValueError: one could run code, read the environment or send records elsewhere.
    """
    words = _read_yaml(path)
    try:
        if not isinstance(words, list):
            raise TypeError
        parsed = OverridesParser.create().parse_overrides(words)
    except (HydraException, TypeError) as error:
        raise ValueError(f"{path} is not a list of overrides") from error
    for override in parsed:
        key, value = override.key_or_group, override.value()
        names = value if isinstance(value, list) else [value]
        keys_in = key if isinstance(value, str) else f"{key} {value}"
        if (
            (keys and key not in keys)
            or re.match(r"hydra\b", key)
            or override.package  # GROUP@PACKAGE would put one group in the place of another
            or re.search(r"(^|\W)_\w+_\b", keys_in)  # _target_ and its like are Hydra's own
            or re.match(r"data\.source(\.|$)", key)  # which conf/ makes of the keys of data
            or "${" in str(value)  # an interpolation may read the environment, or hide a value
            or key == "trainer.default_root_dir"
            or (key.startswith("logger.") and not LOGGERS.match(key))
            # a choice is a file in conf/, not a path to somewhere else
            or (_is_choice(key) and not all(re.fullmatch(r"\w+", str(name)) for name in names))
        ):
            raise ValueError(
                f"{path}: {override.input_line} is not accepted; a run is resumed with choices of "
                f"conf/, plain values and its own loggers"
            )
    return words


def _is_choice(key: str) -> bool:
    return key == "formulas" or (CONF / key).is_dir()


def compose(words: list[str]) -> DictConfig:
    """Compose overrides against conf/; error messages name their choices from here on."""
    try:
        composed = hydra.compose("train", words, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"the run's overrides do not fit conf/ of this version: {reason}"
        ) from error
    with read_write(HydraConfig.get()):
        HydraConfig.get().runtime.choices.update(composed.hydra.runtime.choices)
    with open_dict(composed):
        del composed["hydra"]
    return composed


def compare(path: Path, composed: DictConfig) -> None:
    """Refuse a record that differs from what its overrides give, and name the first key."""
    plain = OmegaConf.to_container(composed), OmegaConf.to_container(composed, resolve=True)
    if (key := _first_difference(_read_yaml(path), *plain)) is not None:
        raise ValueError(
            f"{path}: {key or 'the file'} is not what its overrides.yaml gives with conf/; the run "
            f"is of another version, or a file in .hydra/ was changed"
        )


def _first_difference(recorded: Any, unresolved: Any, resolved: Any, place: str = "") -> str | None:
    """The first key at which ``recorded`` equals neither of the others, or None."""
    if not (isinstance(recorded, dict) and isinstance(unresolved, dict)):
        return None if recorded in (unresolved, resolved) else place
    for name in dict.fromkeys([*unresolved, *recorded]):
        key = f"{place}.{name}" if place else str(name)
        if key in NOT_COMPARED:
            continue
        if name not in unresolved or name not in recorded:
            return key
        if found := _first_difference(recorded[name], unresolved[name], resolved[name], key):
            return found
    return None


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read ({reason})") from error


def write(folder: Path, cfg: DictConfig) -> None:
    """Record the configuration of a run, and the overrides if they are known, in ``.hydra/``.

    Hydra would write these files before the run's directory is locked.
    """
    record, its = folder / ".hydra", HydraConfig.get()
    record.mkdir(exist_ok=True)
    write_atomically(record / "config.yaml", OmegaConf.to_yaml(cfg))
    if not OmegaConf.is_missing(its.job, "config_name"):  # as without Hydra's part in a notebook
        write_atomically(record / "hydra.yaml", OmegaConf.to_yaml(HydraConfig.instance().cfg))
        write_atomically(record / "overrides.yaml", OmegaConf.to_yaml(its.overrides.task))


def refuse_links(run: Path) -> None:
    """Refuse symbolic links, through which the run would write outside of its directory."""
    folders = [run, *(run / name for name in FOLDERS)]
    for path in (path for folder in folders for path in folder.glob("*")):
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link, and a run writes only in its directory")
