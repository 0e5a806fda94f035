"""Time and memory of a training step of the default ConvNet: formulas by hand over torch's.

Both start from the same weights and take the same batch of 128 random images in memory: forward,
loss, backward, update. Both are measured in float32, and in the precision that ``train.py`` chooses
here. Memory is the increase of a fresh process's peak during three steps.
"""

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

from lecture4.training import formulas
from lecture4.training.parameter_groups import parameter_groups
from lecture4.training.trainer import fastest_precision

STEPS = 5  # a round


def make_step(side: str, precision: str) -> Callable[[], None]:
    """A training step with layers, loss and optimizer of ``formulas=side``."""
    found = formulas.find(side)
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = hydra.compose("train", ["model=convnet"])
    torch.manual_seed(0)
    net = instantiate(cfg.model, (3, 32, 32), 10, layers=found.nn, _convert_="all").train()
    settings = {"name": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    optimizer = found.optimizer(**settings, fused=None)(parameter_groups(net))
    cross_entropy = found.nn.CrossEntropyLoss()
    images, labels = torch.randn(128, 3, 32, 32), torch.randint(10, (128,))
    bfloat16 = precision == "bf16-mixed"
    autocast = partial(torch.autocast, "cpu", torch.bfloat16, enabled=bfloat16)

    def step() -> None:
        with autocast():
            loss = cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def milliseconds(step: Callable[[], None]) -> float:
    """Mean time of a step over a round."""
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return 1000 * (time.perf_counter() - start) / STEPS


def peak_memory(side: str, precision: str) -> float:
    """``measure_memory`` in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory", side, "--precision", precision],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def measure_memory(side: str, precision: str) -> float:
    """MiB by which three steps raise this process's peak."""
    step = make_step(side, precision)
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = _status("VmRSS")
    for _ in range(3):
        step()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    """A field of Linux's /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    options = arguments(__doc__, memory={}, precision={})
    if options.memory:
        print(measure_memory(options.memory, options.precision))
        sys.exit()
    for precision in dict.fromkeys(["32-true", fastest_precision("cpu")]):
        steps = [make_step(side, precision) for side in ("byhand", "torch")]
        for step in steps:
            milliseconds(step)  # warm up
        by_time = (partial(milliseconds, step) for step in steps)
        compare(f"step in {precision}", *by_time, options.rounds, "ms")
        by_memory = (partial(peak_memory, side, precision) for side in ("byhand", "torch"))
        compare(f"peak memory in {precision}", *by_memory, 1, "MiB")
