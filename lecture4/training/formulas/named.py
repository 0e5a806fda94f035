"""``formulas=torch`` or ``byhand``: look up layers, loss, optimizer and penalty by name."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import torch

from lecture4.byhand import functional, nn, optim

Penalty = Callable[[Sequence[torch.Tensor]], torch.Tensor | float]


@dataclass(frozen=True)
class Formulas:
    """The modules in which a run looks up its formulas."""

    name: str  # value of ``formulas=``, recorded in checkpoints
    nn: ModuleType  # layers and losses, named as in torch.nn
    optim: ModuleType  # optimizers, named as in torch.optim
    penalties: Mapping[str, Penalty]  # R(w) by kind

    def __reduce__(self):
        return find, (self.name,)  # by name, because modules cannot be copied or pickled

    def optimizer(self, name: str, **settings: Any) -> Callable[[Iterable], torch.optim.Optimizer]:
        """Bind settings to the optimizer ``name``; the result takes parameter groups.

        Random searches and Muon always come from byhand: torch has no searches, and its Muon takes
        matrices alone. ``fused=None`` chooses
        torch's fused kernel with formulas=torch, and none with formulas=byhand.

        Raises:
            ValueError: the name or a setting is unknown, or ``fused`` is set with formulas by hand.
        """
        known = {**_optimizers(optim), **_optimizers(self.optim), "Muon": optim.Muon}
        if name not in known:
            raise ValueError(
                f"optim.name={name} is unknown; formulas={self.name} has {', '.join(sorted(known))}"
            )
        accepted = inspect.signature(known[name]).parameters
        if unknown := [key for key in settings if key not in accepted]:
            raise ValueError(
                f"optim.{unknown[0]} is not a setting of {name}; it takes "
                f"{', '.join(list(accepted)[1:])}"  # after params
            )
        if "fused" in settings:
            if self.optim is not torch.optim and settings["fused"]:
                raise ValueError(
                    f"optim.fused=true needs formulas=torch; formulas={self.name} accepts "
                    f"optim.fused=null"
                )
            if settings["fused"] is None:
                settings["fused"] = self.optim is torch.optim
        return partial(known[name], **settings)

    def penalty(self, kind: str) -> Penalty:
        """The penalty R(w): ``none`` (0), ``l1`` (Σ |w|) or ``l2`` (Σ w²).

        Raises:
            ValueError: the kind is unknown.
        """
        if kind not in self.penalties:
            raise ValueError(
                f"penalty.kind={kind} is unknown; choose one of {', '.join(self.penalties)}"
            )
        return self.penalties[kind]


def find(name: str) -> Formulas:
    """The formulas called ``name``.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in FORMULAS:
        raise ValueError(f"formulas={name} is unknown; choose one of {', '.join(FORMULAS)}")
    return FORMULAS[name]


def _optimizers(module: ModuleType) -> dict[str, type[torch.optim.Optimizer]]:
    """The optimizers in a module, by name."""
    return {
        name: kind
        for name, kind in vars(module).items()
        if isinstance(kind, type)
        and issubclass(kind, torch.optim.Optimizer)
        and kind is not torch.optim.Optimizer
    }


def no_penalty(weights: Sequence[torch.Tensor]) -> float:
    """R = 0."""
    return 0.0


def l1_penalty(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """R = Σ |w|; autograd computes its gradient."""
    return sum(w.abs().sum() for w in weights)


def l2_penalty(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """R = Σ w²; autograd computes its gradient."""
    return sum(w.square().sum() for w in weights)


TORCH = Formulas(
    "torch", torch.nn, torch.optim, {"none": no_penalty, "l1": l1_penalty, "l2": l2_penalty}
)
BYHAND = Formulas(
    "byhand",
    nn,
    optim,
    {"none": no_penalty, "l1": functional.l1_penalty, "l2": functional.l2_penalty},
)
FORMULAS = {formulas.name: formulas for formulas in (TORCH, BYHAND)}
