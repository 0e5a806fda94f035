"""How fast do augmented, normalised batches come? Ours over torchvision's transforms.

Both crop, flip and normalise every training image of CIFAR-10, in batches of 128. Torchvision's
transforms run image by image in a DataLoader, with the best of 0, 1 and 2 worker processes.
"""

import time

from rounds import arguments, compare
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10

from lecture4.data import cifar10
from lecture4.data.augment import Flip
from lecture4.data.preprocess import ChannelStandardize
from lecture4.training.datamodule import DataModule


def images_per_second(batches, ready=lambda images: images, seconds: float = 4.0) -> float:
    """Draw batches for some seconds, a whole pass at most, after a start that is not counted."""
    iterator = iter(batches)
    for _ in range(5):
        ready(next(iterator)[0])
    count, start = 0, time.perf_counter()
    for images, *_ in iterator:
        count += len(ready(images))
        if time.perf_counter() - start > seconds:
            break
    return count / (time.perf_counter() - start)


def main() -> None:
    """Compare, interleaved."""
    options = arguments(__doc__)
    dataset = cifar10(options.root)
    augment = Flip(dataset.input_shape, crop=4)
    preprocess = ChannelStandardize(dataset.input_shape).fit(dataset.train_inputs)
    loader = DataModule(dataset, val_size=1, batch_size=128).train_dataloader()

    per_image = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(preprocess.mean.flatten(), preprocess.std.flatten()),
        ]
    )
    usual = CIFAR10(options.root, train=True, transform=per_image)

    def best_of_workers() -> float:
        return max(
            images_per_second(DataLoader(usual, 128, shuffle=True, num_workers=n))
            for n in (0, 1, 2)
        )

    compare(
        "crop, flip, normalise",
        lambda: images_per_second(loader, lambda images: preprocess(augment(images))),
        best_of_workers,
        options.rounds,
    )


if __name__ == "__main__":
    main()
