"""What do the formulas by hand cost? A training step of the default ConvNet, by hand over torch.

Both take the same weights and the same batch of 128 random images in memory: forward, loss,
backward, update. In float32, and in the precision that ``train.py`` would choose here. Memory is
the growth of the process's peak over a few steps, each side in a process of its own.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import hydra
import torch
from hydra.utils import instantiate
from rounds import ROOT, arguments, compare

from lecture4.byhand.nn import family
from lecture4.training.classifier import parameter_groups
from lecture4.training.trainer import fastest_precision

STEPS = 5  # a round


def make_step(layers: str, precision: str) -> Callable[[], None]:
    """One training step, layers and optimizer both of the family ``layers``."""
    prefix = {"torch": "", "byhand": "byhand_"}[layers]
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = hydra.compose(
            "train", ["model=convnet", f"model.layers={layers}", f"optim={prefix}sgd"]
        )
    torch.manual_seed(0)
    net = instantiate(cfg.model, (3, 32, 32), 10, _convert_="all").train()
    optimizer = instantiate(cfg.optim)(parameter_groups(net))
    cross_entropy = family(layers).CrossEntropyLoss()
    images, labels = torch.randn(128, 3, 32, 32), torch.randint(10, (128,))
    autocast = contextlib.nullcontext
    if precision == "bf16-mixed":
        autocast = partial(torch.autocast, "cpu", torch.bfloat16)

    def step() -> None:
        with autocast():
            loss = cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def milliseconds(step: Callable[[], None]) -> float:
    """Of one step, the mean of a round's."""
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return 1000 * (time.perf_counter() - start) / STEPS


def peak_memory(layers: str, precision: str) -> float:
    """MiB by which a few steps raise the peak of a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory", layers, "--precision", precision],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def measure_memory(layers: str, precision: str) -> float:
    """What ``peak_memory`` asks the fresh process."""
    step = make_step(layers, precision)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _status("VmRSS")
    for _ in range(3):
        step()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    """KiB that Linux reports of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    options = arguments(__doc__, memory={}, precision={})
    if options.memory:
        print(measure_memory(options.memory, options.precision))
        sys.exit()
    for precision in dict.fromkeys(["32-true", fastest_precision("cpu")]):
        steps = [make_step(layers, precision) for layers in ("byhand", "torch")]
        for step in steps:
            milliseconds(step)  # warm
        by_time = (partial(milliseconds, step) for step in steps)
        compare(f"step in {precision}", *by_time, options.rounds, "ms")
        by_memory = (partial(peak_memory, layers, precision) for layers in ("byhand", "torch"))
        compare(f"peak memory in {precision}", *by_memory, 1, "MiB")
