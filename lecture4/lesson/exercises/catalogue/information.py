"""Mistakes in entropy, cross-entropy and divergence of distributions."""

import math

from lecture4.byhand.functional import cross_entropy_of, entropy, kl_divergence
from lecture4.lesson.exercises.catalogue.mistake import mistake, with_backward


@mistake("entropy", "The result is negative, which an entropy never is.", alone=True)
def entropy_with_the_wrong_sign(p, base=math.e):
    """Σ p log p, without the minus."""
    return -entropy(p, base)


@mistake("entropy", "An outcome that never occurs makes the sum undefined.")
def zero_times_log_zero(p, base=math.e):
    """−Σ p log p, with 0 · log 0 = NaN."""
    return -(p * p.log()).sum(-1) / math.log(base)


@mistake("entropy", "The unit is bits for any base.", alone=True)
def entropy_in_bits(p, base=math.e):
    """−Σ p log₂ p."""
    return entropy(p, 2.0)


@mistake("entropy", "The unit is nats for any base.", alone=True)
def base_ignored(p, base=math.e):
    """−Σ p ln p."""
    return entropy(p)


@mistake("entropy", "The sum is divided by the number of outcomes.", alone=True)
def mean_over_the_outcomes(p, base=math.e):
    """The mean of −p log p in place of the sum."""
    return entropy(p, base) / p.shape[-1]


@mistake("entropy", "p appears twice in p log p, and the gradient contains one of the two terms.")
def entropy_gradient_without_the_product_rule(p, base=math.e):
    """∂H/∂p = −log p."""
    h = entropy(p, base)
    return with_backward(h, (p,), lambda dh: -dh.unsqueeze(-1) * p.log() / math.log(base))


@mistake("cross_entropy_of", "The two distributions have each other's role.", alone=True)
def distributions_exchanged(p, q, base=math.e):
    """−Σ q log p."""
    return cross_entropy_of(q, p, base)


@mistake("cross_entropy_of", "The result is negative, which a cross-entropy never is.", alone=True)
def cross_entropy_of_with_the_wrong_sign(p, q, base=math.e):
    """Σ p log q, without the minus."""
    return -cross_entropy_of(p, q, base)


@mistake(
    "cross_entropy_of",
    "The result is 0 for two equal distributions, where a cross-entropy is not.",
    alone=True,
)
def divergence_in_place_of_cross_entropy(p, q, base=math.e):
    """D(P ‖ Q), which lacks H(P)."""
    return kl_divergence(p, q, base)


@mistake("cross_entropy_of", "The unit is nats for any base.", alone=True)
def base_of_the_cross_entropy_ignored(p, q, base=math.e):
    """−Σ p ln q."""
    return cross_entropy_of(p, q)


@mistake("kl_divergence", "The two distributions have each other's role.", alone=True)
def divergence_exchanged(p, q, base=math.e):
    """D(Q ‖ P)."""
    return kl_divergence(q, p, base)


@mistake("kl_divergence", "The result is negative, which a divergence never is.", alone=True)
def divergence_with_the_wrong_sign(p, q, base=math.e):
    """Σ p log(q/p)."""
    return -kl_divergence(p, q, base)


@mistake("kl_divergence", "The result is not 0 for two equal distributions.", alone=True)
def cross_entropy_in_place_of_divergence(p, q, base=math.e):
    """H(P, Q), without − H(P)."""
    return cross_entropy_of(p, q, base)


@mistake("kl_divergence", "An outcome that never occurs makes the sum undefined.")
def zero_times_log_zero_of_the_divergence(p, q, base=math.e):
    """Σ p log(p/q), with 0 · log 0 = NaN."""
    return (p * (p.log() - q.log())).sum(-1) / math.log(base)


@mistake("kl_divergence", "The unit is nats for any base.", alone=True)
def base_of_the_divergence_ignored(p, q, base=math.e):
    """Σ p ln(p/q)."""
    return kl_divergence(p, q)
