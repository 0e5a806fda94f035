"""Private interfaces of other libraries, each with its reason and a test."""

import argparse
from typing import Any


def hydra_parser() -> argparse.ArgumentParser:
    """The parser of Hydra's command line, which ``hydra.main`` does not expose."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser()


def has_amx_tiles() -> bool:
    """Whether the processor multiplies bfloat16 matrices; torch has no public query."""
    import torch

    return torch.cpu._is_amx_tile_supported()


def running_trial(study: Any, number: int) -> Any:
    """A running trial of an Optuna study, which another process may have asked for."""
    import optuna

    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


def drop_anonymous(logger: Any) -> None:
    """Drop a deprecated argument that Lightning's ``WandbLogger`` always passes to wandb."""
    logger._wandb_init.pop("anonymous")
