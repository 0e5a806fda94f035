"""One softmax epoch: ``train.py`` over a Lightning module with torchvision's transforms.

The module follows the tutorials: a DataLoader over torchvision's CIFAR10 with a flip, ToTensor and
Normalize per image, a LightningModule that logs loss and accuracy with torchmetrics at every step,
Lightning's progress bar, CSV log and checkpoint. Both train one epoch on 45,000 images and validate
on 5,000; rates are training images over the wall time of ``Trainer.fit``.
"""

import logging
import os
import tempfile
import time
import warnings

import pytorch_lightning as pl
import torch
from rounds import compare, train_seconds, with_cifar10
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchmetrics.classification import MulticlassAccuracy
from torchvision import transforms
from torchvision.datasets import CIFAR10


class Usual(pl.LightningModule):
    """A softmax classifier as tutorials write it."""

    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
        self.accuracy = MulticlassAccuracy(10)

    def training_step(self, batch, batch_idx):  # noqa: D102
        return self._step(batch, "train")

    def validation_step(self, batch, batch_idx):  # noqa: D102
        self._step(batch, "val")

    def _step(self, batch, split):
        images, labels = batch
        scores = self.model(images)
        loss = nn.functional.cross_entropy(scores, labels)
        self.log(f"{split}_loss", loss, prog_bar=True)
        self.log(f"{split}_accuracy", self.accuracy(scores, labels), prog_bar=True)
        return loss

    def configure_optimizers(self):  # noqa: D102
        return torch.optim.SGD(self.parameters(), lr=0.003, momentum=0.9)


def usual(root: str) -> float:
    """Images per second of the tutorials' pipeline, without worker processes."""
    images = CIFAR10(
        root,
        transform=transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
            ]
        ),
    )
    train, val = random_split(images, [45_000, 5_000])
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=pl.loggers.CSVLogger(folder),
            default_root_dir=folder,
            enable_model_summary=False,
        )
        start = time.perf_counter()
        trainer.fit(Usual(), DataLoader(train, 128, shuffle=True), DataLoader(val, 128))
        return 45_000 / (time.perf_counter() - start)


def ours(root: str) -> float:
    """Images per second of ``train.py model=softmax``."""
    return 45_000 / train_seconds(
        "model=softmax", f"data.root={os.path.abspath(root)}", "trainer.max_epochs=1"
    )


if __name__ == "__main__":
    options = with_cifar10(__doc__)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    compare(
        "softmax epoch", lambda: ours(options.root), lambda: usual(options.root), options.rounds
    )
