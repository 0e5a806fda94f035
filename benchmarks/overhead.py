"""Training rate of ``train.py`` over a bare PyTorch loop of the same net.

Both train the same number of epochs on the same images, kept in memory as uint8, with the same
augmentation, preprocessing, precision, optimizer and schedule, and validate after each epoch.
``train.py`` also draws its bar, logs, and writes checkpoints. Rates are training images over the
wall time of fitting; start-up is left out on both sides.
"""

import os
import time
from functools import partial

import hydra
import torch
from rounds import compare, train_seconds, with_cifar10
from torch.nn.functional import cross_entropy

from lecture4.training.assemble import assemble
from lecture4.training.trainer import fastest_precision

EPOCHS = {"convnet": 1, "mlp": 5, "softmax": 12}  # a round takes a few seconds each


def machinery(model: str, root: str) -> float:
    """Images per second of ``train.py``."""
    seconds = train_seconds(
        f"model={model}",
        f"data.root={os.path.abspath(root)}",
        f"trainer.max_epochs={EPOCHS[model]}",
    )
    return EPOCHS[model] * (45_000 // 128) * 128 / seconds


def bare(model: str, root: str) -> float:
    """Images per second of the bare loop."""
    with hydra.initialize(version_base="1.3", config_path="../conf"):
        cfg = hydra.compose("train", [f"model={model}", f"data.root={root}"])
    parts, data = assemble(cfg)
    images, labels = data.dataset.train_inputs, data.dataset.train_labels
    train, val = data.train_index, data.val_index
    net, preprocess, augment = parts.model, parts.preprocess, parts.augment
    optimizer = parts.make_optimizer(net)
    steps = len(train) // 128
    schedule = parts.schedule(optimizer, EPOCHS[model] * steps)
    precision = cfg.trainer.precision
    if precision == "auto":
        precision = fastest_precision("cpu")
    bfloat16 = precision == "bf16-mixed"
    autocast = partial(torch.autocast, "cpu", torch.bfloat16, enabled=bfloat16)

    start = time.perf_counter()
    for _ in range(EPOCHS[model]):
        net.train()
        order = train[torch.randperm(len(train))]
        for index in order[: steps * 128].split(128):
            x = augment(images.index_select(0, index))
            with autocast():
                loss = cross_entropy(net(preprocess(x)), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.no_grad(), autocast():
            for index in val.split(cfg.data.eval_batch_size):
                net(preprocess(images.index_select(0, index))).argmax(1)
    return EPOCHS[model] * steps * 128 / (time.perf_counter() - start)


if __name__ == "__main__":
    options = with_cifar10(__doc__, models={"nargs": "+", "default": list(EPOCHS)})
    for name in options.models:
        compare(
            name,
            partial(machinery, name, options.root),
            partial(bare, name, options.root),
            options.rounds,
        )
