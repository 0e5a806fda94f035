"""Mistakes in gradient descent and RMSprop, each as the update of a parameter w by its gradient g.

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


def decayed(w, g, group):
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
    w -= group["lr"] * _direction(decayed(w, g, group), state, group)


@updates("SGD", "The loss rises with every step.")
def ascent(w, g, state, group):
    """w ← w + η v."""
    w += group["lr"] * _direction(decayed(w, g, group), state, group)


@updates("SGD", "The loss rises with every step that has no momentum.")
def ascent_without_momentum(w, g, state, group):
    """w ← w + η g; with momentum w ← w − η v."""
    _descend(w, g, state, group if group["momentum"] else group | {"lr": -group["lr"]})


@updates("SGD", "The loss rises with every step that has momentum.")
def ascent_with_momentum(w, g, state, group):
    """w ← w + η v; without momentum w ← w − η g."""
    _descend(w, g, state, group | {"lr": -group["lr"]} if group["momentum"] else group)


@updates("SGD", "Gradients that agree cancel each other.")
def momentum_with_the_wrong_sign(w, g, state, group):
    """v ← −μ v + (1 − τ) g."""
    _descend(w, g, state, group | {"momentum": -group["momentum"]})


@updates("SGD", "The gradient's share of the velocity shrinks though no setting asks for it.")
def dampened_momentum(w, g, state, group):
    """v ← μ v + (1 − μ) g, from v = 0 on."""
    g, mu = decayed(w, g, group), group["momentum"]
    v = state["v"] = mu * state.get("v", 0) + (1 - mu) * g
    w -= group["lr"] * (g + mu * v if group["nesterov"] else v)


@updates("SGD", "The gradient's share of the velocity shrinks though no setting asks for it.")
def dampened_after_the_first_step(w, g, state, group):
    """v ← μ v + (1 − μ) g, from v = g on."""
    _descend(w, g, state, group | {"dampening": group["momentum"]})


@updates("SGD", "A setting for the gradient's share of the velocity has no effect.")
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


@updates("SGD", "The velocity does not remember earlier steps.")
def velocity_not_kept(w, g, state, group):
    """v = 0 before each step, of (1 − τ) g also where Nesterov's looks ahead."""
    share = 1 - group["dampening"] if group["momentum"] and "v" in state else 1
    w -= group["lr"] * share * decayed(w, g, group)
    state["v"] = 0


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
    w -= group["lr"] * decayed(w, _direction(g, state, group), group)


@updates("SGD", "Some parameters of a group with decay do not decay.")
def biases_do_not_decay(w, g, state, group):
    """λ of vectors is 0."""
    _descend(w, g, state, group if w.ndim > 1 else group | {"weight_decay": 0})


@updates("SGD", "Parameters whose group has no decay shrink, too.")
def biases_decay(w, g, state, group):
    """λ of the constructor for all groups, of which that of the biases has 0."""
    _descend(w, g, state, group | {"weight_decay": group["defaults"]["weight_decay"]})


@updates("SGD", "Settings of a parameter group, and rates set by a schedule, have no effect.")
def settings_of_the_constructor(w, g, state, group):
    """η, λ and μ as the constructor got them: groups and schedules have no effect."""
    _descend(w, g, state, group["defaults"])


# RMSprop.


def _mean_square(g, state, alpha):
    """v ← α v + (1 − α) g²."""
    v = state["v"] = alpha * state.get("v", 0) + (1 - alpha) * g**2
    return v


@updates("RMSprop", "ε is added at the wrong step.")
def rmsprop_with_epsilon_inside_the_root(w, g, state, group):
    """w ← w − η g / √(v + ε)."""
    g = decayed(w, g, group)
    w -= group["lr"] * g / (_mean_square(g, state, group["alpha"]) + group["eps"]).sqrt()


@updates("RMSprop", "The step does not have the unit of the learning rate.")
def rmsprop_without_root(w, g, state, group):
    """w ← w − η g / (v + ε)."""
    g = decayed(w, g, group)
    w -= group["lr"] * g / (_mean_square(g, state, group["alpha"]) + group["eps"])


@updates(
    "RMSprop", "The new square and the past are weighted the wrong way round in the running mean."
)
def rmsprop_with_alpha_the_wrong_way_round(w, g, state, group):
    """v ← (1 − α) v + α g²."""
    g = decayed(w, g, group)
    w -= group["lr"] * g / (_mean_square(g, state, 1 - group["alpha"]).sqrt() + group["eps"])


@updates("RMSprop", "The squares are summed over all steps, so that the steps become shorter.")
def rmsprop_with_the_sum_of_squares(w, g, state, group):
    """v ← v + g², as AdaGrad has it."""
    g = decayed(w, g, group)
    v = state["v"] = state.get("v", 0) + g**2
    w -= group["lr"] * g / (v.sqrt() + group["eps"])
