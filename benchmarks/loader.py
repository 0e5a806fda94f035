"""Rate of augmented, normalised batches: ours over torchvision's transforms in a DataLoader.

Both crop, flip and normalise the training images of CIFAR-10 in batches of 128. Torchvision's
transforms run image by image, with 0, 1 or 2 worker processes, whichever is fastest.
"""

import time
from itertools import chain

from rounds import compare, with_cifar10
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10

from lecture4.data import load_cifar10
from lecture4.data.augment import Flip
from lecture4.data.preprocess import ChannelStandardize
from lecture4.training.datamodule import DataModule


def images_per_second(batches, ready=lambda images: images, seconds: float = 4.0) -> float:
    """Images per second over at most ``seconds`` and one pass, after five uncounted batches."""
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
    """Compare the two in interleaved rounds."""
    options = with_cifar10(__doc__)
    dataset = load_cifar10(options.root)
    augment = Flip(dataset.input_shape, crop=4)
    preprocess = ChannelStandardize(dataset.input_shape).fit(dataset.train_inputs)
    chunks = DataModule(dataset, val_size=1, batch_size=128).train_dataloader()

    def ours() -> float:
        batches = chain.from_iterable(chunks)  # a chunk is a list of batches
        return images_per_second(batches, lambda images: preprocess(augment(images)))

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

    compare("crop, flip, normalise", ours, best_of_workers, options.rounds)


if __name__ == "__main__":
    main()
