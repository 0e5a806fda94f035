"""Random numbers that depend on what they are for, and not on what was drawn before.

The order of an epoch and the augmentation of an image are functions of (seed, epoch, index). So a
run that was stopped goes on as if it had not been, and two processes draw what one would.
"""

import torch

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # 2⁶⁴/φ as a signed word: torch's integers are signed
_MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


def mix(*words: int | torch.Tensor) -> torch.Tensor:
    """Hash integers, or tensors of them that broadcast, into int64 keys that look random.

    One round of SplitMix64 a word. Source: Steele, Lea & Flood 2014, "Fast splittable
    pseudorandom number generators", figure 14, with Stafford's variant 13 of the multipliers.
    """
    key = torch.zeros((), dtype=torch.int64)
    for word in words:
        key = _scramble((key.to(word.device) if torch.is_tensor(word) else key) + _GOLDEN + word)
    return key


def uniform(keys: torch.Tensor, draws: int) -> torch.Tensor:
    """``draws`` numbers in [0, 1) for each key: (N,) int64 -> (N, draws) float64."""
    words = mix(keys[:, None], torch.arange(draws, device=keys.device))
    return _shift(words, 11) * 2.0**-53  # the 53 bits that a float64 holds


def generator(*words: int) -> torch.Generator:
    """A CPU generator whose state depends on ``words`` alone."""
    return torch.Generator().manual_seed(mix(*words).item())


def _scramble(z: torch.Tensor) -> torch.Tensor:
    z = (z ^ _shift(z, 30)) * _MULTIPLIERS[0]
    z = (z ^ _shift(z, 27)) * _MULTIPLIERS[1]
    return z ^ _shift(z, 31)


def _shift(z: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical shift to the right; torch's ``>>`` would copy the sign in."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
