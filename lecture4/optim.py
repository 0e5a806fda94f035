"""Optimizers: random search, following the slope with and without momentum, Adam.

``SGD``, ``Adam`` and ``AdamW`` have the constructors and the state of their namesakes in
``torch.optim``, so that a checkpoint of one goes on in the other; only the update is written out
here. The searches need no gradient, and torch has none of them.

In the formulas w is a parameter, g its gradient, η ``lr`` and λ ``weight_decay``.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator

import torch
from torch.optim import Optimizer

from lecture4.ops.refuse import refuse


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
        loss = _evaluate(closure)
        for group in self.param_groups:
            lr, mu, tau = group["lr"], group["momentum"], group["dampening"]
            for w, g in _gradients(group):
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
        loss = _evaluate(closure)
        for group in self.param_groups:
            lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
            for w, g in _gradients(group):
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


class _Search(Optimizer):
    """Tries one candidate W for each batch and keeps it if its loss is smaller.

    The kept W and the candidate are scored on the same batch. No gradient is needed, so the
    parameters are frozen, and no backward pass happens.
    """

    def __init__(self, params: Iterable, lr: float):
        if not lr > 0:
            raise ValueError(f"lr={lr} must be a number > 0")
        super().__init__(params, {"lr": lr})

    def add_param_group(self, param_group: dict) -> None:
        """Freeze the parameters, and add them."""
        super().add_param_group(param_group)
        for w in self.param_groups[-1]["params"]:
            w.requires_grad_(False)

    @torch.no_grad()
    def step(self, closure: Callable) -> torch.Tensor:
        """One candidate; ``closure`` scores the parameters as they are, first those kept.

        Returns:
            The loss of the parameters kept so far, as ``torch.optim`` returns the loss before a
            step.
        """
        loss = closure()
        kept = [w.clone() for w in self._parameters()]
        for group in self.param_groups:
            for w in group["params"]:
                w.copy_(self.candidate(w, group["lr"]))
        candidate = closure()
        better = candidate < loss or (math.isnan(loss) and not math.isnan(candidate))
        if not better:
            for w, old in zip(self._parameters(), kept, strict=True):
                w.copy_(old)
        return loss

    @abstractmethod
    def candidate(self, w: torch.Tensor, lr: float) -> torch.Tensor:
        """What to try in place of ``w``."""

    def _parameters(self) -> Iterator[torch.Tensor]:
        return (w for group in self.param_groups for w in group["params"])


class RandomSearch(_Search):
    """A fresh random W in each step, W ~ N(0, lr²); the best is kept.

    Args:
        params: parameters, or groups of them; they are frozen.
        lr: standard deviation of every weight drawn.

    Raises:
        ValueError: ``lr`` is not positive.

    Source: the lecture, "Random search, or follow the slope".
    """

    def candidate(self, w: torch.Tensor, lr: float) -> torch.Tensor:
        """Draw W anew."""
        return lr * torch.randn_like(w)


class RandomLocalSearch(_Search):
    """A random step from the best W so far, W + δ with δ ~ N(0, lr²); kept if it is better.

    Args:
        params: parameters, or groups of them; they are frozen.
        lr: standard deviation of every number in δ.

    Raises:
        ValueError: ``lr`` is not positive.

    Source: the lecture, "Random search, or follow the slope".
    """

    def candidate(self, w: torch.Tensor, lr: float) -> torch.Tensor:
        """Step away from W."""
        return w + lr * torch.randn_like(w)


def _evaluate(closure: Callable | None) -> torch.Tensor | None:
    with torch.enable_grad():
        return None if closure is None else closure()


def _gradients(group: dict) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The parameters of a group that have a gradient, with the direction that climbs the loss."""
    for w in group["params"]:
        if w.grad is None:
            continue
        if w.grad.is_sparse or w.is_complex():
            raise ValueError("sparse gradients and complex parameters are not supported by hand")
        yield w, -w.grad if group["maximize"] else w.grad
