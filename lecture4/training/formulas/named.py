"""Look up layers, loss, optimizer and penalty by name: torch's, byhand's or those of a file."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import torch

from lecture4.byhand import functional, nn, optim
from lecture4.support.console import printable
from lecture4.training.formulas.from_file import Source

Penalty = Callable[[Sequence[torch.Tensor]], torch.Tensor | float]
FILE = "file"  # in a checkpoint, in place of the path of a file of formulas


@dataclass(frozen=True)
class Formulas:
    """The modules in which a run looks up its formulas."""

    name: str  # torch, byhand or file, recorded in checkpoints
    nn: ModuleType  # layers and losses, named as in torch.nn
    optim: ModuleType  # optimizers, named as in torch.optim
    penalties: Mapping[str, Penalty]  # R(w) by kind
    source: Source | None = None  # the file

    def __deepcopy__(self, memo: dict) -> "Formulas":
        return self  # modules cannot be copied

    def __reduce__(self):
        if self.source:
            raise TypeError(f"formulas={self.title} cannot be pickled; torch and byhand can")
        return _called, (self.name,)

    @property
    def title(self) -> str:
        """For messages: torch, byhand, or the name of the file."""
        return printable(self.source.path.name) if self.source else self.name

    def optimizer(self, name: str, **settings: Any) -> Callable[[Iterable], torch.optim.Optimizer]:
        """Bind settings to the optimizer ``name``; the result takes parameter groups.

        Random searches and Muon always come from byhand: torch has no searches, and its Muon takes
        matrices alone. ``fused=None`` chooses the fused kernel for torch's optimizers, and none for
        others.

        Raises:
            ValueError: the name or a setting is unknown, or ``fused`` is set with formulas by hand.
        """
        known = {**_optimizers(optim), **_optimizers(self.optim), "Muon": optim.Muon}
        if name not in known:
            raise ValueError(
                f"optim.name={name} is unknown; formulas={self.title} has "
                f"{', '.join(sorted(known))}"
            )
        kind, torchs = known[name], getattr(torch.optim, name, None)
        if self.source and name in self.source.entries:
            settings = self._taken(name, kind, settings)
        accepted = inspect.signature(kind).parameters
        if unknown := [key for key in settings if key not in accepted]:
            raise ValueError(
                f"optim.{unknown[0]} is not a setting of {name}; it takes "
                f"{', '.join(list(accepted)[1:])}"  # after params
            )
        if "fused" in settings:
            if kind is not torchs and settings["fused"]:
                raise ValueError(
                    f"optim.fused=true needs formulas=torch; formulas={self.title} accepts "
                    f"optim.fused=null"
                )
            if settings["fused"] is None:
                settings["fused"] = kind is torchs
        return partial(kind, **settings)

    def _taken(self, name: str, kind: type, settings: dict[str, Any]) -> dict[str, Any]:
        """Leave out settings that an optimizer of a file lacks, if they are torch's defaults."""
        accepted = inspect.signature(kind).parameters
        torchs = inspect.signature(getattr(torch.optim, name)).parameters
        lacks = [k for k in settings if k not in accepted and k in torchs]
        given, default = (
            {k: list(v[k]) if isinstance(v[k], tuple) else v[k] for k in lacks}
            for v in (settings, {k: torchs[k].default for k in lacks})
        )
        if others := [k for k in lacks if given[k] != default[k]]:
            wanted, instead = (
                " ".join(f"optim.{k}={str(v[k]).lower().replace(' ', '')}" for k in others)
                for v in (given, default)
            )
            raise ValueError(f"{name} in {self.title} has no {wanted}; use {instead}")
        return {key: value for key, value in settings.items() if key not in lacks}

    def check_smoothing(self, alpha: float) -> None:
        """Refuse label smoothing that the cross-entropy of a file does not have.

        Raises:
            ValueError: it does not take it.
        """
        entry = self.source and self.source.entries.get("cross_entropy")
        if entry and alpha and "label_smoothing" not in inspect.signature(entry.call).parameters:
            raise ValueError(
                f"label_smoothing={alpha} needs a cross-entropy that takes it; {entry.names[0]} in "
                f"{self.title} does not"
            )

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


def _called(name: str) -> Formulas:
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
