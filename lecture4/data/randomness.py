"""Random numbers that depend on what they are for, and not on what was drawn before.

The order of an epoch and the augmentation of an image are functions of (seed, epoch, index). So a
run that was stopped goes on as if it had not been, and two processes draw what one would.

Source of the hash: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators",
figure 14 (SplitMix64), with the multipliers of Stafford's variant 13. NumPy computes it, whose
integers can be unsigned, and whose small operations take a fifth of the time of torch's.
"""

import numpy as np
import torch

_GOLDEN = 0x9E3779B97F4A7C15  # 2⁶⁴/φ
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = 2**64 - 1


def mix(*words: int | torch.Tensor) -> int | torch.Tensor:
    """Hash integers, and int64 tensors of them, into a key: an int, or int64 as they broadcast.

    key = scramble(key + golden ratio + word), word after word, in 64 bits.
    """
    key: int | np.ndarray = 0
    device = None
    for word in words:
        if isinstance(word, torch.Tensor):
            device = word.device
            word = np.atleast_1d(word.cpu().numpy()).view(np.uint64)
        key = _scramble(_wrap(key + _GOLDEN) + _wrap(word))
    if device is None:
        return key - 2**64 if key >= 2**63 else key  # signed, as torch's integers are
    return torch.from_numpy(key.view(np.int64)).to(device)


def uniform(keys: torch.Tensor, draws: int) -> torch.Tensor:
    """``draws`` numbers in [0, 1) for each key: (N,) int64 -> (N, draws) float64."""
    steps = np.arange(1, draws + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    words = _scramble(keys.cpu().numpy().view(np.uint64)[:, None] + steps)
    return torch.from_numpy((words >> np.uint64(11)) * 2.0**-53).to(keys.device)  # 53 bits each


def generator(*words: int) -> torch.Generator:
    """A CPU generator whose state depends on ``words`` alone."""
    return torch.Generator().manual_seed(mix(*words))


def _scramble(z: int | np.ndarray) -> int | np.ndarray:
    z = _wrap(z)
    for bits, multiplier in zip((30, 27), _MULTIPLIERS, strict=True):
        z = _wrap((z ^ (z >> bits)) * multiplier)
    return z ^ (z >> 31)


def _wrap(z: int | np.ndarray) -> int | np.ndarray:
    """Keep 64 bits, as uint64 arrays do by themselves."""
    return z & _MASK if isinstance(z, int) else z
