"""Muon: momentum whose matrices are made orthogonal before each step.

**The direction.** Gradient descent takes the best step D among those with ‖D‖_F ≤ η. Limit instead
how far D can move an output, ‖D‖₂ = max ‖D x‖ / ‖x‖ ≤ η (the spectral norm). With the singular
value decomposition G = U S Vᵀ of the gradient,

    ⟨G, D⟩ = Σᵢ sᵢ uᵢᵀ D vᵢ ≥ −η Σᵢ sᵢ        as |uᵢᵀ D vᵢ| ≤ ‖D‖₂ ≤ η,

with equality for D = −η U Vᵀ. U Vᵀ is the polar factor of G: G with every singular value set to 1,
so that rare directions are learned as fast as the few that dominate G.

**Without a decomposition.** An odd polynomial of a matrix changes its singular values alone:

    X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X = U φ(S) Vᵀ,    φ(s) = a s + b s³ + c s⁵    (Newton–Schulz)

From X = G/‖G‖_F, whose singular values are at most 1, φ more than triples the small ones and maps
[0.68, 1.21] into itself. After 3 steps each s ≥ 0.018 is in that interval, after 5 each s ≥ 0.0016.
The mean square of the singular values of 256 filters is 1/256 = 0.0625², so 3 steps reach most of
them. φ trades convergence to 1 for its slope a at 0; trainings do not notice.

Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", with its a, b
and c; Bernstein & Newhouse 2024, arXiv:2409.20325 (the norm).
"""

from collections.abc import Callable, Iterable

import torch

from lecture4.byhand.optim._gradients import evaluate, gradients
from lecture4.byhand.optim.descent import accelerate_, descend_

A, B, C = 3.4445, -4.7750, 2.0315  # a, b, c
EPS = 1e-7  # smallest ‖G‖_F to divide by
DTYPES = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}


def polar_factor(g: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """U Vᵀ of a matrix G = U S Vᵀ, about: its singular values are in [0.68, 1.21].

    Args:
        g: G, (O, D); the iteration runs in its dtype.
        steps: of Newton–Schulz.
    """
    x = g.T if len(g) > g.shape[1] else g  # so that X Xᵀ is the smaller of the two products
    x = x / x.norm().clamp(min=EPS)
    for _ in range(steps):
        xx = x @ x.T  # (min(O, D), min(O, D))
        p = torch.addmm(xx, xx, xx, beta=B, alpha=C)  # b X Xᵀ + c (X Xᵀ)²
        x = torch.addmm(x, p, x, beta=A)  # a X + (b X Xᵀ + c (X Xᵀ)²) X
    return x.T if len(g) > g.shape[1] else x


class Muon(torch.optim.Optimizer):
    """Muon for matrices and filters, Nesterov's SGD for all other parameters.

        v ← μ v + g,   d = g + μ v                 (without Nesterov: d = v)
        W ← W − η λ W                              (normalize: W ← W √O / ‖W‖_F)
        W ← W − η √max(1, O/D) U Vᵀ                with d = U S Vᵀ, (O, D)

    Filters (O, C, F, F) are matrices (O, C·F·F). The factor of U Vᵀ makes ‖step‖_F = η √O for every
    shape; with ``normalize`` the step therefore turns W by about η radians.

    Parameters of fewer than two dimensions and groups with ``orthogonalize=False`` take the step of
    ``SGD``: g ← g + λ w, w ← w − η d.

    ``torch.optim.Muon`` takes the same steps for matrices; it takes no other parameters, and always
    iterates in bfloat16.

    Args:
        params: parameters, or groups of them.
        lr: η.
        momentum: μ of matrices.
        nesterov: look ahead along v.
        weight_decay: λ.
        sgd_momentum: μ of all other parameters.
        normalize: give each W the norm √O before its step, in place of decay. For layers with a
            norm behind them, which undoes any scale of W.
        ns_steps: Newton–Schulz steps.
        dtype: in which they run: ``float32``, ``bfloat16``, or ``auto``, bfloat16 on a GPU and W's
            own elsewhere.

    Raises:
        ValueError: a setting is out of range.

    Source: as above; ``normalize`` and 3 steps from KellerJordan/cifar10-airbench, airbench94_muon.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        sgd_momentum: float = 0.9,
        normalize: bool = False,
        ns_steps: int = 5,
        dtype: str = "auto",
    ):
        if min(lr, momentum, weight_decay, sgd_momentum) < 0 or ns_steps < 1:
            raise ValueError(
                f"lr={lr}, momentum={momentum}, weight_decay={weight_decay} and "
                f"sgd_momentum={sgd_momentum} must be ≥ 0, and ns_steps={ns_steps} ≥ 1"
            )
        if dtype not in DTYPES:
            raise ValueError(f"dtype={dtype} is unknown; choose one of {', '.join(DTYPES)}")
        settings = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "sgd_momentum": sgd_momentum,
            "normalize": normalize,
            "ns_steps": ns_steps,
            "dtype": dtype,
        }
        super().__init__(params, {**settings, "orthogonalize": True, "maximize": False})

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch declares the loss a float
        self, closure: Callable | None = None
    ) -> torch.Tensor | None:
        """Update every parameter that has a gradient; return the loss of ``closure``."""
        loss = evaluate(closure)
        for group in self.param_groups:
            for w, g in gradients(group):
                if group["orthogonalize"] and w.ndim > 1:
                    self._turn(w, self._direction(w, g, group["momentum"], group), group)
                else:
                    if group["weight_decay"] != 0:
                        g = g + group["weight_decay"] * w
                    d = self._direction(w, g, group["sgd_momentum"], group)
                    descend_(w, d, group["lr"])
        return loss

    def _direction(
        self, w: torch.Tensor, g: torch.Tensor, momentum: float, group: dict
    ) -> torch.Tensor:
        """Update v; return v, or Nesterov's g + μ v."""
        state = self.state[w]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(w)
        v = state["momentum_buffer"]
        accelerate_(v, g, momentum, dampening=0.0)
        return g + momentum * v if group["nesterov"] else v

    @staticmethod
    def _turn(w: torch.Tensor, d: torch.Tensor, group: dict) -> None:
        """W ← W − η √max(1, O/D) U Vᵀ, after the decay or the normalisation of W."""
        if group["normalize"]:
            w *= len(w) ** 0.5 / w.norm()
        elif group["weight_decay"] != 0:
            w -= group["lr"] * group["weight_decay"] * w
        dtype = DTYPES[group["dtype"]] or (torch.bfloat16 if w.is_cuda else w.dtype)
        matrix = d.flatten(1).to(dtype)  # (O, C, F, F) -> (O, D)
        scale = max(1.0, len(matrix) / matrix.shape[1]) ** 0.5
        step = polar_factor(matrix, group["ns_steps"]).view_as(w)
        w.sub_(step, alpha=group["lr"] * scale)  # rounds in W's dtype, not in the iteration's
