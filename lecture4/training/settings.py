"""What each setting may be, checked before anything slow begins."""

import math
from collections.abc import Callable
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lecture4.support.conf import CONF
from lecture4.support.processes import started_by_torchrun


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
    several = in_several_processes(cfg)
    if HydraConfig.initialized():
        choices = HydraConfig.get().runtime.choices
        _check_recipe(choices)
        if choices.optim in SEARCHES and several:
            raise ValueError(
                f"optim={choices.optim} runs in one process, for each would keep a W of its own; "
                f"use trainer.devices=1 trainer.strategy=auto"
            )
    if not several and started_by_torchrun() > 1:
        raise ValueError(
            f"torchrun has started {started_by_torchrun()} processes, each of which would train "
            f"alone; add trainer=ddp, and trainer.devices= as many as on this machine"
        )
    if cfg.trainer.get("sync_batchnorm"):
        _check_sync_batchnorm(cfg)
    if in_sweep():
        check_sweep(cfg)
    if cfg.trainer.accelerator in ("gpu", "cuda"):
        import torch

        if not torch.cuda.is_available():
            raise ValueError(
                f"trainer.accelerator={cfg.trainer.accelerator} needs a GPU, and torch sees none "
                f"here; try trainer=cpu or trainer=auto"
            )


def check_sweep(cfg: DictConfig) -> None:
    """Refuse a sweep whose jobs would start processes of their own.

    Raises:
        ValueError: they would, or ``sweep_resume`` is neither true nor false.
    """
    if not isinstance(cfg.sweep_resume, bool):
        raise ValueError(f"sweep_resume={cfg.sweep_resume} is not accepted; it must be {FLAG[1]}")
    if in_several_processes(cfg):
        raise ValueError(
            "-m with several processes is not supported, for each would start the whole sweep; "
            "start the runs one by one"
        )


def in_several_processes(cfg: DictConfig) -> bool:
    """Is one run shared out among processes?"""
    devices = cfg.trainer.devices
    one = len(devices) == 1 if OmegaConf.is_list(devices) else str(devices) == "1"
    return cfg.trainer.strategy != "auto" or not one


def _check_sync_batchnorm(cfg: DictConfig) -> None:
    """It is torch's own, and on GPUs only."""
    import torch

    if cfg.trainer.accelerator == "cpu" or not torch.cuda.is_available():
        raise ValueError("trainer.sync_batchnorm=true needs GPUs; torch has it for no CPU")
    if cfg.model.get("layers") == "byhand":
        raise ValueError("trainer.sync_batchnorm=true is torch's; it needs model.layers=torch")


def _check_recipe(choices: DictConfig) -> None:
    """A model may come without a recipe, so Hydra takes the name of none for granted."""
    recipes = sorted(file.stem for file in (CONF / "recipe").glob("*.yaml"))
    if choices.get("recipe") not in (None, choices.model, *recipes):
        raise ValueError(f"recipe={choices.recipe} is unknown; choose one of {', '.join(recipes)}")


def in_sweep() -> bool:
    """Is this one of the jobs of ``-m``?"""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def is_number(value: Any) -> bool:
    """A finite number, and no flag."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _are_numbers(values: Any) -> bool:
    return OmegaConf.is_list(values) and all(map(is_number, values))


def is_whole(value: Any) -> bool:
    """A whole number, and no flag."""
    return isinstance(value, int) and not isinstance(value, bool)


def _at_least(smallest: int) -> tuple[Callable[[Any], bool], str]:
    return lambda v: is_whole(v) and v >= smallest, f"a whole number ≥ {smallest}"


POSITIVE = (lambda v: is_number(v) and v > 0, "a number > 0")
NOT_NEGATIVE = (lambda v: is_number(v) and v >= 0, "a number ≥ 0")
FRACTION = (lambda v: is_number(v) and 0 <= v < 1, "a number in [0, 1)")
NAME = (lambda v: isinstance(v, str) and v != "", "a name")
FLAG = (lambda v: isinstance(v, bool), "true or false")
MISSING = object()

# Settings that are numbers, and what they may be. Names are checked by what they build.
ACCEPTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "sanity": FLAG,
    "sweep_resume": FLAG,
    "checkpoint.every_n_steps": (
        lambda v: v is None or (is_whole(v) and v >= 1),
        "a whole number ≥ 1, or null for the end of each epoch alone",
    ),
    "seed": (lambda v: is_whole(v) and 0 <= v < 2**32, "a whole number from 0 to 4294967295"),
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
    "model.layers": NAME,
    "penalty.kind": NAME,
    "model.dropout": FRACTION,
    "model.strict_sizes": FLAG,
    "augment.crop": _at_least(0),
    "trainer.max_epochs": _at_least(1),
    "trainer.accelerator": (lambda v: v in ("auto", "cpu", "gpu", "cuda"), "auto, cpu or gpu"),
    "trainer.limit_train_batches": POSITIVE,
    "trainer.compile": FLAG,
    "trainer.deterministic": FLAG,
    "trainer.sync_batchnorm": FLAG,
    "trainer.num_nodes": _at_least(1),
    "data.batch_size": (
        lambda v: v is None or (is_whole(v) and v >= 1),
        "a whole number ≥ 1, or null for the full batch",
    ),
    "data.train_share": (lambda v: is_number(v) and 0 < v <= 1, "a number in (0, 1]"),
    "data.eval_batch_size": _at_least(1),
    "data.num_workers": _at_least(0),
    "data.root": NAME,
    "data.val_size": (
        lambda v: is_number(v) and (0 < v < 1 or (is_whole(v) and v >= 1)),
        "a number of examples, or a fraction of them in (0, 1)",
    ),
    "data.image_size": _at_least(1),
    "data.train_size": _at_least(1),
    "data.test_size": _at_least(1),
    "data.source_seed": _at_least(0),
}


SEARCHES = ("random_search", "random_local_search")

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
