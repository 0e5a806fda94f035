"""MNIST and Fashion-MNIST: 70,000 grey images of 28×28 pixels in ten classes.

Sources: LeCun et al. 1998 (handwritten digits); Xiao et al. 2017, arXiv:1708.07747 (clothes).
"""

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torchvision.datasets import MNIST, FashionMNIST

from lecture4.data.dataset import Dataset
from lecture4.data.published import Published


def _published(name: str, title: str, kind: type[MNIST], mirror: str) -> Published:
    urls = [*kind.mirrors, mirror]
    return Published(name, title, f"{kind.__name__}/raw", dict(kind.resources), urls)


PUBLISHED = {
    "mnist": _published(
        "mnist", "MNIST", MNIST, "https://storage.googleapis.com/cvdf-datasets/mnist/"
    ),
    "fashion_mnist": _published(
        "fashion_mnist",
        "Fashion-MNIST",
        FashionMNIST,
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
}


def load_mnist(root: str | os.PathLike, urls: Sequence[str] | None = None) -> Dataset:
    """Read MNIST from ``root/MNIST/raw``, after downloading it if none of its files is there.

    Args:
        root: the folder that holds ``MNIST/raw`` with the four files, each compressed as .gz.
        urls: of folders with these files (ending with /) or of archives, tried in turn; None for
            the known sources.

    Raises:
        ValueError: as ``Published.read`` and ``Published.obtain``.
        ConnectionError: as ``Published.obtain``.
    """
    return _load("mnist", MNIST, root, urls)


def load_fashion_mnist(root: str | os.PathLike, urls: Sequence[str] | None = None) -> Dataset:
    """Read Fashion-MNIST from ``root/FashionMNIST/raw``, as ``load_mnist`` reads MNIST."""
    return _load("fashion_mnist", FashionMNIST, root, urls)


def _load(
    name: str, kind: type[MNIST], root: str | os.PathLike, urls: Sequence[str] | None
) -> Dataset:
    published, root = PUBLISHED[name], Path(root).expanduser()
    published.obtain(root, urls)
    tensors = []
    for file in published.files:  # images and labels for training, then for the test
        images = "images" in file
        content = gzip.decompress(published.read(root, file))
        array = np.frombuffer(content, np.uint8, offset=16 if images else 8)  # after the header
        values = torch.from_numpy(array.copy())  # writable
        tensors.append(values.view(-1, 1, 28, 28) if images else values.long())  # (N, C, H, W)
    source = {"name": name, "root": str(root.absolute())}
    return Dataset(kind.classes, *tensors, source)  # type: ignore[call-arg, arg-type]
