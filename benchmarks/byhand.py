"""What do the formulas by hand cost? A training step of the default ConvNet, by hand over torch.

Both start from the same weights and take the same batch of 128 random images in memory: forward,
loss, backward, update. In float32, and in the precision that ``train.py`` would choose here. Memory
is how far a few steps raise the peak of a fresh process.
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
from omegaconf import OmegaConf
from rounds import ROOT, arguments, compare
from torch import nn

from lecture4.byhand import nn as byhand_nn
from lecture4.byhand import optim as byhand_optim
from lecture4.training.classifier import parameter_groups
from lecture4.training.trainer import fastest_precision

STEPS = 5  # a round
SIDES = {"torch": (nn, torch.optim), "byhand": (byhand_nn, byhand_optim)}


def make_step(side: str, precision: str) -> Callable[[], None]:
    """One training step with layers, loss and optimizer of ``torch`` or ``byhand``."""
    layers, optim = SIDES[side]
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = hydra.compose("train", ["model=convnet", "optim=sgd"])
    model = OmegaConf.masked_copy(cfg.model, [key for key in cfg.model if key != "layers"])
    settings = {key: cfg.optim[key] for key in ("lr", "momentum", "nesterov", "weight_decay")}
    settings["fused"] = side == "torch"  # torch's fastest, as in conf/optim/sgd.yaml
    torch.manual_seed(0)
    net = instantiate(model, (3, 32, 32), 10, layers=layers, _convert_="all").train()
    optimizer = optim.SGD(parameter_groups(net), **settings)
    cross_entropy = layers.CrossEntropyLoss()
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
    """The time of one step, as the mean over a round."""
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return 1000 * (time.perf_counter() - start) / STEPS


def peak_memory(side: str, precision: str) -> float:
    """MiB by which a few steps raise the peak of a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory", side, "--precision", precision],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def measure_memory(side: str, precision: str) -> float:
    """``peak_memory`` in this process."""
    step = make_step(side, precision)
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = _status("VmRSS")
    for _ in range(3):
        step()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    """A field of this process's status in Linux, in KiB."""
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
