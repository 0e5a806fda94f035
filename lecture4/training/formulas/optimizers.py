"""The optimizers of a file as subclasses of torch's Optimizer, with the constructor of torch's own.

A file has a class with torch's constructor, or course style: functions that take a weight, its
gradient and a ``config``, in which they keep their state.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch

from lecture4.training.formulas.arguments import Adapted
from lecture4.training.formulas.arrays import Native, uses_numpy
from lecture4.training.formulas.course import Functions
from lecture4.training.formulas.halves import two
from lecture4.training.formulas.saved import Saved

Found = tuple[str, str, tuple[str, ...], type[torch.optim.Optimizer]]
NAMES = ("SGD", "RMSprop", "Adam", "AdamW")
# How torch computes, not what: False is as good as leaving it out
IMPLEMENTATION = ("foreach", "fused", "capturable", "differentiable")
OF_COURSE = {"SGD": ("sgd", "sgd_momentum"), "RMSprop": ("rmsprop",), "Adam": ("adam",)}


def find_optimizers(f: Functions) -> Iterator[Found]:
    """Name, style, names in the file, and class of each one."""
    for name in NAMES:
        names = tuple(n for n in OF_COURSE.get(name, ()) if n in f)
        if isinstance(f.get(name), type):
            yield name, "torch", (name,), from_class(name, f[name])
        elif names:
            yield name, "course", names, from_functions(name, f, names)


def from_class(name: str, own: type) -> type[torch.optim.Optimizer]:
    """A class of the file with torch's constructor; settings that it lacks have torch's default."""
    adapted = Adapted(name, own, _reference(name))
    if issubclass(own, torch.optim.Optimizer):
        kind = type(name, (_Subclass, own), {"adapted": adapted})
    else:
        kind = type(name, (_Delegate,), {"adapted": adapted, "own": own})
    adapted.like_reference(kind)
    return kind


class _Subclass(Saved):
    """Of a subclass of torch's Optimizer: construct it with the settings that it takes."""

    adapted: Adapted

    def __init__(self, *args: Any, **kwargs: Any):
        settings = _settings(self.adapted.reference, args, kwargs)
        bound = self.adapted.bound(settings)
        super(Saved, self).__init__(*bound.args, **bound.kwargs)
        for group in self.param_groups:
            for name, value in settings.items():
                group.setdefault(name, value)

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> torch.Tensor | None:
        """Take the step of the file's class, which may accept no closure."""
        loss = _evaluated(closure)
        super(Saved, self).step()
        return loss


class _Delegate(Saved):
    """Of another class: an object for each group of parameters, and its ``step``."""

    adapted: Adapted
    own: type

    def __init__(self, *args: Any, **kwargs: Any):
        settings = _settings(self.adapted.reference, args, kwargs)
        super().__init__(settings.pop("params"), settings)
        known = self.adapted.reference.parameters
        self.objects = [
            self.adapted({k: v for k, v in group.items() if k in known})
            for group in self.param_groups
        ]
        self.rates = [group["lr"] for group in self.param_groups]

    def holders(self) -> list[Any]:
        return self.objects

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> torch.Tensor | None:
        """Let each object update its parameters, at the group's present rate.

        Raises:
            ValueError: the rate has changed, and an object keeps no attribute for it.
        """
        loss = _evaluated(closure)
        (rate,) = (p for p, argument in self.adapted.sources.items() if argument == "lr")
        for group, first, object_ in zip(self.param_groups, self.rates, self.objects, strict=True):
            if hasattr(object_, rate):
                setattr(object_, rate, group["lr"])
            elif group["lr"] != first:
                raise ValueError(
                    f"{type(self).__name__} keeps no attribute {rate}, and a schedule changes it; "
                    f"set self.{rate} in its constructor, or use schedule=constant"
                )
            object_.step()
        return loss


def from_functions(name: str, f: Functions, names: tuple[str, ...]) -> Any:
    """The optimizer of functions ``(w, dw, config) -> (next_w, config)``."""
    native = Native(names[0], uses_numpy([f[n] for n in names], in_halves=True))
    reference = _reference(name)
    taken = ("params", *SETTINGS[name], "weight_decay", "maximize")
    if "sgd_momentum" not in names:
        taken = tuple(k for k in taken if k not in ("momentum", "dampening", "nesterov"))
    parameters = [p for k, p in reference.parameters.items() if k in taken]
    signature = reference.replace(parameters=parameters)
    attributes = {"functions": f, "native": native, "signature": signature}
    kind: Any = type(name, (_OfFunctions,), attributes)
    kind.__signature__ = signature
    return kind


# torch's settings and the keys of config
SETTINGS: dict[str, tuple[str, ...]] = {
    "SGD": ("lr", "momentum", "dampening", "nesterov"),
    "RMSprop": ("lr", "alpha", "eps"),
    "Adam": ("lr", "betas", "eps"),
}
KEYS: dict[str, Callable[[dict], dict[str, float]]] = {
    "SGD": lambda g: {"learning_rate": g["lr"], "momentum": g["momentum"]},
    "RMSprop": lambda g: {
        "learning_rate": g["lr"],
        "decay_rate": g["alpha"],
        "epsilon": g["eps"],
    },
    "Adam": lambda g: {
        "learning_rate": g["lr"],
        "beta1": g["betas"][0],
        "beta2": g["betas"][1],
        "epsilon": g["eps"],
    },
}


class _OfFunctions(torch.optim.Optimizer):
    """w, config ← f(w, g, config), with g + λ w for g if there is weight decay.

    ``sgd_momentum`` keeps V ← μ V − η g where torch keeps v ← μ v + g, so V = −η v; if a schedule
    changes η, V is scaled to the new one. w + V after a second call with the same g is
    w − η (g + μ v), Nesterov's step.
    """

    of_a_file = True
    functions: Functions
    native: Native
    signature: inspect.Signature

    def __init__(self, *args: Any, **kwargs: Any):
        settings = _settings(self.signature, args, kwargs)
        settings.setdefault("momentum", 0.0)
        super().__init__(settings.pop("params"), settings)

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> torch.Tensor | None:
        """Update every parameter that has a gradient; return the loss of ``closure``."""
        loss = _evaluated(closure)
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    g = -w.grad if group.get("maximize") else w.grad
                    g = g + group["weight_decay"] * w if group["weight_decay"] else g
                    w.copy_(self._next(w, g, group))
        return loss

    def _next(self, w: torch.Tensor, g: torch.Tensor, group: dict) -> torch.Tensor:
        name, state = type(self).__name__, self.state[w]
        momentum = name == "SGD" and group["momentum"]
        function = next(f for f in OF_COURSE[name][bool(momentum) :] if f in self.functions)
        if state and momentum:
            g = (1 - group["dampening"]) * g
            _scale_velocity(state, group["lr"])
        after = self._called(function, w, g, group, state)
        if momentum and group["nesterov"]:
            ahead = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()}
            after = self._called(function, w, g, group, ahead)
        state["rate"] = group["lr"] or state.get("rate", 0.0)
        return after

    def _called(self, function: str, w, g, group: dict, state: dict) -> torch.Tensor:
        """The next w; ``state`` receives what the function keeps in its config."""
        settings, enter = KEYS[type(self).__name__](group), self.native.enter
        kept = {k: enter(v) for k, v in state.items() if k != "rate"}
        result = self.functions[function](enter(w.clone()), enter(g.clone()), {**kept, **settings})
        after, config = two(function, result)
        for key, value in config.items():
            if key not in settings:
                count = isinstance(value, int | float)
                state[key] = value if count else self.native.leave(value, w)
        return self.native.leave(after, w)


def _scale_velocity(state: dict, lr: float) -> None:
    if "velocity" in state and state["rate"] and lr and state["rate"] != lr:
        state["velocity"] = state["velocity"] * (lr / state["rate"])


def _reference(name: str) -> inspect.Signature:
    return inspect.signature(getattr(torch.optim, name))


def _settings(reference: inspect.Signature, args: tuple, kwargs: dict) -> dict[str, Any]:
    """All arguments of the constructor by name, with torch's defaults."""
    given = {k: v for k, v in kwargs.items() if v is not False or k not in IMPLEMENTATION}
    bound = reference.bind(*args, **given)
    bound.apply_defaults()
    return dict(bound.arguments)


def _evaluated(closure: Callable | None) -> torch.Tensor | None:
    with torch.enable_grad():
        return None if closure is None else closure()
