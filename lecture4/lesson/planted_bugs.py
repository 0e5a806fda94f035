"""Mistakes that people make, each to be planted on purpose: ``with flipped_kernel(): …``.

Every one changes what ``lecture4`` computes by hand until the block ends. ``MISTAKES`` lists them;
the checks of ``training.sanity`` are there to see them, and the claim ``bugs`` asks whether a
loss curve would.
"""

from contextlib import AbstractContextManager
from unittest.mock import patch

import torch

from lecture4.byhand import functional as F
from lecture4.byhand import optim
from lecture4.byhand.functional import dense, losses, normalization, pooling
from lecture4.training.formulas import BYHAND


def flipped_kernel() -> AbstractContextManager:
    """Convolve with the kernel turned by 180°, as signal processing defines it.

    A net that learns its kernels may learn them turned. Weights from elsewhere do not fit.
    """
    right = F.conv2d
    return patch.object(F, "conv2d", lambda x, weight, *rest: right(x, weight.flip(2, 3), *rest))


def missing_bias() -> AbstractContextManager:
    """Leave out + b: s = x Wᵀ. The loss may fall without it; b has no gradient at all."""
    right = F.linear
    return patch.object(F, "linear", lambda x, weight, bias: right(x, weight))


def transposed_weight() -> AbstractContextManager:
    """Multiply by W for Wᵀ where W is square, so that no shape complains.

    W is random at first, and random it is transposed: the net may learn as well.
    """
    right = F.linear

    def linear(x, weight, bias):
        return right(x, weight.T if weight.shape[0] == weight.shape[1] else weight, bias)

    return patch.object(F, "linear", linear)


def assignment_in_pooling() -> AbstractContextManager:
    """Write ∂L/∂x = for += where pooling windows overlap: the last window wins.

    Layers below learn from part of their gradient, and may do as well.
    """

    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        padded, dx = ctx.windows.padded(x), ctx.windows.zeros(dy)
        y = pooling._largest(x, ctx.windows)
        for _, _, pixels in ctx.windows.cells():
            dx[pixels] = dy * (padded[pixels] == y)  # = for +=
        return ctx.windows.cropped(dx), None

    return patch.object(pooling._MaxPool2d, "backward", staticmethod(backward))


def softmax_over_the_wrong_axis() -> AbstractContextManager:
    """Normalise over the images of the batch for the classes: the loss begins at ln N, not ln K."""

    def cross_entropy(scores, labels, *rest, **options):
        return -F.log_softmax(scores, 0)[torch.arange(len(labels)), labels].mean()

    return patch.object(F, "cross_entropy", cross_entropy)


def gradient_not_divided_by_n() -> AbstractContextManager:
    """Sum the gradient over the batch where the loss is a mean: N times too long.

    SGD wants a rate as much smaller; Adam divides the factor away again.
    """

    def backward(ctx, dl):
        return dl.expand(ctx.shape), None

    return patch.object(losses._Sum, "backward", staticmethod(backward))


def dropout_left_on() -> AbstractContextManager:
    """Drop units in evaluation, too: training is the same, the scores are left to chance."""
    right = F.dropout
    return patch.object(F, "dropout", lambda x, p, training, inplace: right(x, p, True, inplace))


def batch_statistics_left_on() -> AbstractContextManager:
    """Normalise by the batch in evaluation, too: an image's scores depend on its neighbours."""
    right = F.batch_norm
    return patch.object(
        F,
        "batch_norm",
        lambda x, mean, var, weight, bias, training, momentum, eps: right(
            x, mean, var, weight, bias, True, momentum, eps
        ),
    )


def fixed_statistics_in_the_backward() -> AbstractContextManager:
    """Forget that the batch's mean and variance depend on x: two terms of ∂L/∂x are missing."""
    right = normalization._BatchNorm.backward

    def backward(ctx, dy):
        ctx.training = False
        return right(ctx, dy)

    return patch.object(normalization._BatchNorm, "backward", staticmethod(backward))


def adam_without_bias_correction() -> AbstractContextManager:
    """Step by m/√v for m̂/√v̂: the first steps are (1 − β₁ᵗ)/√(1 − β₂ᵗ) times as long."""

    def step(self):
        with torch.no_grad():
            for group in self.param_groups:
                beta1, beta2 = group["betas"]
                for w in group["params"]:
                    state = self.state[w]
                    m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * w.grad
                    v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * w.grad**2
                    w -= group["lr"] * m / (v.sqrt() + group["eps"])

    return patch.object(optim.Adam, "step", step)


def penalty_rewarded() -> AbstractContextManager:
    """Subtract λ R(W): weights are paid for growing. The cross-entropy has no part of it."""
    return patch.dict(BYHAND.penalties, {"l2": lambda weights: -F.l2_penalty(weights)})


def scores_that_ignore_the_input() -> AbstractContextManager:
    """Lose the input on the way: the best left is the entropy of the labels, about ln K."""
    right = F.flatten
    return patch.object(F, "flatten", lambda x, *dims: 0 * right(x, *dims))


def gradient_that_is_no_number() -> AbstractContextManager:
    """Let one backward divide 0 by 0: after one step no weight that it reaches is a number."""
    linear = dense._Linear
    right = linear.backward

    def backward(ctx, ds):
        dx, dweight, dbias = right(ctx, ds)
        return dx, dweight, dbias * float("nan")

    return patch.object(linear, "backward", staticmethod(backward))


MISTAKES = (
    flipped_kernel,
    missing_bias,
    transposed_weight,
    assignment_in_pooling,
    softmax_over_the_wrong_axis,
    gradient_not_divided_by_n,
    dropout_left_on,
    batch_statistics_left_on,
    fixed_statistics_in_the_backward,
    adam_without_bias_correction,
    penalty_rewarded,
    gradient_that_is_no_number,
    scores_that_ignore_the_input,
)
