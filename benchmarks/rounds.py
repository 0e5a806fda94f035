"""Interleaved rounds: on a shared machine only ratios of adjacent measurements are reliable."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from lecture4.data import PUBLISHED

ROOT = Path(__file__).parent.parent


def arguments(description: str, **more: dict) -> argparse.Namespace:
    """Parse ``--rounds`` and ``more`` options of a benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5)
    for name, options in more.items():
        parser.add_argument(f"--{name}", **options)
    return parser.parse_args()


def with_cifar10(description: str, **more: dict) -> argparse.Namespace:
    """Parse options and ``--root``; exit with a sentence if it does not hold CIFAR-10."""
    root = {"default": os.environ.get("CIFAR10_ROOT", "data"), "help": "folder of CIFAR-10"}
    options = arguments(description, root=root, **more)
    if not PUBLISHED["cifar10"].lies_in(options.root):
        sys.exit(
            f"error: CIFAR-10 is not in {options.root}; name its folder by --root or CIFAR10_ROOT, "
            "or download it: python train.py model=softmax"
        )
    return options


def train_seconds(*overrides: str) -> float:
    """Seconds of fitting by ``train.py``, with its progress bar drawn as on a terminal."""
    with tempfile.TemporaryDirectory() as run:
        subprocess.run(
            [sys.executable, "train.py", *overrides, f"hydra.run.dir={run}"],
            cwd=ROOT,
            env=os.environ | {"FORCE_COLOR": "1", "TTY_INTERACTIVE": "1"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return json.loads(Path(run, "results.json").read_text())["train_seconds"]


def compare(
    name: str,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    rounds: int,
    unit: str = "images/s",
) -> float:
    """Print and return the median over rounds of ours/theirs, both measured in ``unit``."""
    ratios = []
    for number in range(1, rounds + 1):
        pair = ours(), theirs()
        ratios.append(pair[0] / pair[1])
        rates = " / ".join(f"{rate:10,.0f}" for rate in pair)
        print(f"  {name} round {number}: {rates} {unit} = {ratios[-1]:.3f}", flush=True)
    median = statistics.median(ratios)
    print(
        f"{name}: median {median:.3f} (min {min(ratios):.3f}, max {max(ratios):.3f}, n = {rounds}; "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads)",
        flush=True,
    )
    return median
