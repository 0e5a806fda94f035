"""The edge of the program: one plain sentence for whatever a user got wrong."""

import argparse
import difflib
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import DictConfig, OmegaConf

CONF = Path(__file__).parent.parent / "conf"


class ToldError(Exception):
    """A job of a sweep failed, and its error has been printed."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the process with code 1 after an error, 130 after Ctrl-C; an error is a line on stderr.

    Stands around the job, and around Hydra, which has errors of its own. A sweep goes on to its
    next job after an error, and ends with code 1. With HYDRA_FULL_ERROR=1 set by the user, the
    traceback comes through.
    """
    # Hydra prints tracebacks of its own, unless the variable is set; then it lets errors through.
    full = os.environ.setdefault("LECTURE4_FULL_ERROR", os.environ.get("HYDRA_FULL_ERROR", "0"))
    os.environ["HYDRA_FULL_ERROR"] = "1"
    argparse.ArgumentParser.error = _refuse
    _quieten()
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted outside of training", file=sys.stderr)
        sys.exit(130)
    except SystemExit as stop:
        # Lightning makes these two of signals, after its callbacks have told the user
        if isinstance(stop.__context__, KeyboardInterrupt):
            sys.exit(130)
        sys.exit(143 if type(stop).__name__ == "SIGTERMException" else stop.code)
    except ToldError:
        sys.exit(1)
    except Exception as error:
        if full == "1":
            raise
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes, the first tells
            print(f"error: {sentence(error)}", file=sys.stderr)
        if _in_sweep():
            raise ToldError from None
        sys.exit(1)


def _in_sweep() -> bool:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def sentence(error: BaseException) -> str:
    """What went wrong, in at most two lines."""
    from hydra.errors import InstantiationException, MissingConfigException

    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice} is unknown; choose one of {', '.join(sorted(error.options))}"
    if match := re.match(r"Could not override '([^']+)'", text):
        return _unknown_key(match[1])
    if match := re.match(r"Ambiguous value for argument '([^']+)'", text):
        return f"{match[1]}: to try several values, put -m before the first setting"
    if text.startswith("Config group override"):
        return "a group takes the name of a choice, as in model=mlp; --help lists them"
    if isinstance(error, ModuleNotFoundError) and "wandb" in text:
        return "logger=wandb needs an extra package: pip install -e '.[wandb]'"
    if isinstance(error, OSError) and error.filename:
        text = f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if isinstance(error, LookupError | TypeError | AttributeError | AssertionError):
        lines[0] = f"{type(error).__name__}: {lines[0]}"  # its text alone says too little
    return "\n".join(line[:300] for line in lines[:2])


def check(cfg: DictConfig) -> None:
    """Refuse settings that are no number or out of range, before anything slow begins.

    Raises:
        ValueError: restates the setting and says what would be accepted.
    """
    for key, (accepts, wanted) in ACCEPTED.items():
        value = OmegaConf.select(cfg, key, default=MISSING)
        if value is not MISSING and not accepts(value):
            raise ValueError(f"{key}={value} is not accepted; it must be {wanted}")
    if odd := sorted(set(cfg.trainer) & NOT_OPEN):
        raise ValueError(
            f"trainer.{odd[0]} is not supported: a run is trainer.max_epochs whole epochs, each "
            f"followed by validation and a checkpoint, and a test at the end"
        )
    if cfg.optim.get("nesterov") and not cfg.optim.momentum:
        raise ValueError("optim.momentum=0 leaves Nesterov nothing; add optim.nesterov=false")
    if _in_sweep() and cfg.trainer.strategy != "auto":
        raise ValueError(
            "-m with several processes is not supported, for each would start the whole sweep; "
            "start the runs one by one"
        )
    if cfg.trainer.accelerator in ("gpu", "cuda"):
        import torch

        if not torch.cuda.is_available():
            raise ValueError(
                f"trainer.accelerator={cfg.trainer.accelerator} needs a GPU, and torch sees none "
                f"here; try trainer=cpu or trainer=auto"
            )


def build(group: str, settings: DictConfig, *args: Any) -> Any:
    """Instantiate what ``settings`` describe; an error names the choices that do not fit."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(settings, *args, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if not isinstance(cause, ValueError | TypeError):
            raise  # not a setting's fault alone: a network, a file, a missing package
        choices = HydraConfig.get().runtime.choices
        place = f"{group}={choices[group]}"
        if group in ("model", "preprocess", "augment"):
            place += f" with data={choices['data']}"
        raise ValueError(f"{place}: {cause}") from cause


def run_directory() -> str:
    """Hydra's directory for this run."""
    from hydra.core.hydra_config import HydraConfig

    return HydraConfig.get().runtime.output_dir


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _are_numbers(values: Any) -> bool:
    return OmegaConf.is_list(values) and all(map(_is_number, values))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _at_least(smallest: int) -> tuple[Callable[[Any], bool], str]:
    return lambda v: _is_whole(v) and v >= smallest, f"a whole number ≥ {smallest}"


POSITIVE = (lambda v: _is_number(v) and v > 0, "a number > 0")
NOT_NEGATIVE = (lambda v: _is_number(v) and v >= 0, "a number ≥ 0")
FRACTION = (lambda v: _is_number(v) and 0 <= v < 1, "a number in [0, 1)")
NAME = (lambda v: isinstance(v, str) and v != "", "a name")
FLAG = (lambda v: isinstance(v, bool), "true or false")
MISSING = object()

# Settings that are numbers, and what they may be. Names are checked by what they build.
ACCEPTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "seed": (lambda v: _is_whole(v) and 0 <= v < 2**32, "a whole number from 0 to 4294967295"),
    "label_smoothing": FRACTION,
    "penalty.strength": NOT_NEGATIVE,
    "optim.lr": POSITIVE,
    "optim.momentum": FRACTION,
    "optim.dampening": FRACTION,
    "optim.weight_decay": NOT_NEGATIVE,
    "optim.nesterov": FLAG,
    "optim.eps": POSITIVE,
    "optim.fused": FLAG,
    "optim.betas": (
        lambda v: _are_numbers(v) and len(v) == 2 and all(0 <= b < 1 for b in v),
        "two numbers in [0, 1), such as [0.9,0.999]",
    ),
    "schedule.gamma": POSITIVE,
    "schedule.milestones": (
        lambda v: _are_numbers(v) and all(0 < m < 1 for m in v),
        "a list of fractions of the run, such as [0.5,0.75]",
    ),
    "schedule.warmup": FRACTION,
    "schedule.start": POSITIVE,
    "model.activation": NAME,
    "model.init": NAME,
    "model.head": NAME,
    "penalty.kind": NAME,
    "model.dropout": FRACTION,
    "model.strict_sizes": FLAG,
    "augment.crop": _at_least(0),
    "trainer.max_epochs": _at_least(1),
    "trainer.accelerator": (lambda v: v in ("auto", "cpu", "gpu", "cuda"), "auto, cpu or gpu"),
    "trainer.limit_train_batches": POSITIVE,
    "trainer.compile": FLAG,
    "trainer.deterministic": FLAG,
    "data.batch_size": (
        lambda v: v is None or (_is_whole(v) and v >= 1),
        "a whole number ≥ 1, or null for the full batch",
    ),
    "data.eval_batch_size": _at_least(1),
    "data.num_workers": _at_least(0),
    "data.root": NAME,
    "data.val_size": (
        lambda v: _is_number(v) and (0 < v < 1 or (_is_whole(v) and v >= 1)),
        "a number of examples, or a fraction of them in (0, 1)",
    ),
    "data.image_size": _at_least(1),
    "data.train_size": _at_least(1),
    "data.test_size": _at_least(1),
    "data.source_seed": _at_least(0),
}


# Options of Lightning that would leave a run without its validation, checkpoint, test or order.
NOT_OPEN = {
    "check_val_every_n_epoch",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "fast_dev_run",
    "limit_test_batches",
    "limit_val_batches",
    "max_steps",
    "max_time",
    "num_sanity_val_steps",
    "overfit_batches",
    "use_distributed_sampler",
    "val_check_interval",
}


def _unknown_key(key: str) -> str:
    known = _known_keys()
    if key in known:
        return f"{key} does not go with these choices; it belongs to {' or '.join(known[key])}"
    last = key.rpartition(".")[2]
    near = [k for k in known if k.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(key, known, 1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "python train.py --cfg job shows them all"
    return f"{key} is no setting here; {hint}"


def _known_keys() -> dict[str, list[str]]:
    """Every group, and every key of every file in conf/, with the choices that have it."""
    keys: dict[str, list[str]] = {}

    def walk(node: Any, prefix: str, choice: str) -> None:
        for name, child in node.items() if isinstance(node, dict) else ():
            if name != "defaults":
                keys.setdefault(prefix + name, []).append(choice)
                walk(child, f"{prefix}{name}.", choice)

    for file in sorted(CONF.rglob("*.yaml")):
        group = file.parent.relative_to(CONF).parts
        for name in group[:1]:
            keys.setdefault(name, [])
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        if file.name == "loading.yaml":
            walk(content, "data.", "data")
        elif not group or group[0] in ("recipe", "experiment"):
            walk(content, "", "train")
        else:
            walk(content, f"{group[0]}.", f"{group[0]}={file.stem}")
    return keys


def _refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """In place of argparse's own: its usage text is longer than what went wrong."""
    if "=" in message:  # argparse takes no override after a flag that stands between overrides
        raise ValueError(f"{message}; put flags such as -m before every override")
    raise ValueError(f"{message}; {parser.prog} --help lists what there is")


def _quieten() -> None:
    """Silence what libraries say about choices that were made on purpose."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without ⌊ or − gets a question mark
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(f"{name}.utilities.rank_zero").addFilter(_is_warning)
    for message in (
        "Experiment logs directory .* exists",  # metrics.csv belongs into the run's directory
        "Checkpoint directory .* exists",
        "The .*dataloader.* does not have many workers",  # memory is faster than workers
        "The number of training batches .* is smaller than the logging interval",
        ".*LeafSpec.* is deprecated",  # within Lightning, of torch
        "Glyph .* missing from font",  # a class name in a script that matplotlib's font lacks
    ):
        warnings.filterwarnings("ignore", message=message)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
