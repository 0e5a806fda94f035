"""Mistakes in optimizers, each as the update of a parameter w by its gradient g.

``state`` is what the optimizer keeps for w, empty before the first step. ``group`` has the settings
of w's group, those of the constructor as ``defaults``, and what all parameters share as ``shared``.
"""

from collections.abc import Callable

import torch

from lecture4.byhand.optim._gradients import evaluate, gradients
from lecture4.lesson.exercises.catalogue.mistake import Mistake, mistake

Update = Callable[[torch.Tensor, torch.Tensor, dict, dict], None]


def updates(of: str, hint: str) -> Callable[[Update], Mistake]:
    """Decorate an update: make a mistake of an optimizer of ``torch.optim`` that takes it."""

    def decorate(update: Update) -> Mistake:
        def step(self, closure: Callable | None = None) -> torch.Tensor | None:
            loss, shared = evaluate(closure), self.__dict__.setdefault("shared", {})
            with torch.no_grad():
                for group in self.param_groups:
                    settings = {**group, "defaults": self.defaults, "shared": shared}
                    for w, g in gradients(group):
                        update(w, g, self.state[w], settings)
            return loss

        body = {"step": step, "update": staticmethod(update), "__doc__": update.__doc__}
        return mistake(of, hint)(type(update.__name__, (getattr(torch.optim, of),), body))

    return decorate


# Gradient descent.


def _decayed(w, g, group):
    """g + λ w."""
    return g + group["weight_decay"] * w


def _velocity(g, state, mu, tau):
    """v ← μ v + (1 − τ) g, and v ← g in the first step."""
    state["v"] = mu * state["v"] + (1 - tau) * g if "v" in state else g.clone()
    return state["v"]


def _direction(g, state, group):
    """What SGD steps along: g, v, or Nesterov's g + μ v."""
    mu = group["momentum"]
    if mu == 0:
        return g
    v = _velocity(g, state, mu, group["dampening"])
    return g + mu * v if group["nesterov"] else v


def _descend(w, g, state, group):
    """w ← w − η v, or without momentum w ← w − η g."""
    w -= group["lr"] * _direction(_decayed(w, g, group), state, group)


@updates("SGD", "The loss rises with every step.")
def ascent(w, g, state, group):
    """w ← w + η v."""
    w += group["lr"] * _direction(_decayed(w, g, group), state, group)


@updates("SGD", "Gradients that agree cancel each other.")
def momentum_with_the_wrong_sign(w, g, state, group):
    """v ← −μ v + (1 − τ) g."""
    _descend(w, g, state, group | {"momentum": -group["momentum"]})


@updates("SGD", "The gradient's share of the velocity shrinks where it is not asked to.")
def dampened_momentum(w, g, state, group):
    """v ← μ v + (1 − μ) g, from v = 0 on."""
    g, mu = _decayed(w, g, group), group["momentum"]
    v = state["v"] = mu * state.get("v", 0) + (1 - mu) * g
    w -= group["lr"] * (g + mu * v if group["nesterov"] else v)


@updates("SGD", "The gradient's share of the velocity is one size for each setting.")
def dampening_ignored(w, g, state, group):
    """v ← μ v + g, for any τ."""
    _descend(w, g, state, group | {"dampening": 0})


@updates("SGD", "The first velocity is too small.")
def first_step_dampened(w, g, state, group):
    """v ← (1 − τ) g also in the first step."""
    state.setdefault("v", torch.zeros_like(w))
    _descend(w, g, state, group)


@updates("SGD", "The velocity does not remember earlier steps.")
def velocity_forgotten(w, g, state, group):
    """v begins at 0 in each step."""
    _descend(w, g, {}, group)


@updates("SGD", "Nesterov's step is the classical one.")
def nesterov_as_classical(w, g, state, group):
    """w ← w − η v, without looking ahead along v."""
    _descend(w, g, state, group | {"nesterov": False})


@updates("SGD", "Weight decay makes weights grow.")
def decay_with_the_wrong_sign(w, g, state, group):
    """g ← g − λ w."""
    _descend(w, g, state, group | {"weight_decay": -group["weight_decay"]})


@updates("SGD", "The weights do not decay.")
def decay_ignored(w, g, state, group):
    """λ = 0."""
    _descend(w, g, state, group | {"weight_decay": 0})


@updates("SGD", "The decay does not depend on the learning rate.")
def decay_without_rate(w, g, state, group):
    """w ← w − λ w − η v."""
    d = _direction(g, state, group)
    w -= group["weight_decay"] * w + group["lr"] * d


@updates("SGD", "The decay is twice as strong as it should be.")
def decay_doubled(w, g, state, group):
    """g ← g + 2 λ w."""
    _descend(w, g, state, group | {"weight_decay": 2 * group["weight_decay"]})


@updates("SGD", "The decay acts beside the velocity, not on it.")
def decay_beside_the_velocity(w, g, state, group):
    """w ← w − η λ w − η v, where v does not contain λ w."""
    w -= group["lr"] * _decayed(w, _direction(g, state, group), group)


@updates("SGD", "Biases decay as weights do or do not, for a reason that no setting gives.")
def biases_do_not_decay(w, g, state, group):
    """λ of vectors is 0."""
    _descend(w, g, state, group if w.ndim > 1 else group | {"weight_decay": 0})


@updates("SGD", "The settings are those of the first parameters, and of the first step.")
def settings_of_the_constructor(w, g, state, group):
    """η, λ and μ as the constructor got them: groups and schedules have no effect."""
    _descend(w, g, state, group["defaults"])


# Adam.


def _adam_gradient(w, g, group):
    """Apply the decay: to w if it is decoupled, else to g, which is returned."""
    if group["decoupled_weight_decay"]:
        w -= group["lr"] * group["weight_decay"] * w
        return g
    return _decayed(w, g, group)


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


@updates("Adam", "The first step divides by zero.")
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


@updates("Adam", "The time of one parameter passes when another takes its step.")
def time_counts_parameters(w, g, state, group):
    """t ← t + 1 for each parameter, not for each step."""
    g, (beta1, beta2) = _adam_gradient(w, g, group), group["betas"]
    _, m, v = _moments(g, state, group)
    t = group["shared"]["t"] = group["shared"].get("t", 0) + 1
    w -= group["lr"] * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + group["eps"])


@updates("Adam", "The settings are those of the first parameters, and of the first step.")
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


@updates("Adam", "The step has another unit than the learning rate: a root is missing.")
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


@updates("Adam", "Each running mean has the other's memory.")
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


@updates("AdamW", "The first steps do not have the size of later ones.")
def adamw_without_bias_correction(w, g, state, group):
    """Step by m/√v, not m̂/√v̂."""
    _, m, v = _moments(_adam_gradient(w, g, group), state, group)
    w -= group["lr"] * m / (v.sqrt() + group["eps"])


# RMSprop.


def _mean_square(g, state, alpha):
    """v ← α v + (1 − α) g²."""
    v = state["v"] = alpha * state.get("v", 0) + (1 - alpha) * g**2
    return v


@updates("RMSprop", "ε is added at the wrong step.")
def rmsprop_with_epsilon_inside_the_root(w, g, state, group):
    """w ← w − η g / √(v + ε)."""
    g = _decayed(w, g, group)
    w -= group["lr"] * g / (_mean_square(g, state, group["alpha"]) + group["eps"]).sqrt()


@updates("RMSprop", "The step has another unit than the learning rate: a root is missing.")
def rmsprop_without_root(w, g, state, group):
    """w ← w − η g / (v + ε)."""
    g = _decayed(w, g, group)
    w -= group["lr"] * g / (_mean_square(g, state, group["alpha"]) + group["eps"])


@updates("RMSprop", "The new square and the past have each other's share in the running mean.")
def rmsprop_with_alpha_the_wrong_way_round(w, g, state, group):
    """v ← (1 − α) v + α g²."""
    g = _decayed(w, g, group)
    w -= group["lr"] * g / (_mean_square(g, state, 1 - group["alpha"]).sqrt() + group["eps"])


@updates("RMSprop", "The squares are summed over all steps, so that the steps become shorter.")
def rmsprop_with_the_sum_of_squares(w, g, state, group):
    """v ← v + g², as AdaGrad has it."""
    g = _decayed(w, g, group)
    v = state["v"] = state.get("v", 0) + g**2
    w -= group["lr"] * g / (v.sqrt() + group["eps"])
