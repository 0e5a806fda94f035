"""Gradient descent: w ← w − η g, with and without momentum.

In the formulas w is a parameter, g = ∂L/∂w its gradient, η ``lr`` and λ ``weight_decay``.

Source: the lecture, "Optimization": move in the direction opposite to the gradient.
"""

from collections.abc import Callable

import torch

from lecture4.byhand.functional._torch_options import supports_only
from lecture4.byhand.optim._gradients import evaluate, gradients


def descend_(w: torch.Tensor, g: torch.Tensor, lr: float) -> None:
    """w ← w − η g: one step of gradient descent, in place."""
    w -= lr * g


def accelerate_(v: torch.Tensor, g: torch.Tensor, momentum: float, dampening: float) -> None:
    """v ← μ v + (1 − τ) g: a running sum of gradients, in place, to step along instead of g.

    Where successive gradients agree, v grows up to g/(1 − μ); where they alternate, they cancel.
    """
    v.mul_(momentum).add_((1 - dampening) * g)


@supports_only(foreach=(None, False), differentiable=False, fused=(None, False))
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
        foreach, differentiable, fused: torch's other implementations; true is not supported.

    Raises:
        ValueError: a setting is out of range or not supported.

    Source: the lecture, "Gradient descent"; Sutskever et al. 2013, eq. 1 and 2 (momentum), 3 and 4
    (Nesterov), as in torch: η multiplies v, and w is the paper's look-ahead point θ − η μ v.
    """

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch declares the loss a float
        self, closure: Callable | None = None
    ) -> torch.Tensor | None:
        """Update every parameter that has a gradient; return the loss of ``closure``."""
        loss = evaluate(closure)
        for group in self.param_groups:
            for w, g in gradients(group):
                if group["weight_decay"] != 0:
                    g = g + group["weight_decay"] * w
                if group["momentum"] != 0:
                    g = self._direction(w, g, group)
                descend_(w, g, group["lr"])
        return loss

    def _direction(self, w: torch.Tensor, g: torch.Tensor, group: dict) -> torch.Tensor:
        """Update v, which torch calls the momentum buffer; return v, or Nesterov's g + μ v."""
        state, mu = self.state[w], group["momentum"]
        v = state.get("momentum_buffer")
        if v is None:
            v = state["momentum_buffer"] = g.clone()
        else:
            accelerate_(v, g, mu, group["dampening"])
        return g + mu * v if group["nesterov"] else v
