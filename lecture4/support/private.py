"""What is used of other libraries without their promise to keep it, each with its reason.

tests/support/test_private.py names every one, so that an upgrade that takes one away fails there.
"""

import argparse
from typing import Any


def hydra_parser() -> argparse.ArgumentParser:
    """The parser of Hydra's command line: ``hydra.main`` makes its own and lends it to nobody."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser()


def has_amx_tiles() -> bool:
    """Whether the processor multiplies bfloat16 matrices itself; torch tells no other way."""
    import torch

    return torch.cpu._is_amx_tile_supported()


def drop_anonymous(logger: Any) -> None:
    """Drop an argument that Lightning's ``WandbLogger`` always passes and of which wandb warns."""
    logger._wandb_init.pop("anonymous")
