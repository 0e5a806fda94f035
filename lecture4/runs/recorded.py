"""The configuration that a run recorded, composed once more.

A run's directory may come from an untrusted source, so nothing in it is instantiated. Its overrides
are composed against this repository's own conf/, after those have been refused that could do more
than choose from conf/ and set plain values. The result must equal the recorded configuration, which
is compared as plain data.

A run that begins is checked by the same rules, so that none is trained that cannot be resumed.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from lecture4.support.conf import CONF
from lecture4.support.files import write_atomically

PATHS = ("data.root", "data.val_root", "data.cache")  # recorded absolute when a run begins
NOT_COMPARED = (*PATHS, "formulas")  # a resumed run may take them from elsewhere
# What is added to these is checked by what they are passed to, such as Lightning's Trainer.
PASSED_ON = ("model", "preprocess", "augment", "optim", "schedule", "trainer", "logger")
FOLDERS = (".hydra", "checkpoints", "figures", "tensorboard")  # to which a run writes
# Settings of conf/logger that a run may change; the others say where its records go.
LOGGERS = re.compile(
    r"logger\.(wandb\.(project|notes|offline|name|group|tags)"
    r"|mlflow\.(experiment_name|run_name|tags))\b"
)


def check(words: Sequence[str]) -> DictConfig:
    """Compose the overrides of a run that begins, if it could be resumed.

    Raises:
        ValueError: one is of a kind that ``refuse`` does not accept.
        hydra.errors.ConfigCompositionException: a key is unknown, also one added with ``+``.
    """
    parsed = refuse(words)
    added = [word.key_or_group.partition(".")[0] not in PASSED_ON for word in parsed]
    plain = [word.lstrip("+") if new else word for word, new in zip(words, added, strict=True)]
    return _without_hydra(_composed(plain))


def read_overrides(path: Path, keys: tuple[str, ...] = ()) -> list[str]:
    """Read recorded overrides, of ``keys`` alone if any are given.

    Raises:
        ValueError: one could run code, read the environment or send records elsewhere.
    """
    words = read_yaml(path)
    try:
        if not isinstance(words, list):
            raise TypeError
        refuse(words, f"{path}: ", keys)
    except (HydraException, TypeError) as error:
        raise ValueError(f"{path} is not a list of overrides") from error
    return words


def refuse(words: Sequence[str], place: str = "", keys: tuple[str, ...] = ()) -> list[Override]:
    """Refuse overrides that could do more than choose from conf/ and set plain values.

    Raises:
        ValueError: starts with ``place`` and the override.
    """
    parsed = OverridesParser.create().parse_overrides(list(words))
    for override in parsed:
        if reason := _refusal(override, keys):
            raise ValueError(f"{place}{override.input_line} is not accepted; {reason}")
    return parsed


def _refusal(override: Override, keys: tuple[str, ...]) -> str | None:
    key, value = override.key_or_group, override.value()
    if override.is_delete():
        removable = re.fullmatch(r"logger(\.\w+)?", key) and not keys
        return None if removable else "a run needs each of its settings, except loggers"
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
        return "a run that can be resumed takes choices of conf/, plain values and its own loggers"
    return None


def _is_choice(key: str) -> bool:
    return (CONF / key).is_dir()


def compose(words: list[str]) -> DictConfig:
    """Compose recorded overrides; error messages name their choices from here on."""
    try:
        composed = _composed(words)
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"the run's overrides do not fit conf/ of this version: {reason}"
        ) from error
    with read_write(HydraConfig.get()):
        HydraConfig.get().runtime.choices.update(composed.hydra.runtime.choices)
    return _without_hydra(composed)


def _composed(words: list[str]) -> DictConfig:
    """Compose against conf/ alone, without this command's --config-dir."""
    command = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF), job_name="train", version_base="1.3"):
            return hydra.compose("train", words, return_hydra_config=True)
    finally:
        if command:
            GlobalHydra.instance().initialize(command)


def _without_hydra(composed: DictConfig) -> DictConfig:
    with open_dict(composed):
        del composed["hydra"]
    return composed


def compare(path: Path, composed: DictConfig) -> None:
    """Refuse a record that differs from what its overrides give, and name the first key."""
    plain = OmegaConf.to_container(composed), OmegaConf.to_container(composed, resolve=True)
    if (key := first_difference(read_yaml(path), *plain)) is not None:
        raise ValueError(
            f"{path}: {key or 'the file'} is not what its overrides.yaml gives with conf/; the run "
            f"is of another version, or a file in .hydra/ was changed"
        )


def first_difference(recorded: Any, unresolved: Any, resolved: Any, place: str = "") -> str | None:
    """The first key at which ``recorded`` equals neither of the others, or None."""
    if not (isinstance(recorded, dict) and isinstance(unresolved, dict)):
        return None if recorded in (unresolved, resolved) else place
    for name in dict.fromkeys([*unresolved, *recorded]):
        key = f"{place}.{name}" if place else str(name)
        if key in NOT_COMPARED:
            continue
        if name not in unresolved or name not in recorded:
            return key
        if found := first_difference(recorded[name], unresolved[name], resolved[name], key):
            return found
    return None


def read_yaml(path: Path) -> Any:
    """Read a file of plain values.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read ({reason})") from error


def absolute(path: str) -> str:
    """A path as it was typed, seen from the directory in which the command was started."""
    here = HydraConfig.get().runtime.cwd if HydraConfig.initialized() else os.getcwd()
    return os.path.join(here, os.path.expanduser(path))


def read_paths(run: Path) -> list[str]:
    """The paths that a run recorded, as overrides.

    They are absolute. Those of runs of earlier versions are seen from the directory in which the
    run was started, and a path from the environment is taken from today's.

    Raises:
        ValueError: that directory was not recorded.
    """
    settings, words = read_yaml(run / ".hydra" / "config.yaml"), []
    for key in PATHS:
        group, name = key.split(".")
        path = settings[group].get(name)
        if isinstance(path, str) and "${" not in path:
            if not os.path.isabs(path):
                path = os.path.join(_started_in(run / ".hydra" / "hydra.yaml"), path)
            words.append(f"{key}={quoted(path)}")
    return words


def _started_in(path: Path) -> str:
    try:
        return str(read_yaml(path)["hydra"]["runtime"]["cwd"])
    except (LookupError, TypeError):
        raise ValueError(f"{path} does not name the directory of the run's command") from None


def quoted(text: str | os.PathLike) -> str:
    """A text as the value of an override."""
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", os.fspath(text))  # no interpolation
    return QuotedString(escaped, Quote.double).with_quotes()


def write(folder: Path, cfg: DictConfig) -> None:
    """Record the configuration of a run, and the overrides if they are known, in ``.hydra/``.

    Hydra would write these files before the run's directory is locked.
    """
    record, its = folder / ".hydra", HydraConfig.get()
    record.mkdir(exist_ok=True)
    write_atomically(record / "config.yaml", OmegaConf.to_yaml(cfg))
    if overrides_known():
        write_atomically(record / "hydra.yaml", OmegaConf.to_yaml(HydraConfig.instance().cfg))
        write_atomically(record / "overrides.yaml", OmegaConf.to_yaml(its.overrides.task))


def overrides_known() -> bool:
    """Whether this job has overrides to record; it has none without Hydra's part in a notebook."""
    return not OmegaConf.is_missing(HydraConfig.get().job, "config_name")


def refuse_links(run: Path) -> None:
    """Refuse symbolic links, through which the run would write outside of its directory."""
    folders = [run, *(run / name for name in FOLDERS)]
    for path in (path for folder in folders for path in folder.glob("*")):
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link, and a run writes only in its directory")
