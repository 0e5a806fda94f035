"""Adam and AdamW: steps of about η at any scale of the gradient.

In the formulas w is a parameter, g its gradient, η ``lr`` and λ ``weight_decay``.
"""

from collections.abc import Callable

import torch

from lecture4.byhand.functional._torch_options import supports_only
from lecture4.byhand.optim._gradients import evaluate, gradients


@supports_only(foreach=(None, False), capturable=False, differentiable=False, fused=(None, False))
class Adam(torch.optim.Adam):
    """Adam: steps of about η at any scale of the gradient. Twin of ``torch.optim.Adam``.

        g ← g + λ w                  (AdamW: w ← w − η λ w)
        m ← β₁ m + (1 − β₁) g        running mean of g
        v ← β₂ v + (1 − β₂) g²       running mean of g²
        m̂ = m / (1 − β₁ᵗ),   v̂ = v / (1 − β₂ᵗ)
        w ← w − η m̂ / (√v̂ + ε)

    m and v begin at 0 and so are too small at first: after t steps the weights (1 − β) βⁱ sum to
    1 − βᵗ, and dividing by it makes m and v weighted means (bias correction).

    Args:
        params: parameters, or groups of them.
        lr: η.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: λ.
        amsgrad: use the largest v so far (Reddi et al. 2018, arXiv:1904.09237, algorithm 2), with
            bias correction.
        maximize: climb instead, g ← −g.
        decoupled_weight_decay: AdamW's, as above.
        foreach, capturable, differentiable, fused: torch's other implementations; true is not
            supported.

    Raises:
        ValueError: a setting is out of range or not supported.

    Source: the lecture, "Fancier optimizer"; Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.
    """

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch declares the loss a float
        self, closure: Callable | None = None
    ) -> torch.Tensor | None:
        """Update every parameter that has a gradient; return the loss of ``closure``."""
        loss = evaluate(closure)
        for group in self.param_groups:
            lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
            for w, g in gradients(group):
                if group["decoupled_weight_decay"]:
                    w -= lr * group["weight_decay"] * w
                elif group["weight_decay"] != 0:
                    g = g + group["weight_decay"] * w
                t, m, v, v_max = _state(self.state[w], w, group["amsgrad"])
                m.mul_(beta1).add_((1 - beta1) * g)
                v.mul_(beta2).add_((1 - beta2) * g * g)
                v = v if v_max is None else torch.maximum(v_max, v, out=v_max)
                m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
                w -= lr * m_hat / (v_hat.sqrt() + eps)
        return loss


def _state(
    state: dict, w: torch.Tensor, amsgrad: bool
) -> tuple[float, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """t of this step, m, v, and the largest v so far, under torch's names."""
    if not state:
        state["step"] = torch.tensor(0.0, dtype=torch.float32)  # on the CPU, as torch's
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(w), torch.zeros_like(w)
        if amsgrad:
            state["max_exp_avg_sq"] = torch.zeros_like(w)
    state["step"] += 1
    v_max = state["max_exp_avg_sq"] if amsgrad else None
    return state["step"].item(), state["exp_avg"], state["exp_avg_sq"], v_max


@supports_only(foreach=(None, False), capturable=False, differentiable=False, fused=(None, False))
class AdamW(torch.optim.AdamW):
    """Adam whose weight decay does not enter m and v. Twin of ``torch.optim.AdamW``.

    Formulas and arguments as for ``Adam`` with ``decoupled_weight_decay``: w ← w − η λ w. As in
    torch, η multiplies the decay; in the paper it does not.

    Raises:
        ValueError: a setting is out of range or not supported.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    step = Adam.step  # type: ignore[assignment]
