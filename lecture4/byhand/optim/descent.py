"""Gradient descent: w ← w − η g, with and without momentum.

In the formulas w is a parameter, g its gradient, η ``lr`` and λ ``weight_decay``.
"""

from collections.abc import Callable, Iterable

import torch

from lecture4.byhand.functional._refuse import refuse
from lecture4.byhand.optim._gradients import evaluate, gradients


class SGD(torch.optim.SGD):
    """Stochastic gradient descent with momentum. Twin of ``torch.optim.SGD``.

        g ← g + λ w
        v ← μ v + (1 − τ) g          (v ← g in the first step)
        w ← w − η v                  (Nesterov: w ← w − η (g + μ v))

    Args:
        params: parameters, or groups of them.
        lr: η.
        momentum: μ; 0 leaves v out, w ← w − η g.
        dampening: τ.
        weight_decay: λ, of the penalty λ/2 ‖w‖².
        nesterov: look ahead along v.
        maximize: climb instead, g ← −g.
        foreach, differentiable, fused: other implementations of torch's; refused if true.

    Raises:
        ValueError: a setting is out of range or not supported.

    Source: the lecture, "Gradient descent"; Sutskever et al. 2013, eq. 1 and 2 (momentum), 3 and 4
    (Nesterov), as torch has them: with η outside of v; and as the paper's Nesterov takes its
    gradient ahead, at θ − η μ v, w is that point.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        refuse(
            "SGD",
            foreach=foreach or None,
            differentiable=differentiable or None,
            fused=fused or None,
        )
        super().__init__(params, lr, momentum, dampening, weight_decay, nesterov, maximize=maximize)

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> torch.Tensor | None:
        """Update every parameter that has a gradient; return what ``closure`` does."""
        loss = evaluate(closure)
        for group in self.param_groups:
            lr, mu, tau = group["lr"], group["momentum"], group["dampening"]
            for w, g in gradients(group):
                if group["weight_decay"] != 0:
                    g = g + group["weight_decay"] * w
                if mu != 0:
                    state = self.state[w]
                    if state.get("momentum_buffer") is None:
                        state["momentum_buffer"] = g.clone()
                    else:
                        state["momentum_buffer"].mul_(mu).add_((1 - tau) * g)
                    v = state["momentum_buffer"]
                    g = g + mu * v if group["nesterov"] else v
                w -= lr * g
        return loss
