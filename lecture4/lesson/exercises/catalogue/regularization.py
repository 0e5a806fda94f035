"""Mistakes in dropout and in the penalties on large weights."""

import torch

from lecture4.byhand.functional import dropout, l1_penalty, l2_penalty
from lecture4.lesson.exercises.catalogue.mistake import mistake, with_backward


@mistake("dropout", "Units are dropped where the net is to be evaluated.")
def dropout_left_on(input, p=0.5, training=True):
    """Drop units in evaluation, too: training is unchanged, the scores become random."""
    return dropout(input, p, True)


@mistake("dropout", "The next layer receives less in training than in evaluation.")
def dropout_not_scaled(input, p=0.5, training=True):
    """y = m x with m of 0 and 1, without 1/(1 − p)."""
    return dropout(input, p, training) * (1 - p if training else 1)


@mistake("dropout", "The kept numbers are scaled by the wrong probability.")
def dropout_scaled_by_p(input, p=0.5, training=True):
    """Divide by p in place of 1 − p."""
    return input * (torch.rand_like(input) >= p) / p if training else input


@mistake("dropout", "The outputs are scaled in training, and once more in evaluation.")
def dropout_scaled_in_evaluation_too(input, p=0.5, training=True):
    """y = (1 − p) x in evaluation, although training divides by 1 − p."""
    return dropout(input, p) if training else input * (1 - p)


@mistake("dropout", "The probability of dropping and that of keeping are exchanged.")
def dropout_keeps_p(input, p=0.5, training=True):
    """Keep a unit with probability p, and divide by p."""
    return input * (torch.rand_like(input) < p) / p if training else input


@mistake("dropout", "The probability of dropping and that of keeping are exchanged.")
def dropout_keeps_p_and_divides_by_the_rest(input, p=0.5, training=True):
    """Keep a unit with probability p, and divide by 1 − p."""
    return input * (torch.rand_like(input) < p) / (1 - p) if training else input


@mistake("dropout", "The backward pass drops other units than the forward pass.")
def mask_drawn_anew_in_the_backward(input, p=0.5, training=True):
    """Draw another mask for the gradient."""
    return with_backward(dropout(input, p, training), (input,), lambda dy: dropout(dy, p, training))


@mistake("dropout", "Dropped units receive a gradient.")
def gradient_without_mask(input, p=0.5, training=True):
    """∂L/∂x = ∂L/∂y."""
    return with_backward(dropout(input, p, training), (input,), lambda dy: dy)


@mistake("dropout", "The gradient misses a factor that the forward pass has.")
def gradient_not_scaled(input, p=0.5, training=True):
    """∂L/∂x = ∂L/∂y where a unit is kept, without 1/(1 − p)."""
    y = dropout(input, p, training)
    return with_backward(y, (input,), lambda dy: dy * (y != 0) if training else dy)


@mistake("dropout", "The gradient that arrives from the next layer is not used.")
def dropout_mask_alone(input, p=0.5, training=True):
    """∂L/∂x = m, without ∂L/∂y."""
    y = dropout(input, p, training)
    return with_backward(y, (input,), lambda dy: (y / input).detach())


@mistake("dropout", "All examples of the batch lose the same units.")
def one_mask_for_the_batch(input, p=0.5, training=True):
    """Draw the mask of one example."""
    return input * dropout(torch.ones_like(input[:1]), p, training)


@mistake("l2_penalty", "Growing weights lower the loss.", alone=True)
def penalty_rewarded(weights):
    """Subtract λ R(W): weights are rewarded for growing. The cross-entropy does not show it."""
    return -l2_penalty(weights)


@mistake("l2_penalty", "A factor of the derivative is missing.")
def l2_gradient_without_the_two(weights):
    """∂R/∂w = w, with R = Σ w²."""
    r = l2_penalty(weights)
    return with_backward(r, (r,), lambda dr: dr / 2)


@mistake("l2_penalty", "The penalty is half of what is asked for.", alone=True)
def half_of_the_l2_penalty(weights):
    """R = ½ Σ w²."""
    return l2_penalty(weights) / 2


@mistake("l2_penalty", "Twice the weights have twice the penalty, not four times.", alone=True)
def l2_penalty_with_root(weights):
    """R = √Σ w²."""
    return l2_penalty(weights).sqrt()


@mistake(
    "l2_penalty", "The penalty of a weight depends on how many other weights there are.", alone=True
)
def mean_of_the_squares(weights):
    """The mean of w² in place of the sum."""
    return sum(w.square().mean() for w in weights)


@mistake("l2_penalty", "A part of the weights has no penalty.", alone=True)
def penalty_of_the_first_weight(weights):
    """R of the first tensor alone."""
    return l2_penalty(weights[:1])


@mistake(
    "l1_penalty", "The penalty of a weight depends on how many other weights there are.", alone=True
)
def mean_in_the_l1_penalty(weights):
    """R(W) = Σ mean |w|, a mean for each array."""
    return sum(w.abs().mean() for w in weights)


@mistake("l1_penalty", "Weights of both signs cancel.", alone=True)
def l1_without_absolute_values(weights):
    """R = Σ w."""
    return sum(w.sum() for w in weights)


@mistake("l1_penalty", "The gradient depends on the size of a weight.")
def l1_with_the_gradient_of_l2(weights):
    """∂R/∂w = 2w."""
    return l1_penalty(weights).detach() + l2_penalty(weights) - l2_penalty(weights).detach()
