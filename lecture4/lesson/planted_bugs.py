"""Common mistakes, planted on purpose: ``with flipped_kernel(): …``.

Each one changes what ``lecture4.byhand`` computes until the block ends. ``BUGS`` lists them. The
checks of ``training.sanity`` must catch them; the claim ``bugs`` tests whether a loss curve would.
"""

from contextlib import AbstractContextManager
from unittest.mock import patch

import torch

from lecture4.byhand import functional as F
from lecture4.byhand import optim
from lecture4.byhand.functional import dense, losses, normalization, pooling
from lecture4.training.formulas import BYHAND


def flipped_kernel() -> AbstractContextManager:
    """Convolve with the kernel turned by 180°, as signal processing defines convolution.

    A net that learns its kernels can learn them turned; weights of another program do not fit.
    """
    right = F.conv2d
    return patch.object(F, "conv2d", lambda x, weight, *rest: right(x, weight.flip(2, 3), *rest))


def missing_bias() -> AbstractContextManager:
    """Leave out + b: s = x Wᵀ. The loss may fall without it, but b gets no gradient."""
    right = F.linear
    return patch.object(F, "linear", lambda x, weight, bias: right(x, weight))


def transposed_weight() -> AbstractContextManager:
    """Multiply by W instead of Wᵀ where W is square, so that all shapes fit.

    A random W is as random when transposed, so the net may learn as well.
    """
    right = F.linear

    def linear(x, weight, bias):
        return right(x, weight.T if weight.shape[0] == weight.shape[1] else weight, bias)

    return patch.object(F, "linear", linear)


def assignment_in_pooling() -> AbstractContextManager:
    """Assign ∂L/∂x (=) instead of adding to it (+=) where windows overlap: the last one wins.

    Layers below learn from a part of their gradient, and may learn as well.
    """

    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        padded, dx = ctx.windows.padded(x), ctx.windows.zeros(dy)
        y = pooling._largest(x, ctx.windows)
        for _, _, pixels in ctx.windows.cells():
            dx[pixels] = dy * (padded[pixels] == y)  # should be +=
        return ctx.windows.cropped(dx), None

    return patch.object(pooling._MaxPool2d, "backward", staticmethod(backward))


def softmax_over_the_wrong_axis() -> AbstractContextManager:
    """Normalise over the images, not the classes: the loss starts at ln N instead of ln K."""

    def cross_entropy(scores, labels, *rest, **options):
        return -F.log_softmax(scores, 0)[torch.arange(len(labels)), labels].mean()

    return patch.object(F, "cross_entropy", cross_entropy)


def gradient_not_divided_by_n() -> AbstractContextManager:
    """Sum the gradient over the batch although the loss is a mean: it is N times too long.

    SGD needs a rate N times smaller; in Adam's update the factor cancels.
    """

    def backward(ctx, dl):
        return dl.expand(ctx.shape), None

    return patch.object(losses._Sum, "backward", staticmethod(backward))


def dropout_left_on() -> AbstractContextManager:
    """Drop units in evaluation, too: training is unchanged, the scores become random."""
    right = F.dropout
    return patch.object(F, "dropout", lambda x, p, training, inplace: right(x, p, True, inplace))


def batch_statistics_left_on() -> AbstractContextManager:
    """Normalise by the batch in evaluation, too: an image's scores depend on the others."""
    right = F.batch_norm
    return patch.object(
        F,
        "batch_norm",
        lambda x, mean, var, weight, bias, training, momentum, eps: right(
            x, mean, var, weight, bias, True, momentum, eps
        ),
    )


def fixed_statistics_in_the_backward() -> AbstractContextManager:
    """Ignore that the batch's mean and variance depend on x: ∂L/∂x lacks two terms."""
    right = normalization._BatchNorm.backward

    def backward(ctx, dy):
        ctx.training = False
        return right(ctx, dy)

    return patch.object(normalization._BatchNorm, "backward", staticmethod(backward))


def adam_without_bias_correction() -> AbstractContextManager:
    """Step by m/√v, not m̂/√v̂: the first steps are (1 − β₁ᵗ)/√(1 − β₂ᵗ) times as long."""

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
    """Subtract λ R(W): weights are rewarded for growing. The cross-entropy does not show it."""
    return patch.dict(BYHAND.penalties, {"l2": lambda weights: -F.l2_penalty(weights)})


def scores_that_ignore_the_input() -> AbstractContextManager:
    """Lose the input: the lowest loss possible is the entropy of the labels, about ln K."""
    right = F.flatten
    return patch.object(F, "flatten", lambda x, *dims: 0 * right(x, *dims))


def gradient_that_is_no_number() -> AbstractContextManager:
    """Return NaN from one backward: after one step the weights that it reaches are NaN."""
    linear = dense._Linear
    right = linear.backward

    def backward(ctx, ds):
        dx, dweight, dbias = right(ctx, ds)
        return dx, dweight, dbias * float("nan")

    return patch.object(linear, "backward", staticmethod(backward))


BUGS = (
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
