"""Which arguments a case gives to a function, and how; the references whose signatures it has."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from lecture4.byhand import functional as F
from lecture4.byhand import init, numerical, optim
from lecture4.lesson.exercises.case import Case
from lecture4.lesson.exercises.cases import CASES, OPTIMIZERS

TITLES = {"input": "x"}  # arguments under another name in a report


def _xavier(weight: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
    return _drawn("xavier", weight, gain)


def _he(weight: torch.Tensor, gain: float = 2**0.5) -> torch.Tensor:
    return _drawn("he", weight, gain)


def _drawn(scheme: str, weight: torch.Tensor, gain: float) -> torch.Tensor:
    std = init.standard_deviation(scheme, *fans(weight), gain)
    return torch.nn.init.normal_(weight, std=std)


def fans(weight: torch.Tensor) -> tuple[int, int]:
    """fan_in and fan_out of a weight (K, D) or (O, C, F_h, F_w)."""
    cells = weight[0, 0].numel()
    return weight.shape[1] * cells, weight.shape[0] * cells


REFERENCES: dict[str, Callable] = {
    **{name: getattr(F, name) for name in CASES if name in F.__all__},
    **{name: getattr(optim, name) for name in OPTIMIZERS if name in optim.__all__},
    "RMSprop": torch.optim.RMSprop,
    "xavier": _xavier,
    "he": _he,
    "gradient": numerical.gradient,
}


def applies(name: str, call: Callable, case: Case) -> bool:
    """Whether to ask ``call``: False for an option that its signature does not have."""
    if not case.optional:
        return True
    try:
        args, kwargs = bound(name, call, case, case.arguments)
        inspect.signature(call).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:  # a builtin, whose signature is not known
        return True
    return True


def bound(
    name: str, call: Callable, case: Case, given: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments by position as far as the reference's first ones are given, the others by name."""
    if name in OPTIMIZERS:
        return [[]], dict(given)
    given = {key: a for key, a in given.items() if key not in case.implied or _takes(call, key)}
    args: list[Any] = []
    for key in inspect.signature(REFERENCES[name]).parameters:
        if key not in given:
            break
        args.append(given[key])
    return args, dict(list(given.items())[len(args) :])


def _takes(call: Callable, name: str) -> bool:
    """Whether a function has a second argument, or one of that name."""
    try:
        parameters = inspect.signature(call).parameters
    except ValueError:  # a builtin, whose signature is not known
        return True
    return (
        name in parameters
        or len(parameters) > 1
        or any(p.kind == p.VAR_POSITIONAL for p in parameters.values())
    )


def copies(
    case: Case, shifts: list[torch.Tensor] | None = None
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The arguments, copied and shifted, and the leaves to differentiate by, by their titles.

    An argument is a copy of its leaf, so that a function that changes it in place can be seen.
    """
    leaves: dict[str, torch.Tensor] = {}
    moves = iter(shifts or [])

    def copy(title: str, a: Any, differentiate: bool) -> Any:
        if isinstance(a, list):
            return [copy(f"{title}[{i}]", item, differentiate) for i, item in enumerate(a)]
        if not isinstance(a, torch.Tensor):
            return a
        if not differentiate:
            return a.clone()
        leaf = a + next(moves) if shifts else a.clone()
        leaves[title] = leaf.requires_grad_()
        return leaf.clone()

    given = {
        name: copy(TITLES.get(name, name), a, name in case.wrt)
        for name, a in case.arguments.items()
    }
    return given, leaves


def tensors(
    given: Mapping[str, Any], before: Mapping[str, Any]
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Title, tensor and the tensor before of each argument that is one, or a list of them."""
    for name, a in given.items():
        title = TITLES.get(name, name)
        if isinstance(a, torch.Tensor):
            yield title, a, before[name]
        elif isinstance(a, list):
            for i, item in enumerate(a):
                yield f"{title}[{i}]", item, before[name][i]


def widened(case: Case) -> dict[str, Any]:
    """The arguments with float64 in place of float32."""

    def wide(a: Any) -> Any:
        if isinstance(a, list):
            return [wide(item) for item in a]
        return a.double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a

    return {name: wide(a) for name, a in case.arguments.items()}
