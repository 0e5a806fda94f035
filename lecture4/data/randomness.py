"""Random numbers as functions of (seed, epoch, index), independent of earlier draws.

They determine the order of an epoch and the augmentation of an image. So a resumed run draws the
same numbers as an uninterrupted one, and several processes draw the same as a single one.

Source of the hash: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators",
figure 14 (SplitMix64), with the multipliers of Stafford's variant 13. It uses int64, whose sums and
products wrap around in NumPy and in torch. On the CPU NumPy computes it, in a fifth of torch's time
for small tensors; on other devices torch does.
"""

from typing import overload

import numpy as np
import torch

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # 2⁶⁴/φ; in two's complement, as the multipliers
_MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


@overload
def mix(*words: int) -> int: ...  # type: ignore[overload-overlap]
@overload
def mix(*words: int | torch.Tensor) -> torch.Tensor: ...
def mix(*words):
    """Hash integers and int64 tensors into a key: an int, or an int64 tensor by broadcasting.

    key = scramble(key + golden ratio + word), word after word, in 64 bits.
    """
    key = 0
    for word in words:
        word = _wrap(word) if isinstance(word, int) else _array(word)
        key = _scramble(_wrap(_wrap(key + _GOLDEN) + word))
    return key if isinstance(key, int) else torch.as_tensor(key)


def uniform(keys: torch.Tensor, draws: int) -> torch.Tensor:
    """``draws`` numbers in [0, 1) for each key: (N,) int64 -> (N, draws) float64."""
    if keys.device.type == "cpu":
        words = _scramble(keys.numpy()[:, None] + np.arange(1, draws + 1) * _GOLDEN)
        return torch.from_numpy(_shifted(words, 11) * 2.0**-53)  # 53 bits each
    words = _scramble(keys[:, None] + torch.arange(1, draws + 1, device=keys.device) * _GOLDEN)
    return _shifted(words, 11).double() * 2.0**-53


def generator(*words: int) -> torch.Generator:
    """A CPU generator seeded by ``words``."""
    return torch.Generator().manual_seed(mix(*words))


def _scramble(z):
    """The finalizer of SplitMix64; z is an int, or an int64 array of NumPy or of torch."""
    for bits, multiplier in zip((30, 27), _MULTIPLIERS, strict=True):
        z = _wrap((z ^ _shifted(z, bits)) * multiplier)
    return z ^ _shifted(z, 31)


def _shifted(z, bits: int):
    """Logical shift: z >> bits filled with zeros; >> of a negative number fills with ones."""
    return (z >> bits) & (2 ** (64 - bits) - 1)


def _wrap(z):
    """Wrap an int to 64 signed bits; arrays wrap by themselves."""
    return (z + 2**63) % 2**64 - 2**63 if isinstance(z, int) else z


def _array(tensor: torch.Tensor) -> np.ndarray | torch.Tensor:
    """A CPU tensor as a NumPy array, at least 1-D because NumPy's scalars do not wrap."""
    return np.atleast_1d(tensor.numpy()) if tensor.device.type == "cpu" else tensor
