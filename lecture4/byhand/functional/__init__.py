"""The lecture's formulas, forward and backward derived by hand.

A function that ``torch.nn.functional`` has, too, takes the same arguments and returns the same
results: replace torch's import by ``from lecture4.byhand import functional as F``.
"""

from lecture4.byhand.functional.activations import gelu, leaky_relu, relu, sigmoid, silu, tanh
from lecture4.byhand.functional.convolution import conv2d
from lecture4.byhand.functional.dense import flatten, linear
from lecture4.byhand.functional.information import cross_entropy as cross_entropy_of
from lecture4.byhand.functional.information import entropy, kl_divergence
from lecture4.byhand.functional.losses import cross_entropy, nll_loss
from lecture4.byhand.functional.normalization import batch_norm
from lecture4.byhand.functional.pooling import avg_pool2d, max_pool2d
from lecture4.byhand.functional.regularization import dropout, l1_penalty, l2_penalty
from lecture4.byhand.functional.scores import log_softmax, softmax
from lecture4.byhand.functional.windows import output_size

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "cross_entropy",
    "cross_entropy_of",
    "dropout",
    "entropy",
    "flatten",
    "gelu",
    "kl_divergence",
    "l1_penalty",
    "l2_penalty",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "nll_loss",
    "output_size",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]
