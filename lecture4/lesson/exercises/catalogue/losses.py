"""Mistakes in softmax, cross-entropy and the negative log-likelihood."""

import torch
from torch.nn.functional import one_hot

from lecture4.byhand.functional import cross_entropy, log_softmax, nll_loss, softmax
from lecture4.lesson.exercises.catalogue.mistake import mistake, with_backward


@mistake("softmax", "The probabilities of an example do not sum to 1.", alone=True)
def softmax_over_the_examples(input, dim=1):
    """Normalise over the first dimension, whichever is asked for."""
    return softmax(input, 0)


@mistake("softmax", "All numbers of the batch together sum to 1.", alone=True)
def softmax_over_everything(input, dim=1):
    """Divide by the sum over the whole batch."""
    e = (input - input.max()).exp()
    return e / e.sum()


@mistake("softmax", "The probabilities of an example do not sum to 1.")
def softmax_summed_over_the_examples(input, dim=1):
    """Subtract the largest score of each row, but divide by the sums of the columns."""
    e = (input - input.amax(dim, keepdim=True)).exp()
    p = e / e.sum(0, keepdim=True)
    return with_backward(p, (input,), lambda dp: p * (dp - (dp * p).sum(dim, keepdim=True)))


@mistake("softmax", "An exponential overflows for large scores.", alone=True)
def softmax_overflows(input, dim=1):
    """exp(s) / Σ exp(s), without the largest score subtracted."""
    e = input.exp()
    return e / e.sum(dim, keepdim=True)


@mistake(
    "softmax", "What is subtracted from the scores of one example comes from another.", alone=True
)
def softmax_with_the_largest_of_the_batch(input, dim=1):
    """Subtract one maximum from all rows, so that all exponentials of a row may be 0."""
    e = (input - input.max()).exp()
    return e / e.sum(dim, keepdim=True)


@mistake("softmax", "The probabilities of an example do not sum to 1.")
def softmax_over_the_examples_kept(input, dim=1):
    """Normalise over the first dimension, and let the backward pass take these p as if right."""
    p = softmax(input, 0)
    return with_backward(p, (input,), lambda dp: p * (dp - (dp * p).sum(dim, keepdim=True)))


@mistake("softmax", "A score changes the probabilities of the other classes, too.")
def softmax_with_a_diagonal_jacobian(input, dim=1):
    """∂L/∂s = ∂L/∂p p (1 − p), the diagonal of the Jacobian alone."""
    p = softmax(input, dim)
    return with_backward(p, (input,), lambda dp: dp * p * (1 - p))


@mistake("log_softmax", "The logarithm of a probability that rounds to 0 is infinite.", alone=True)
def log_of_softmax(input, dim=1):
    """log(softmax(s)), with −∞ where P rounds to zero."""
    return softmax(input, dim).log()


@mistake("log_softmax", "An exponential overflows for large scores.", alone=True)
def log_softmax_overflows(input, dim=1):
    """s − log Σ exp(s), without the largest score subtracted."""
    return input - input.exp().sum(dim, keepdim=True).log()


@mistake(
    "log_softmax",
    "The log-probabilities of an example do not belong to one distribution.",
    alone=True,
)
def log_softmax_over_the_examples(input, dim=1):
    """Normalise over the first dimension, whichever is asked for."""
    return log_softmax(input, 0)


@mistake("log_softmax", "The backward pass assumes that the next layer's gradient sums to 1.")
def log_softmax_gradient_without_the_sum(input, dim=1):
    """∂L/∂s = ∂L/∂log p − p, without Σ ∂L/∂log p."""
    log_p = log_softmax(input, dim)
    return with_backward(log_p, (input,), lambda d: d - log_p.exp())


def _loss(log_p, y, reduction):
    """−Σₖ yₖ log pₖ of each example, reduced."""
    return _reduced(-(y * log_p).sum(1), reduction)


def _reduced(losses, reduction):
    return losses if reduction == "none" else getattr(losses, reduction)()


def _n(input, reduction):
    """What the sum of the losses is divided by."""
    return len(input) if reduction == "mean" else 1


def _targets(input, target, alpha):
    """Distributions y of the labels (N, K), smoothed by α."""
    y = one_hot(target, input.shape[1]).to(input.dtype)
    return (1 - alpha) * y + alpha / input.shape[1]


@mistake("cross_entropy", "The softmax normalises over the wrong dimension.", alone=True)
def softmax_over_the_wrong_axis(input, target, reduction="mean", label_smoothing=0.0):
    """Normalise over the images, not the classes: the loss starts at ln N instead of ln K."""
    return _loss(log_softmax(input, 0), _targets(input, target, label_smoothing), reduction)


@mistake("cross_entropy", "The softmax normalises over the wrong dimension.")
def p_minus_y_of_the_wrong_axis(input, target, reduction="mean", label_smoothing=0.0):
    """The softmax over the images, and p − y with this p as gradient."""
    log_p, y = log_softmax(input, 0), _targets(input, target, label_smoothing)
    n = _n(input, reduction)
    loss = _loss(log_p, y, reduction)
    return with_backward(loss, (input,), lambda dl: (log_p.exp() - y) * dl.reshape(-1, 1) / n)


@mistake("cross_entropy", "The loss is a mean, but its gradient is that of a sum.")
def gradient_not_divided_by_n(input, target, reduction="mean", label_smoothing=0.0):
    """Sum the gradient over the batch although the loss is a mean: it is N times too long.

    SGD needs a rate N times smaller; in Adam's update the factor cancels.
    """
    loss = cross_entropy(input, target, reduction=reduction, label_smoothing=label_smoothing)
    return with_backward(loss, (loss,), lambda dl: dl * _n(input, reduction))


@mistake("cross_entropy", "The loss grows with the size of the batch.", alone=True)
def sum_in_place_of_the_mean(input, target, reduction="mean", label_smoothing=0.0):
    """Σₙ Lₙ where the mean is meant."""
    reduction = "sum" if reduction == "mean" else reduction
    return cross_entropy(input, target, reduction=reduction, label_smoothing=label_smoothing)


@mistake("cross_entropy", "The size of the batch enters twice.", alone=True)
def divided_by_n_twice(input, target, reduction="mean", label_smoothing=0.0):
    """The mean of the losses, divided by N again."""
    loss = cross_entropy(input, target, reduction=reduction, label_smoothing=label_smoothing)
    return loss / _n(input, reduction)


@mistake("cross_entropy", "The gradient is divided by the size of the batch twice.")
def gradient_divided_by_n_twice(input, target, reduction="mean", label_smoothing=0.0):
    """The right loss, whose gradient is divided by N again."""
    loss = cross_entropy(input, target, reduction=reduction, label_smoothing=label_smoothing)
    return with_backward(loss, (loss,), lambda dl: dl / _n(input, reduction))


@mistake("cross_entropy", "The mean is taken over classes as well as examples.", alone=True)
def divided_by_the_classes(input, target, reduction="mean", label_smoothing=0.0):
    """Σₙ Lₙ / (N K)."""
    loss = cross_entropy(input, target, reduction=reduction, label_smoothing=label_smoothing)
    return loss / input.shape[1] if reduction == "mean" else loss


@mistake("cross_entropy", "The gradient does not depend on the labels.")
def one_hot_left_out(input, target, reduction="mean", label_smoothing=0.0):
    """∂L/∂s = p in place of p − y."""
    loss = cross_entropy(input, target, reduction=reduction, label_smoothing=label_smoothing)
    p, n = softmax(input, 1), _n(input, reduction)
    return with_backward(loss, (input,), lambda dl: p * dl.reshape(-1, 1) / n)


@mistake("cross_entropy", "A step along this gradient raises the loss.")
def gradient_with_the_wrong_sign(input, target, reduction="mean", label_smoothing=0.0):
    """∂L/∂s = y − p."""
    loss = cross_entropy(input, target, reduction=reduction, label_smoothing=label_smoothing)
    return with_backward(loss, (loss,), lambda dl: -dl)


@mistake("cross_entropy", "The gradient that arrives at the loss is not used.")
def gradient_of_the_loss_ignored(input, target, reduction="mean", label_smoothing=0.0):
    """∂L/∂s = (p − y)/N, without the factor ∂/∂L."""
    loss = cross_entropy(input, target, reduction=reduction, label_smoothing=label_smoothing)
    y, n = _targets(input, target, label_smoothing), _n(input, reduction)
    return with_backward(loss, (input,), lambda dl: (softmax(input, 1) - y) / n)


@mistake("cross_entropy", "A better probability of the right class raises the loss.", alone=True)
def loss_with_the_wrong_sign(input, target, reduction="mean", label_smoothing=0.0):
    """Lₙ = log p, without the minus."""
    return -cross_entropy(input, target, reduction=reduction, label_smoothing=label_smoothing)


@mistake("cross_entropy", "The loss is linear in the probability of the class.", alone=True)
def logarithm_left_out(input, target, reduction="mean", label_smoothing=0.0):
    """Lₙ = −p of the class."""
    return _loss(softmax(input, 1), _targets(input, target, label_smoothing), reduction)


@mistake("cross_entropy", "The logarithm has another base.", alone=True)
def loss_in_bits(input, target, reduction="mean", label_smoothing=0.0):
    """Lₙ = −log₂ p."""
    loss = cross_entropy(input, target, reduction=reduction, label_smoothing=label_smoothing)
    return loss / torch.tensor(2.0).log().item()


@mistake("cross_entropy", "The scores become probabilities more than once.", alone=True)
def softmax_twice(input, target, reduction="mean", label_smoothing=0.0):
    """The cross-entropy of softmax(s) in place of s: its gradient nearly vanishes."""
    p = softmax(input, 1)
    return cross_entropy(p, target, reduction=reduction, label_smoothing=label_smoothing)


@mistake("cross_entropy", "An exponential overflows for large scores.", alone=True)
def cross_entropy_overflows(input, target, reduction="mean", label_smoothing=0.0):
    """Softmax without the largest score subtracted, and its logarithm."""
    p = softmax_overflows.call(input)
    return _loss(p.log(), _targets(input, target, label_smoothing), reduction)


@mistake("cross_entropy", "The logarithm of a probability that rounds to 0 is infinite.")
def logarithm_of_a_rounded_probability(input, target, reduction="mean", label_smoothing=0.0):
    """−log softmax(s) of the class, ∞ where P rounds to zero."""
    losses = -softmax(input, 1)[torch.arange(len(input)), target].log()
    smooth = -softmax(input, 1).log().mean(1) if label_smoothing else 0
    return _reduced((1 - label_smoothing) * losses + label_smoothing * smooth, reduction)


@mistake("cross_entropy", "A constant inside the logarithm limits the loss.", alone=True)
def constant_inside_the_logarithm(input, target, reduction="mean", label_smoothing=0.0):
    """−log(p + 10⁻⁹): a loss of ‘impossible’ classes is 21, not large as the scores."""
    log_p = (softmax(input, 1) + 1e-9).log()
    return _loss(log_p, _targets(input, target, label_smoothing), reduction)


@mistake("cross_entropy", "The smoothed labels of an example sum to more than 1.", alone=True)
def smoothing_in_full_for_each_class(input, target, reduction="mean", label_smoothing=0.0):
    """y = (1 − α) y + α, without 1/K."""
    y = _targets(input, target, label_smoothing)
    y = y + label_smoothing * (1 - 1 / input.shape[1])
    return _loss(log_softmax(input, 1), y, reduction)


@mistake(
    "cross_entropy",
    "What smoothing gives to all classes is not taken from the right one.",
    alone=True,
)
def smoothing_added_to_the_label(input, target, reduction="mean", label_smoothing=0.0):
    """y = y + α/K, without 1 − α."""
    y = _targets(input, target, 0) + label_smoothing / input.shape[1]
    return _loss(log_softmax(input, 1), y, reduction)


def _with_p_minus_y(input, y, reduction):
    """The loss of labels y, and p − y as gradient, though y may not sum to 1."""
    log_p, n = log_softmax(input, 1), _n(input, reduction)
    loss = _loss(log_p, y, reduction)
    return with_backward(loss, (input,), lambda dl: (log_p.exp() - y) * dl.reshape(-1, 1) / n)


@mistake("cross_entropy", "The smoothed labels of an example sum to more than 1.")
def smoothing_in_full_with_p_minus_y(input, target, reduction="mean", label_smoothing=0.0):
    """y = (1 − α) y + α, and p − y as gradient."""
    y = (1 - label_smoothing) * _targets(input, target, 0) + label_smoothing
    return _with_p_minus_y(input, y, reduction)


@mistake("cross_entropy", "What smoothing gives to all classes is not taken from the right one.")
def smoothing_added_with_p_minus_y(input, target, reduction="mean", label_smoothing=0.0):
    """y = y + α/K, and p − y as gradient."""
    y = _targets(input, target, 0) + label_smoothing / input.shape[1]
    return _with_p_minus_y(input, y, reduction)


@mistake(
    "cross_entropy",
    "Smoothing leaves the right class out when it gives to all classes.",
    alone=True,
)
def smoothing_of_the_other_classes(input, target, reduction="mean", label_smoothing=0.0):
    """y = 1 − α for the class, α/(K − 1) for each other one."""
    y = _targets(input, target, 0)
    y = (1 - label_smoothing) * y + label_smoothing * (1 - y) / (input.shape[1] - 1)
    return _loss(log_softmax(input, 1), y, reduction)


@mistake("cross_entropy", "The labels are not smoothed.", alone=True)
def smoothing_ignored(input, target, reduction="mean", label_smoothing=0.0):
    """α = 0."""
    return cross_entropy(input, target, reduction=reduction)


@mistake("nll_loss", "A better log-probability of the right class raises the loss.", alone=True)
def nll_with_the_wrong_sign(input, target, reduction="mean"):
    """Lₙ = log pₙ, without the minus."""
    return -nll_loss(input, target, reduction=reduction)


@mistake("nll_loss", "The loss grows with the size of the batch.", alone=True)
def nll_sum_in_place_of_the_mean(input, target, reduction="mean"):
    """Σₙ Lₙ where the mean is meant."""
    return nll_loss(input, target, reduction="sum" if reduction == "mean" else reduction)


@mistake("nll_loss", "The loss is a mean, but its gradient is that of a sum.")
def nll_gradient_not_divided_by_n(input, target, reduction="mean"):
    """The gradient of the sum, with the value of the mean."""
    loss = nll_loss(input, target, reduction=reduction)
    return with_backward(loss, (loss,), lambda dl: dl * _n(input, reduction))


@mistake("nll_loss", "The mean is taken over classes as well as examples.", alone=True)
def nll_divided_by_the_classes(input, target, reduction="mean"):
    """Σₙ Lₙ / (N K)."""
    loss = nll_loss(input, target, reduction=reduction)
    return loss / input.shape[1] if reduction == "mean" else loss


@mistake("nll_loss", "The input is treated as scores.", alone=True)
def nll_of_scores(input, target, reduction="mean"):
    """exp(log p) is exponentiated and normalised again, with the values of p."""
    return cross_entropy(input.exp(), target, reduction=reduction)
