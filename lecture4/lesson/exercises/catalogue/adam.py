"""Mistakes in Adam and AdamW, each as the update of a parameter, see ``descent``."""

from dataclasses import replace

import torch

from lecture4.lesson.exercises.catalogue.descent import decayed, updates
from lecture4.lesson.exercises.catalogue.mistake import Mistake


def in_adamw(of_adam: Mistake) -> Mistake:
    """The same mistake in AdamW, whose decay is decoupled."""
    made = updates("AdamW", of_adam.hint)(of_adam.source)
    return replace(made, name=f"{of_adam.name}_in_adamw")


def _adam_gradient(w, g, group):
    """Apply the decay: to w if it is decoupled, else to g, which is returned."""
    if group["decoupled_weight_decay"]:
        w -= group["lr"] * group["weight_decay"] * w
        return g
    return decayed(w, g, group)


def _moments(g, state, group):
    """t, m and v, the largest so far for AMSGrad, after the update."""
    beta1, beta2 = group["betas"]
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g**2
    return t, m, _largest(v, state, group)


def _largest(v, state, group):
    if not group["amsgrad"]:
        return v
    state["largest"] = torch.maximum(state.get("largest", v), v)
    return state["largest"]


def _corrected(g, state, group):
    """m̂ and v̂."""
    beta1, beta2 = group["betas"]
    t, m, v = _moments(g, state, group)
    return m / (1 - beta1**t), v / (1 - beta2**t)


def _take(w, g, state, group):
    """w ← w − η m̂ / (√v̂ + ε)."""
    m_hat, v_hat = _corrected(g, state, group)
    w -= group["lr"] * m_hat / (v_hat.sqrt() + group["eps"])


@updates("Adam", "The loss rises with every step.")
def adam_ascent(w, g, state, group):
    """w ← w + η m̂ / (√v̂ + ε)."""
    _take(w, _adam_gradient(w, g, group), state, group | {"lr": -group["lr"]})


@updates("Adam", "The next step does not begin with the running means themselves.")
def corrected_moments_kept(w, g, state, group):
    """m ← m̂ and v ← v̂ are stored for the next step."""
    state["m"], state["v"] = m_hat, v_hat = _corrected(_adam_gradient(w, g, group), state, group)
    w -= group["lr"] * m_hat / (v_hat.sqrt() + group["eps"])


@updates("Adam", "The first steps do not have the size of later ones.")
def adam_without_bias_correction(w, g, state, group):
    """Step by m/√v, not m̂/√v̂: the first steps are (1 − β₁ᵗ)/√(1 − β₂ᵗ) times as long."""
    _, m, v = _moments(_adam_gradient(w, g, group), state, group)
    w -= group["lr"] * m / (v.sqrt() + group["eps"])


@updates("Adam", "One of the two running means is not corrected.")
def only_m_corrected(w, g, state, group):
    """w ← w − η m̂ / (√v + ε)."""
    t, m, v = _moments(_adam_gradient(w, g, group), state, group)
    w -= group["lr"] * m / (1 - group["betas"][0] ** t) / (v.sqrt() + group["eps"])


@updates("Adam", "The first step divides by zero, or takes the root of a negative number.")
def time_from_zero(w, g, state, group):
    """t = 0 in the first step, where 1 − βᵗ = 0."""
    g, (beta1, beta2) = _adam_gradient(w, g, group), group["betas"]
    t, m, v = _moments(g, state, group)
    m_hat, v_hat = (x / torch.tensor(1 - beta ** (t - 1)) for x, beta in ((m, beta1), (v, beta2)))
    w -= group["lr"] * m_hat / (v_hat.sqrt() + group["eps"])


@updates("Adam", "The correction of the running means does not fade.")
def time_that_stands_still(w, g, state, group):
    """t = 1 in each step."""
    g, (beta1, beta2) = _adam_gradient(w, g, group), group["betas"]
    _, m, v = _moments(g, state, group)
    m_hat, v_hat = m / (1 - beta1), v / (1 - beta2)
    w -= group["lr"] * m_hat / (v_hat.sqrt() + group["eps"])


@updates("Adam", "The step count t grows by more than one in a step.")
def time_counts_parameters(w, g, state, group):
    """t ← t + 1 for each parameter, not for each step."""
    g, (beta1, beta2) = _adam_gradient(w, g, group), group["betas"]
    _, m, v = _moments(g, state, group)
    t = group["shared"]["t"] = group["shared"].get("t", 0) + 1
    w -= group["lr"] * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + group["eps"])


@updates("Adam", "Parameters whose group has no decay shrink, too.")
def adam_with_decay_of_biases(w, g, state, group):
    """λ of the constructor for all groups, of which that of the biases has 0."""
    group = group | {"weight_decay": group["defaults"]["weight_decay"]}
    _take(w, _adam_gradient(w, g, group), state, group)


@updates("Adam", "Settings of a parameter group, and rates set by a schedule, have no effect.")
def adam_settings_of_the_constructor(w, g, state, group):
    """η, λ and β as the constructor got them: groups and schedules have no effect."""
    _take(w, _adam_gradient(w, g, group["defaults"]), state, group["defaults"])


@updates("Adam", "ε is added at the wrong step.")
def epsilon_inside_the_root(w, g, state, group):
    """w ← w − η m̂ / √(v̂ + ε)."""
    m_hat, v_hat = _corrected(_adam_gradient(w, g, group), state, group)
    w -= group["lr"] * m_hat / (v_hat + group["eps"]).sqrt()


@updates("Adam", "ε is added before a factor that should not scale it.")
def epsilon_before_the_correction(w, g, state, group):
    """w ← w − η m̂ √(1 − β₂ᵗ) / (√v + ε)."""
    g, (beta1, beta2) = _adam_gradient(w, g, group), group["betas"]
    t, m, v = _moments(g, state, group)
    w -= group["lr"] * m / (1 - beta1**t) * (1 - beta2**t) ** 0.5 / (v.sqrt() + group["eps"])


@updates("Adam", "The step does not have the unit of the learning rate.")
def adam_without_root(w, g, state, group):
    """w ← w − η m̂ / (v̂ + ε)."""
    m_hat, v_hat = _corrected(_adam_gradient(w, g, group), state, group)
    w -= group["lr"] * m_hat / (v_hat + group["eps"])


@updates("Adam", "The second running mean is not that of squares.")
def second_moment_without_square(w, g, state, group):
    """v ← β₂ v + (1 − β₂) |g|."""
    g, (beta1, beta2) = _adam_gradient(w, g, group), group["betas"]
    t, m, _ = _moments(g, state, group)
    v = state["absolute"] = beta2 * state.get("absolute", 0) + (1 - beta2) * g.abs()
    v_hat = _largest(v, state, group) / (1 - beta2**t)
    w -= group["lr"] * m / (1 - beta1**t) / (v_hat.sqrt() + group["eps"])


@updates("Adam", "The two decay rates are used in each other's place.")
def betas_exchanged(w, g, state, group):
    """β₂ for m, β₁ for v."""
    _take(w, _adam_gradient(w, g, group), state, group | {"betas": group["betas"][::-1]})


@updates("Adam", "The first running mean is a sum.")
def first_moment_not_weighted(w, g, state, group):
    """m ← β₁ m + g, which the correction does not expect."""
    m_hat, v_hat = _corrected(_adam_gradient(w, g, group), state, group)
    w -= group["lr"] * m_hat / (1 - group["betas"][0]) / (v_hat.sqrt() + group["eps"])


@updates("Adam", "The weight decay does not reach the running means.")
def decoupled_decay(w, g, state, group):
    """w ← w − η λ w, as AdamW has it."""
    _take(w, _adam_gradient(w, g, group | {"decoupled_weight_decay": True}), state, group)


@updates("Adam", "The weights do not decay.")
def adam_decay_ignored(w, g, state, group):
    """λ = 0."""
    _take(w, g, state, group)


@updates("Adam", "The denominator of AMSGrad may shrink.")
def amsgrad_ignored(w, g, state, group):
    """√v̂ in place of the largest so far."""
    _take(w, _adam_gradient(w, g, group), state, group | {"amsgrad": False})


@updates("AdamW", "The weight decay passes through the running means.")
def coupled_decay(w, g, state, group):
    """g ← g + λ w, as Adam has it."""
    _take(w, _adam_gradient(w, g, group | {"decoupled_weight_decay": False}), state, group)


@updates("AdamW", "The decay does not depend on the learning rate.")
def decoupled_decay_without_rate(w, g, state, group):
    """w ← w − λ w."""
    w -= group["weight_decay"] * w
    _take(w, g, state, group)
