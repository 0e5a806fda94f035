"""From files to batches: datasets, preprocessing, augmentation, batch order."""

from lecture4.data.cifar10 import cifar10, cifar10_lies_in
from lecture4.data.dataset import Dataset, stratified_split
from lecture4.data.image_folder import image_folder
from lecture4.data.rings import rings
from lecture4.data.shapes import shapes

SOURCES = {"cifar10": cifar10, "image_folder": image_folder, "rings": rings, "shapes": shapes}

__all__ = [
    "SOURCES",
    "Dataset",
    "cifar10",
    "cifar10_lies_in",
    "image_folder",
    "rings",
    "shapes",
    "stratified_split",
]
