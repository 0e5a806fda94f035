"""Accepted values of the settings of ``train.py``, checked before anything slow starts."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lecture4.support.code_files import is_code_file
from lecture4.support.conf import choices
from lecture4.training.processes import check_processes, check_sweep, in_several_processes, in_sweep

Rule = tuple[Callable[[Any], bool], str]  # predicate, and what an error calls the accepted values
MISSING = object()


def check(cfg: DictConfig) -> None:
    """Check types against conf/, ranges, and combinations of settings.

    Raises:
        ValueError: restates the setting and says what would be accepted.
    """
    check_values(cfg)
    for key in cfg.trainer:
        if key in NOT_SUPPORTED:
            raise ValueError(f"trainer.{key} is not supported: {NOT_SUPPORTED[key]}")
    if cfg.optim.get("nesterov") and not cfg.optim.momentum:
        raise ValueError(
            "optim.nesterov=true needs momentum > 0; set optim.momentum or add optim.nesterov=false"
        )
    _check_search(cfg)
    _check_formulas(cfg)
    if in_sweep():
        check_sweep(cfg)
    check_processes(cfg)
    if cfg.trainer.accelerator in ("gpu", "cuda"):
        import torch

        if not torch.cuda.is_available():
            raise ValueError(
                f"trainer.accelerator={cfg.trainer.accelerator} needs a GPU, and torch finds none "
                f"here; use trainer=cpu or trainer=auto"
            )


def check_values(cfg: DictConfig, prefixes: tuple[str, ...] = ("",)) -> None:
    """Check types against conf/, and ranges, of the keys that start with one of ``prefixes``.

    Raises:
        ValueError: restates the setting and says what would be accepted.
    """
    for key, (accepts, wanted) in {**types(), **ACCEPTED}.items():
        value = OmegaConf.select(cfg, key, default=MISSING)
        if key.startswith(prefixes) and value is not MISSING and not accepts(value):
            raise ValueError(f"{key}={value} is not accepted; it must be {wanted}")


def check_folder(cfg: DictConfig) -> None:
    """Refuse a folder without images for training, before torch is imported.

    Raises:
        ValueError: names the folder.
    """
    train = Path(cfg.data.get("root", "")).expanduser() / "train"
    if cfg.data.source._target_ == "lecture4.data.load_image_folder" and not train.is_dir():
        raise ValueError(
            f"data=image_folder: {train} is not there; an image folder holds train/CLASS/*.png, "
            f"and perhaps test/CLASS/*.png"
        )


def _check_formulas(cfg: DictConfig) -> None:
    """Refuse what the code of a file of formulas cannot be run with."""
    if not is_code_file(cfg.formulas):
        return
    for key in ("compile", "cuda_graph"):
        if cfg.trainer[key]:
            raise ValueError(f"trainer.{key}=true needs formulas=torch or byhand, not a file's")
    if str(cfg.trainer.precision) in ("16-true", "bf16-true"):
        raise ValueError(
            f"trainer.precision={cfg.trainer.precision} needs formulas=torch or byhand; a file's "
            f"compute in float32 or float64"
        )


def _check_search(cfg: DictConfig) -> None:
    """Refuse several processes, gradient clipping and averages in a random search."""
    if cfg.optim.name not in SEARCHES:
        return
    choice = f"optim={SEARCHES[cfg.optim.name]}"
    if in_several_processes(cfg):
        raise ValueError(
            f"{choice} runs in one process, because each would keep its own W; use "
            f"trainer.devices=1 trainer.strategy=auto"
        )
    if cfg.trainer.get("gradient_clip_val"):
        raise ValueError(f"{choice} has no gradient to clip; omit trainer.gradient_clip_val")
    if cfg.trainer.cuda_graph:
        raise ValueError(f"{choice} has no gradient to record; omit trainer.cuda_graph")
    if "decay" in cfg.average:
        raise ValueError(f"{choice} keeps the best weights and averages none; use average=none")


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number, not a boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def is_whole(value: Any) -> bool:
    """Whether ``value`` is a whole number, not a boolean."""
    return isinstance(value, int) and not isinstance(value, bool)


def _at_least(smallest: int) -> Rule:
    return lambda v: is_whole(v) and v >= smallest, f"a whole number ≥ {smallest}"


def _or_null(rule: Rule, meaning: str) -> Rule:
    return lambda v: v is None or rule[0](v), f"{rule[1]}, or null for {meaning}"


def _are_fractions(values: Any) -> bool:
    return OmegaConf.is_list(values) and all(is_number(v) and 0 <= v < 1 for v in values)


FLAG: Rule = (lambda v: isinstance(v, bool), "true or false")
WHOLE: Rule = (is_whole, "a whole number")
NUMBER: Rule = (is_number, "a number")
NAME: Rule = (lambda v: isinstance(v, str) and v != "", "a name")
LIST: Rule = (OmegaConf.is_list, "a list, such as [a,b]")
MAPPING: Rule = (OmegaConf.is_dict, "given by its parts")
POSITIVE: Rule = (lambda v: is_number(v) and v > 0, "a number > 0")
NOT_NEGATIVE: Rule = (lambda v: is_number(v) and v >= 0, "a number ≥ 0")
OR_NONE = "a number of examples, a fraction of them in (0, 1), or 0 for none"
SHARE: Rule = (
    lambda v: is_number(v) and (0 < v < 1 or (is_whole(v) and v >= 1)),
    "a number of examples, or a fraction of them in (0, 1)",
)
FRACTION: Rule = (lambda v: is_number(v) and 0 <= v < 1, "a number in [0, 1)")
OF_TYPE = {bool: FLAG, int: WHOLE, float: NUMBER, str: NAME, list: LIST, dict: MAPPING}


@cache
def types() -> dict[str, Rule]:
    """For each key of train.py, the rule for the type of its defaults in conf/.

    A key without a default, or with defaults of several types, has none. Loggers check their own
    settings.
    """
    defaults: dict[str, set[type]] = {}
    for choice in choices():
        if choice.group != "logger" and choice.name != "lecture":
            for key in choice.keys:
                defaults.setdefault(key.path, set()).add(type_of(key.default))
    rules = {}
    for path, kinds in defaults.items():
        kinds = kinds - {int} if kinds == {int, float} else kinds
        if len(kinds) == 1 and (rule := OF_TYPE.get(*kinds)):
            rules[path] = rule
    return rules


def type_of(default: Any) -> type:
    """The type of a default; of an interpolation, the type of its fallback."""
    if isinstance(default, str) and "${" in default:
        try:
            default = OmegaConf.create({"it": default}).it
        except OmegaConfBaseException:
            return type(None)
    return type(default)


# Lightning's names of the precisions in which the training step is exact
PRECISIONS = ("32-true", "64-true", "bf16-mixed", "bf16-true", "16-true")

# Ranges, narrower than the type. Names are checked where they are looked up.
ACCEPTED: dict[str, Rule] = {
    "checkpoint.every_n_steps": _or_null(_at_least(1), "the end of each epoch only"),
    "seed": (lambda v: is_whole(v) and 0 <= v < 2**32, "a whole number from 0 to 4294967295"),
    "label_smoothing": FRACTION,
    "test_time": (lambda v: v in ("none", "mirror", "crops"), "none, mirror or crops"),
    "penalty.strength": NOT_NEGATIVE,
    "optim.lr": POSITIVE,
    "optim.momentum": FRACTION,
    "optim.dampening": FRACTION,
    "optim.weight_decay": NOT_NEGATIVE,
    "optim.head_lr": _or_null(POSITIVE, "the rate of the other weights"),
    "optim.bias_lr_scale": POSITIVE,
    "optim.bias_weight_decay": NOT_NEGATIVE,
    "optim.sgd_momentum": FRACTION,
    "optim.ns_steps": _at_least(1),
    "optim.dtype": (
        lambda v: v in ("auto", "float32", "bfloat16"),
        "auto, float32 or bfloat16",
    ),
    "average.decay": FRACTION,
    "average.every": _at_least(1),
    "average.power": NOT_NEGATIVE,
    "optim.eps": POSITIVE,
    "optim.fused": _or_null(FLAG, "the fastest"),
    "optim.betas": (
        lambda v: _are_fractions(v) and len(v) == 2,
        "two numbers in [0, 1), such as [0.9,0.999]",
    ),
    "schedule.gamma": POSITIVE,
    "schedule.milestones": (
        lambda v: _are_fractions(v) and 0 not in v,
        "a list of fractions of the run, such as [0.5,0.75]",
    ),
    "schedule.warmup": FRACTION,
    "schedule.start": POSITIVE,
    "model.dropout": FRACTION,
    "augment.crop": _at_least(0),
    "augment.cutout": _at_least(0),
    "augment.small_epochs": _at_least(0),
    "augment.small_side": _at_least(1),
    "trainer.max_epochs": _at_least(1),
    "trainer.accelerator": (
        lambda v: v in ("auto", "cpu", "gpu", "cuda"),
        "auto, cpu or gpu (an NVIDIA GPU; mps, an Apple GPU, is not supported)",
    ),
    "trainer.precision": (
        lambda v: str(v) in ("auto", *PRECISIONS, "32", "64"),
        f"auto, {', '.join(PRECISIONS)} (16-mixed would have to scale the loss)",
    ),
    "trainer.strategy": (
        lambda v: v in ("auto", "ddp", "ddp_find_unused_parameters_true"),
        "auto, ddp or ddp_find_unused_parameters_true",
    ),
    "trainer.gradient_clip_val": _or_null(POSITIVE, "no limit"),
    "trainer.num_nodes": _at_least(1),
    "data.batch_size": _or_null(_at_least(1), "the full batch"),
    "data.eval_batch_size": _at_least(1),
    "data.num_workers": _at_least(0),
    "data.train_share": (lambda v: is_number(v) and 0 < v <= 1, "a fraction in (0, 1]"),
    "data.device": (lambda v: v in ("auto", "cpu"), "auto or cpu"),
    "data.val_size": (lambda v: SHARE[0](v) or (is_number(v) and v == 0), OR_NONE),
    "data.test_size": SHARE,
    "data.urls": (
        lambda v: v is None or (OmegaConf.is_list(v) and v and all(NAME[0](url) for url in v)),
        "a list of URLs, such as [https://HOST/FILE], or null for the known sources",
    ),
    "data.train_size": _at_least(1),
    "data.image_size": _at_least(1),
    "data.channels": (lambda v: v in (1, 3), "1 (grey) or 3 (RGB)"),
    "data.resize": (lambda v: v in ("stretch", "crop", "pad"), "stretch, crop or pad"),
    "data.source_seed": _at_least(0),
    "sweep.workers": _at_least(1),
    "sweep.pruner": (
        lambda v: v in ("median", "hyperband", "none"),
        "median, hyperband or none",
    ),
    "hydra.sweeper.n_trials": _at_least(1),
    "hydra.sweeper.n_jobs": _at_least(1),
}

SEARCHES = {"RandomSearch": "random_search", "RandomLocalSearch": "random_local_search"}

WHOLE_EPOCHS = (
    "a run trains trainer.max_epochs whole epochs, each followed by validation and a checkpoint, "
    "and ends with a test"
)
# Lightning's options that this training loop does not support.
NOT_SUPPORTED = {
    "limit_train_batches": "use data.train_share, the fraction of the batches in an epoch",
    "accumulate_grad_batches": "use a larger data.batch_size",
    "gradient_clip_algorithm": "trainer.gradient_clip_val limits the norm of the gradient",
    "use_distributed_sampler": "each process takes its share of every batch",
    "callbacks": "a run's callbacks are in lecture4/training/callbacks",
    "plugins": "a run writes its checkpoints atomically by a plugin of its own",
    "logger": "loggers are the group logger, as in logger=mlflow",
    "default_root_dir": "hydra.run.dir is the run's directory",
    "barebones": "it would train without checkpoints and records",
    "profiler": "profile python train.py from outside, as with python -m cProfile",
    **dict.fromkeys(
        (
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
            "val_check_interval",
        ),
        WHOLE_EPOCHS,
    ),
}
