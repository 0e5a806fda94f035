"""Adam and AdamW: steps of about η, whatever the gradient's scale.

In the formulas w is a parameter, g its gradient, η ``lr`` and λ ``weight_decay``.
"""

from collections.abc import Callable, Iterable

import torch

from lecture4.byhand.functional._refuse import refuse
from lecture4.byhand.optim._gradients import evaluate, gradients


class Adam(torch.optim.Adam):
    """Adam: steps of about η, whatever the gradient's scale. Twin of ``torch.optim.Adam``.

        g ← g + λ w                  (AdamW: w ← w − η λ w)
        m ← β₁ m + (1 − β₁) g        running mean of g
        v ← β₂ v + (1 − β₂) g²       running mean of g²
        m̂ = m / (1 − β₁ᵗ),   v̂ = v / (1 − β₂ᵗ)
        w ← w − η m̂ / (√v̂ + ε)

    m and v begin at 0 and so are too small at first: of weights (1 − β) βⁱ, t of them sum to
    1 − βᵗ, and dividing by that makes them a mean (bias correction).

    Args:
        params: parameters, or groups of them.
        lr: η.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: λ.
        amsgrad: use the largest v so far (Reddi et al. 2018, arXiv:1904.09237, algorithm 2; the
            bias correction stays).
        maximize: climb instead, g ← −g.
        decoupled_weight_decay: AdamW's, as above.
        foreach, capturable, differentiable, fused: other implementations of torch's; refused if
            true.

    Raises:
        ValueError: a setting is out of range or not supported.

    Source: the lecture, "Fancier optimizer"; Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        other = {"foreach": foreach or None, "capturable": capturable or None}
        refuse("Adam", **other, differentiable=differentiable or None, fused=fused or None)
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> torch.Tensor | None:
        """Update every parameter that has a gradient; return what ``closure`` does."""
        loss = evaluate(closure)
        for group in self.param_groups:
            lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
            for w, g in gradients(group):
                if group["decoupled_weight_decay"]:
                    w -= lr * group["weight_decay"] * w
                elif group["weight_decay"] != 0:
                    g = g + group["weight_decay"] * w
                state = self.state[w]
                if not state:
                    state["step"] = torch.tensor(0.0, dtype=torch.float32)
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(w), torch.zeros_like(w)
                    if group["amsgrad"]:
                        state["max_exp_avg_sq"] = torch.zeros_like(w)
                state["step"] += 1
                t, m, v = state["step"].item(), state["exp_avg"], state["exp_avg_sq"]
                m.mul_(beta1).add_((1 - beta1) * g)
                v.mul_(beta2).add_((1 - beta2) * g * g)
                if group["amsgrad"]:
                    v = torch.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
                m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
                w -= lr * m_hat / (v_hat.sqrt() + eps)
        return loss


class AdamW(torch.optim.AdamW):
    """Adam whose weight decay leaves m and v alone. Twin of ``torch.optim.AdamW``.

    Formulas are those of ``Adam`` with w ← w − η λ w for the decay, and so are the arguments, but
    for ``decoupled_weight_decay``. The paper's decay is not multiplied by η, torch's is.

    Raises:
        ValueError: a setting is out of range or not supported.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        other = {"foreach": foreach or None, "capturable": capturable or None}
        refuse("AdamW", **other, differentiable=differentiable or None, fused=fused or None)
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

    step = Adam.step
