"""Weight initialisation: too small, too big, and just right (Xavier, He).

A score s = Σᵢ wᵢ xᵢ is a sum of n = fan_in terms. With weights of mean 0, independent of each other
and of x, E[wᵢ xᵢ] = 0 and the terms are uncorrelated, so

    Var[s] = Σᵢ E[wᵢ² xᵢ²] = Σᵢ E[wᵢ²] E[xᵢ²] = n Var[w] E[x²]

Each layer multiplies the size of its inputs by n Var[w]; going back, each gradient ∂L/∂x is a sum
over fan_out scores and is multiplied by fan_out Var[w]. Through many layers a factor other than 1
grows or shrinks exponentially:

    scheme   Var[w]                          n Var[w]      the lecture
    small    0.001²                          n / 10⁶       too small: activations and gradients → 0
    large    1                               n             too big: saturated, gradients → 0
    he       gain² / fan_in                  gain²         just right (ReLU)
    xavier   gain² · 2 / (fan_in + fan_out)  about gain²   just right (sigmoid), in both directions

The gain undoes what the activation f does to the second moment: gain² = 1 / E[f(z)²] for
z ~ N(0, 1), which is 2 for ReLU.

Sources: the lecture, "Weight Initialization"; Glorot & Bengio 2010, eq. 12 and 16; He et al. 2015,
arXiv:1502.01852, eq. 10.
"""

import math

from torch import nn

from lecture4.byhand.functional._torch_options import check_tensor

SCHEMES = ("xavier", "he", "small", "large", "pytorch")


def standard_deviation(scheme: str, fan_in: int, fan_out: int, gain: float = 1.0) -> float:
    """√Var[w] of the table above.

    Raises:
        ValueError: ``scheme`` is not in the table.
    """
    match scheme:
        case "he":
            return gain / math.sqrt(fan_in)
        case "xavier":
            return gain * math.sqrt(2 / (fan_in + fan_out))
        case "small":
            return 0.001
        case "large":
            return 1.0
    raise ValueError(f"init={scheme} is unknown; choose one of {', '.join(SCHEMES)}")


def initialize_(layer: nn.Linear | nn.Conv2d, scheme: str, gain: float = 1.0) -> None:
    """Draw ``layer.weight`` from N(0, Var[w]) in place and set ``layer.bias`` to zero.

    Args:
        layer: a linear or convolution layer.
        scheme: one of the table above, or ``pytorch`` to keep the weights and biases that torch's
            constructor drew.
        gain: of the activation that follows the layer; 1 for scores, which none follows.

    Raises:
        ValueError: ``scheme`` is unknown, or the weight is not of floats.
    """
    check_tensor("initialize_", "weight", layer.weight)
    if scheme == "pytorch" or not layer.weight.numel():
        return
    outputs, *filter_shape = layer.weight.shape  # (K, D), or (O, C, F_h, F_w)
    fan_in = math.prod(filter_shape)  # terms in the sum of one output
    fan_out = outputs * math.prod(filter_shape[1:])  # outputs that one input is part of, at S = 1
    nn.init.normal_(layer.weight, std=standard_deviation(scheme, fan_in, fan_out, gain))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
