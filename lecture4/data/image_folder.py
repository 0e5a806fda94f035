"""Images in folders: root/{train,test}/CLASS/*.png, *.jpg, …"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.datasets.folder import IMG_EXTENSIONS

from lecture4.data.dataset import Dataset


def load_image_folder(root: str | os.PathLike, image_size: int = 32) -> Dataset:
    """Read every image below ``root/train/CLASS`` and ``root/test/CLASS`` into memory.

    Raises:
        ValueError: a folder or class is missing or empty, there is only one class, train and test
            have different classes, or a file cannot be read as an image.
    """
    root = Path(root).expanduser()
    files = {split: _files_by_class(root / split) for split in ("train", "test")}
    class_names = list(files["train"])
    if len(class_names) < 2:
        raise ValueError(
            f"{root / 'train'} has one class, {class_names[0]}; at least two are needed"
        )
    if odd := sorted(set(class_names) ^ set(files["test"])):
        alone = [
            f"only {split} has {', '.join(name for name in odd if name in files[split])}"
            for split in ("train", "test")
            if any(name in files[split] for name in odd)
        ]
        raise ValueError(
            f"{root}: train and test must have the same classes; {' and '.join(alone)}"
        )

    def tensors(split: str) -> tuple[torch.Tensor, torch.Tensor]:
        paths = [path for paths in files[split].values() for path in paths]
        counts = torch.tensor([len(files[split][name]) for name in class_names])
        with ThreadPoolExecutor() as pool:
            images = list(pool.map(lambda path: read_image(path, image_size), paths))
        return torch.stack(images), torch.arange(len(class_names)).repeat_interleave(counts)

    source = {"name": "image_folder", "root": str(root.absolute()), "image_size": image_size}
    return Dataset(class_names, *tensors("train"), *tensors("test"), source)


def read_image(path: str | os.PathLike, image_size: int) -> torch.Tensor:
    """Read an image of any size and mode as uint8 (3, image_size, image_size).

    The EXIF orientation is applied, transparent pixels become white, 16 bits become 8, and the
    image is resized to a square without keeping its aspect ratio.

    Raises:
        ValueError: the file cannot be read as an image.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith(("I", "F")):  # 16 or 32 bits, which convert() would clip
                image = Image.fromarray(_to_8_bits(np.asarray(image)))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB").resize((image_size, image_size), Image.Resampling.BILINEAR)
    except Exception as error:  # decoders raise all kinds of errors on broken files
        raise ValueError(f"{path} cannot be read as an image ({error})") from error
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()  # HWC -> CHW


def _to_8_bits(pixels: np.ndarray) -> np.ndarray:
    full_scale = 1 if pixels.dtype.kind == "f" and pixels.max(initial=0) <= 1 else 65535
    return (pixels.astype(np.float64) * (255 / full_scale)).clip(0, 255).round().astype(np.uint8)


def _files_by_class(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is not there; an image folder holds train/CLASS/*.png and test/CLASS/*.png"
        )
    classes = sorted(
        entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    files = {
        entry.name: sorted(
            path
            for path in entry.rglob("*")
            if path.suffix.lower() in IMG_EXTENSIONS and not path.name.startswith(".")
        )
        for entry in classes
    }
    if not files:
        raise ValueError(f"{folder} is empty; it should hold one folder of images per class")
    for name, paths in files.items():
        if not paths:
            raise ValueError(
                f"{folder / name} holds no images; accepted are {', '.join(IMG_EXTENSIONS)}"
            )
    return files
