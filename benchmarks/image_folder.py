"""Rate of batches from a folder of JPEGs: ours over torchvision's ImageFolder and two workers.

Both resize to 32×32 and normalise in shuffled batches of 128. The first epoch of ours includes the
search for files, decoding and writing the result; later epochs read it. Torchvision's pipeline does
the same work in each epoch, in a DataLoader with two worker processes.

The images are drawn first (100,000 take 1 GB), and deleted with the decoded ones at the end. With
``--folder DIR`` the images stay there for later calls.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image
from rounds import arguments, compare
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from lecture4.data import load_image_folder
from lecture4.data.preprocess import ChannelStandardize
from lecture4.training.datamodule import DataModule

CLASSES, SIZE, BATCH = 10, 32, 128


def draw_images(root: Path, n: int) -> None:
    """Write ``n`` JPEGs of 64 to 256 pixels a side to train/, one per class to valid/ and test/."""
    draw = np.random.default_rng(0)
    for i in range(-2 * CLASSES, n):
        split = "train" if i >= 0 else ("valid", "test")[i % 2]
        folder = root / split / f"class {i // 2 % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        width, height = map(int, draw.integers(64, 257, 2))
        coarse = draw.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        image.save(folder / f"{i}.jpg", quality=90)


def count(batches: Iterable, ready=lambda images: images) -> int:
    """Fetch all batches; return the number of images."""
    return sum(len(ready(images)) for images, *_ in batches)


def main() -> None:
    """Compare the two in interleaved rounds."""
    options = arguments(
        __doc__,
        n={"type": int, "default": 100_000, "help": "of JPEGs"},
        folder={"help": "keep the images there"},
    )
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(options.folder or temporary, f"{options.n} images")
        if not root.exists():
            drawn = root.with_name(f".{root.name}")
            shutil.rmtree(drawn, ignore_errors=True)
            draw_images(drawn, options.n)
            drawn.rename(root)
        compare_on(root, options.rounds)


def compare_on(root: Path, rounds: int) -> None:
    """Compare first epochs, each with an empty cache, and later ones, on the images in ``root``."""
    later, theirs = [], []  # images per second of each round

    def first_epoch() -> float:
        with tempfile.TemporaryDirectory(dir=root.parent) as cache:
            start = time.perf_counter()
            data = load_image_folder(root, SIZE, cache=cache)
            prepare = ChannelStandardize(data.input_shape)
            chunks = DataModule(data, val_size=1, batch_size=BATCH).train_dataloader()
            prepare.fit(data.train_inputs)
            images = count(chain.from_iterable(chunks), prepare)
            first = images / (time.perf_counter() - start)
            start = time.perf_counter()
            later.append(
                count(chain.from_iterable(chunks), prepare) / (time.perf_counter() - start)
            )
            return first

    usual = transforms.Compose(
        [
            transforms.Resize((SIZE, SIZE)),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        ]
    )

    def torchvision() -> float:
        start = time.perf_counter()
        dataset = ImageFolder(os.fspath(root / "train"), usual)
        images = count(DataLoader(dataset, BATCH, shuffle=True, num_workers=2, drop_last=True))
        theirs.append(images / (time.perf_counter() - start))
        return theirs[-1]

    compare("first epoch", first_epoch, torchvision, rounds)
    compare("later epochs", iter(later).__next__, iter(theirs).__next__, rounds)


if __name__ == "__main__":
    main()
