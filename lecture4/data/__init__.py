"""Where inputs come from, and in which batches they are served."""

from lecture4.data.cifar10 import cifar10_lies_in, load_cifar10
from lecture4.data.dataset import Dataset, stratified_split
from lecture4.data.image_folder import load_image_folder
from lecture4.data.rings import make_rings
from lecture4.data.shapes import make_shapes

SOURCES = {
    "cifar10": load_cifar10,
    "image_folder": load_image_folder,
    "rings": make_rings,
    "shapes": make_shapes,
}

__all__ = [
    "SOURCES",
    "Dataset",
    "cifar10_lies_in",
    "load_cifar10",
    "load_image_folder",
    "make_rings",
    "make_shapes",
    "stratified_split",
]
