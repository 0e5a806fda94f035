"""Random numbers that depend on what they are for, and not on what was drawn before.

The order of an epoch and the augmentation of an image are functions of (seed, epoch, index). So a
run that was stopped goes on as if it had not been, and two processes draw what one would.

Source of the hash: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators",
figure 14 (SplitMix64), with the multipliers of Stafford's variant 13.
"""

import torch

_GOLDEN = 0x9E3779B97F4A7C15  # 2⁶⁴/φ
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = 2**64 - 1


def mix(*words: int | torch.Tensor) -> int | torch.Tensor:
    """Hash integers, and tensors of them, into a key: an int, or int64 as the tensors broadcast.

    key = scramble(key + golden ratio + word), word after word, in 64 bits.
    """
    key: int | torch.Tensor = 0
    for word in words:
        key = _scramble(_wrap(key + _signed(_GOLDEN)) + word)
    return key


def uniform(keys: torch.Tensor, draws: int) -> torch.Tensor:
    """``draws`` numbers in [0, 1) for each key: (N,) int64 -> (N, draws) float64."""
    words = mix(keys[:, None] + torch.arange(draws, device=keys.device) * _signed(_GOLDEN))
    return _shift(words, 11).double() * 2.0**-53  # the 53 bits that a float64 holds


def generator(*words: int) -> torch.Generator:
    """A CPU generator whose state depends on ``words`` alone."""
    return torch.Generator().manual_seed(mix(*words))


def _scramble(z: int | torch.Tensor) -> int | torch.Tensor:
    z = _wrap(z)
    for bits, multiplier in zip((30, 27), _MULTIPLIERS, strict=True):
        z = _wrap((z ^ _shift(z, bits)) * _signed(multiplier))
    return z ^ _shift(z, 31)


def _shift(z: int | torch.Tensor, bits: int) -> int | torch.Tensor:
    """Logical shift of a signed word to the right; ``>>`` alone would copy the sign in."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _wrap(z: int | torch.Tensor) -> int | torch.Tensor:
    """Keep 64 bits, as int64 tensors do by themselves."""
    return z if isinstance(z, torch.Tensor) else _signed(z)


def _signed(z: int) -> int:
    """The low 64 bits as a signed word: torch's integers are signed."""
    z &= _MASK
    return z - 2**64 if z >= 2**63 else z
