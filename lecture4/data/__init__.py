"""Where inputs come from, and in which batches they are served."""

from lecture4.data import cifar, mnist
from lecture4.data.cifar import load_cifar10, load_cifar100
from lecture4.data.dataset import Dataset, stratified_split
from lecture4.data.image_folder import load_image_folder
from lecture4.data.mnist import load_fashion_mnist, load_mnist
from lecture4.data.rings import make_rings
from lecture4.data.shapes import make_shapes

SOURCES = {
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "fashion_mnist": load_fashion_mnist,
    "image_folder": load_image_folder,
    "mnist": load_mnist,
    "rings": make_rings,
    "shapes": make_shapes,
}
PUBLISHED = {**cifar.PUBLISHED, **mnist.PUBLISHED}  # those that are downloaded

__all__ = [
    "PUBLISHED",
    "SOURCES",
    "Dataset",
    "load_cifar10",
    "load_cifar100",
    "load_fashion_mnist",
    "load_image_folder",
    "load_mnist",
    "make_rings",
    "make_shapes",
    "stratified_split",
]
