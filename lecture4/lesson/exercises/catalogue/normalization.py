"""Mistakes in batch normalisation; autograd computes the gradients, unless they are the mistake."""

import torch

from lecture4.byhand.functional import batch_norm
from lecture4.lesson.exercises.catalogue.mistake import mistake, with_backward


@mistake(
    "batch_norm",
    "In evaluation the output for one image depends on the other images of the batch.",
    alone=True,
)
def batch_statistics_left_on(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Normalise by the batch in evaluation, too: an image's scores depend on the others."""
    return batch_norm(input, running_mean, running_var, weight, bias, True, momentum, eps)


@mistake(
    "batch_norm",
    "In evaluation the output for one image depends on the other images of the batch.",
    alone=True,
)
def batch_statistics_in_evaluation(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Normalise by the batch in evaluation, too, and leave the running statistics there."""
    kept = running_mean, running_var
    if not training:
        kept = running_mean.clone(), running_var.clone()
    return batch_norm(input, *kept, weight, bias, True, momentum, eps)


@mistake(
    "batch_norm", "In evaluation the output for one image depends on the other images of the batch."
)
def batch_statistics_in_evaluation_kept(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """The same, where the backward pass takes them for constants, as in evaluation."""
    if training:
        return batch_norm(input, running_mean, running_var, weight, bias, True, momentum, eps)
    mean, var = _moments(input)
    return _scaled(input, mean.detach(), var.detach(), weight, bias, eps)


@mistake("batch_norm", "The running statistics change where nothing is learned.")
def statistics_updated_in_evaluation(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Let the running statistics follow the batches of evaluation."""
    if training:
        return batch_norm(input, running_mean, running_var, weight, bias, True, momentum, eps)
    mean, var = running_mean.clone(), running_var.clone()
    _follow(running_mean, running_var, *_moments(input), momentum, _n(input))
    return _scaled(input, mean, var, weight, bias, eps)


@mistake("batch_norm", "The running statistics keep the values they had before training.")
def running_statistics_not_updated(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Normalise by the batch in training, and leave the running statistics."""
    kept = running_mean.clone(), running_var.clone()
    return batch_norm(input, *kept, weight, bias, training, momentum, eps)


@mistake("batch_norm", "Training normalises by the statistics of evaluation.", alone=True)
def running_statistics_in_training(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Update the running statistics, and normalise by them also in training."""
    if training:
        _follow(running_mean, running_var, *_moments(input), momentum, _n(input))
    return _scaled(input, running_mean.clone(), running_var.clone(), weight, bias, eps)


@mistake(
    "batch_norm",
    "The batch and the past are weighted the wrong way round in the running statistics.",
)
def momentum_the_wrong_way_round(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """running = m · running + (1 − m) · batch, where m is the share of the batch."""
    return batch_norm(input, running_mean, running_var, weight, bias, training, 1 - momentum, eps)


@mistake(
    "batch_norm",
    "The batch and the past are weighted the wrong way round in the running statistics.",
)
def momentum_the_wrong_way_round_biased(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """The same with the biased variance."""
    if not training:
        return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    mean, var = _moments(input)
    _follow(running_mean, running_var, mean, var, 1 - momentum)
    return _scaled(input, mean, var, weight, bias, eps)


@mistake("batch_norm", "The running variance estimates the variance of the batch, not of all data.")
def biased_running_variance(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Let the running variance follow the biased variance, Σ (x − μ)²/N."""
    if not training:
        return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    mean, var = _moments(input)
    _follow(running_mean, running_var, mean, var, momentum)
    return _scaled(input, mean, var, weight, bias, eps)


@mistake(
    "batch_norm",
    "The variance that normalises the batch is divided by the wrong count.",
    alone=True,
)
def unbiased_variance_in_training(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Normalise by the unbiased variance, Σ (x − μ)²/(N − 1)."""
    if not training:
        return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    (mean, var), n = _moments(input), _n(input)
    _follow(running_mean, running_var, mean, var, momentum, n)
    return _scaled(input, mean, var * n / (n - 1), weight, bias, eps)


@mistake("batch_norm", "ε is added at the wrong step.", alone=True)
def epsilon_outside_the_root(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """x̂ = (x − μ)/(σ + ε)."""
    mean, var = _statistics(input, running_mean, running_var, training, momentum)
    return _scaled(input, mean, (var.sqrt() + eps).square(), weight, bias, 0)


@mistake("batch_norm", "x − μ is divided by a number that does not have the unit of x.", alone=True)
def divided_by_the_variance(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """x̂ = (x − μ)/(σ² + ε), without the root."""
    mean, var = _statistics(input, running_mean, running_var, training, momentum)
    return _scaled(input, mean, (var + eps).square(), weight, bias, 0)


@mistake("batch_norm", "The statistics are those of an example, not of a channel.", alone=True)
def statistics_of_each_example(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Normalise each example over its channels and pixels, as layer norm does."""
    if not training:
        return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    dims = list(range(1, input.ndim))
    mean, var = input.mean(dims, keepdim=True), input.var(dims, unbiased=False, keepdim=True)
    _follow(running_mean, running_var, *_moments(input), momentum, _n(input))
    return _affine((input - mean) / (var + eps).sqrt(), weight, bias)


@mistake("batch_norm", "The pixels of a channel do not share their statistics.", alone=True)
def statistics_of_each_pixel(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Normalise each pixel over the batch alone."""
    if not training:
        return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    mean, var = input.mean(0), input.var(0, unbiased=False)
    _follow(running_mean, running_var, *_moments(input), momentum, _n(input))
    return _affine((input - mean) / (var + eps).sqrt(), weight, bias)


@mistake("batch_norm", "The backward pass takes the statistics of the batch for constants.")
def fixed_statistics_in_the_backward(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Ignore that the batch's mean and variance depend on x: ∂L/∂x lacks two terms."""
    mean, var = _statistics(input, running_mean, running_var, training, momentum)
    return _scaled(input, mean.detach(), var.detach(), weight, bias, eps)


@mistake("batch_norm", "The backward pass leaves out one of the paths from x to the output.")
def no_path_through_the_mean(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """∂L/∂x without the term of ∂L/∂μ."""
    mean, var = _statistics(input, running_mean, running_var, training, momentum)
    return _scaled(input, mean.detach(), var, weight, bias, eps)


@mistake("batch_norm", "The backward pass leaves out one of the paths from x to the output.")
def no_path_through_the_variance(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """∂L/∂x without the term of ∂L/∂σ²."""
    mean, var = _statistics(input, running_mean, running_var, training, momentum)
    return _scaled(input, mean, var.detach(), weight, bias, eps)


@mistake("batch_norm", "The scale γ does not act on the gradient of x.")
def weight_left_out_of_the_backward(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """∂L/∂x̂ = ∂L/∂y, without γ."""
    mean, var = _statistics(input, running_mean, running_var, training, momentum)
    normalized = _scaled(input, mean, var, None, None, eps)
    y = _affine(normalized, weight, bias)
    dims = [d for d in range(input.ndim) if d != 1]
    return with_backward(
        y,
        (normalized, weight, bias),
        lambda dy: (dy, (dy * normalized).sum(dims), dy.sum(dims)),
    )


@mistake("batch_norm", "The gradient of γ is that of another parameter.")
def weight_gradient_without_the_normalized_input(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """∂L/∂γ = Σ ∂L/∂y, without x̂."""
    mean, var = _statistics(input, running_mean, running_var, training, momentum)
    normalized = _scaled(input, mean, var, None, None, eps)
    dims = [d for d in range(input.ndim) if d != 1]
    return with_backward(
        _affine(normalized, weight, bias),
        (normalized, weight, bias),
        lambda dy: (dy * _per_channel(weight, dy), dy.sum(dims), dy.sum(dims)),
    )


@mistake("batch_norm", "Two gradients are returned in each other's place.")
def weight_and_bias_gradients_exchanged(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """∂L/∂β for γ, and ∂L/∂γ for β."""
    mean, var = _statistics(input, running_mean, running_var, training, momentum)
    normalized = _scaled(input, mean, var, None, None, eps)
    dims = [d for d in range(input.ndim) if d != 1]
    return with_backward(
        _affine(normalized, weight, bias),
        (normalized, weight, bias),
        lambda dy: (dy * _per_channel(weight, dy), dy.sum(dims), (dy * normalized).sum(dims)),
    )


@mistake("batch_norm", "The variance that normalises the batch is divided by the wrong count.")
def unbiased_variance_kept(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """The unbiased variance in the forward pass, with the usual formula of the backward pass."""
    mean, var = _statistics(input, running_mean, running_var, training, momentum)
    n = _n(input)
    var = var * n / (n - 1) if training else var
    return _usual_backward(input, mean, 1 / (var + eps).sqrt(), weight, bias, training)


@mistake("batch_norm", "ε is added at the wrong step.")
def epsilon_outside_the_root_kept(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """1/(σ + ε) in the forward pass, with the usual formula of the backward pass."""
    mean, var = _statistics(input, running_mean, running_var, training, momentum)
    return _usual_backward(input, mean, 1 / (var.sqrt() + eps), weight, bias, training)


@mistake("batch_norm", "x − μ is divided by a number that does not have the unit of x.")
def divided_by_the_variance_kept(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """1/(σ² + ε) in the forward pass, with the usual formula of the backward pass."""
    mean, var = _statistics(input, running_mean, running_var, training, momentum)
    return _usual_backward(input, mean, 1 / (var + eps), weight, bias, training)


def _usual_backward(input, mean, scale, weight, bias, training):
    """γ x̂ + β, x̂ = (x − μ) · scale; the backward pass takes x̂ for normalised."""
    mean, scale, gamma = (_per_channel(v.detach(), input) for v in (mean, scale, weight))
    normalized = (input.detach() - mean) * scale
    dims = [d for d in range(input.ndim) if d != 1]

    def backward(dy):
        dx = dy
        if training:
            shared = (dy * normalized).mean(dims, keepdim=True)
            dx = dy - dy.mean(dims, keepdim=True) - normalized * shared
        return gamma * scale * dx, (dy * normalized).sum(dims), dy.sum(dims)

    return with_backward(_affine(normalized, weight, bias), (input, weight, bias), backward)


def _statistics(input, running_mean, running_var, training, momentum):
    """μ and σ² to normalise by; in training the batch's, which the running ones follow."""
    if not training:
        return running_mean, running_var
    mean, var = _moments(input)
    _follow(running_mean, running_var, mean, var, momentum, _n(input))
    return mean, var


def _moments(input):
    """μ and the biased σ² of each channel, (C,)."""
    dims = [d for d in range(input.ndim) if d != 1]
    return input.mean(dims), input.var(dims, unbiased=False)


def _n(input):
    """How many numbers each channel has."""
    return input.numel() / input.shape[1]


@torch.no_grad()
def _follow(running_mean, running_var, mean, var, momentum, n=None):
    """running = (1 − m) · running + m · batch, with the unbiased variance if ``n`` is given."""
    running_mean.lerp_(mean, momentum)
    running_var.lerp_(var if n is None else var * n / (n - 1), momentum)


def _scaled(input, mean, var, weight, bias, eps):
    """γ (x − μ)/√(σ² + ε) + β."""
    normalized = (input - _per_channel(mean, input)) / _per_channel((var + eps).sqrt(), input)
    return _affine(normalized, weight, bias)


def _affine(normalized, weight, bias):
    """γ x̂ + β."""
    y = normalized if weight is None else normalized * _per_channel(weight, normalized)
    return y if bias is None else y + _per_channel(bias, normalized)


def _per_channel(v, x):
    return v.view(-1, *[1] * (x.ndim - 2))
