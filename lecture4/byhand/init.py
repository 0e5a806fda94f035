"""Weight initialisation: too small, too big, and just right (Xavier, He).

    Var[w] = gain² / fan_in                  He:      keeps Var[activations] through ReLU
    Var[w] = gain² · 2 / (fan_in + fan_out)  Xavier:  the compromise of forward and backward

The gain undoes what the activation that follows does to the variance: gain² = 1 / E[f(z)²] for
z ~ N(0, 1) (ReLU halves it, so gain = √2); for tanh and sigmoid the values in use are torch's.

Sources: Glorot & Bengio 2010, eq. 12 and 16; He et al. 2015, arXiv:1502.01852, eq. 10.
"""

import math

from torch import nn

GAINS = {
    "linear": 1.0,  # the scores: nothing follows
    "relu": math.sqrt(2),
    "leaky_relu": math.sqrt(2 / (1 + 0.01**2)),  # slope 0.01 below zero
    "gelu": 1.5335,  # E[gelu(z)²] = 0.4252
    "sigmoid": 1.0,
    "tanh": 5 / 3,
}
SCHEMES = ("xavier", "he", "small", "large", "pytorch")


def initialize_(layer: nn.Linear | nn.Conv2d, scheme: str, activation: str = "linear") -> None:
    """Draw ``layer.weight`` from N(0, std²) in place and set ``layer.bias`` to zero.

    Args:
        layer: a linear or convolution layer.
        scheme: ``xavier`` and ``he`` (above), ``small`` (std 0.001), ``large`` (std 1), or
            ``pytorch`` (leave what torch's constructor drew, biases too).
        activation: what follows the layer; a key of ``GAINS``.

    Raises:
        ValueError: ``scheme`` or ``activation`` is unknown.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"init={scheme} is unknown; choose one of {', '.join(SCHEMES)}")
    if activation not in GAINS:
        raise ValueError(f"activation={activation} is unknown; choose one of {', '.join(GAINS)}")
    if scheme == "pytorch":
        return
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
    gain = GAINS[activation]
    std = {
        "xavier": gain * math.sqrt(2 / (fan_in + fan_out)),
        "he": gain / math.sqrt(fan_in),
        "small": 1e-3,
        "large": 1.0,
    }[scheme]
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
