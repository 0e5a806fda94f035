"""Call a function with the arguments of another one, under its own names or in its own order."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

# Other names of the arguments of lecture4.byhand.functional
ALIASES = {
    **{"x": "input", "w": "weight", "W": "weight", "b": "bias"},
    **{"gamma": "weight", "beta": "bias", "pad": "padding", "train": "training"},
}
OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Adapted:
    """A function of a file, called with the arguments of ``reference`` by name.

    A parameter takes the argument of its own name, else the one at its own position. An argument
    for which there is no parameter must have its default value; an optional parameter without
    argument keeps its default.

    Args:
        name: of the function, for errors.
        function: of the file.
        reference: signature of the function that it stands for.
        signature: of the function, which takes its arguments by position alone; None: measured.

    Attributes:
        signature: of the reference, with the parameters alone that the function takes.
    """

    def __init__(
        self,
        name: str,
        function: Callable,
        reference: inspect.Signature,
        signature: inspect.Signature | None = None,
    ):
        self.name, self.function, self.reference = name, function, reference
        self.own = signature or _signature(function)
        self.only_by_position = signature is not None
        named = {p: _argument(p, reference) for p in self.own.parameters}
        self.sources = {p: argument for p, argument in named.items() if argument}
        self.by_position: set[str] = set()
        for (p, parameter), argument in zip(
            self.own.parameters.items(), reference.parameters, strict=False
        ):
            if p in self.sources or argument in self.sources.values() or parameter.kind in OPEN:
                continue
            self.sources[p] = argument
            self.by_position.add(p)
        taken = set(self.sources.values())
        if any(parameter.kind in OPEN for parameter in self.own.parameters.values()):
            taken = set(reference.parameters)
        self.signature = reference.replace(
            parameters=[p for name, p in reference.parameters.items() if name in taken]
        )

    def __call__(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function with all arguments of the reference; errors as ``bound``."""
        bound = self.bound(arguments)
        return self.function(*bound.args, **bound.kwargs)

    def bound(self, arguments: Mapping[str, Any]) -> inspect.BoundArguments:
        """All arguments of the reference as arguments of the function.

        Raises:
            ValueError: it has no parameter for an argument that has not its default value.
        """
        rest = {k: v for k, v in arguments.items() if not self._is_default(k, v)}
        bound = self.own.bind_partial()
        for p, argument in self.sources.items():
            if argument in rest or not self._may_be_left_out(p, argument):
                bound.arguments[p] = arguments[argument]
            rest.pop(argument, None)
        for p, parameter in self.own.parameters.items():
            if parameter.kind == inspect.Parameter.VAR_POSITIONAL:
                bound.arguments[p] = tuple(rest.values())
                rest = {}
            elif parameter.kind == inspect.Parameter.VAR_KEYWORD:
                bound.arguments[p], rest = rest, {}
        if rest:
            key, value = next(iter(rest.items()))
            shown = "a tensor" if isinstance(value, torch.Tensor) else repr(value)
            raise ValueError(f"{self.name} takes no {key}, which is {shown} here")
        if self.only_by_position:
            bound.apply_defaults()
        bound.arguments = {
            p: bound.arguments[p] for p in self.own.parameters if p in bound.arguments
        }
        return bound

    def _is_default(self, argument: str, value: Any) -> bool:
        default = self.reference.parameters[argument].default
        if isinstance(value, torch.Tensor) or isinstance(default, torch.Tensor):
            return value is default
        return type(value) is type(default) and value == default

    def _may_be_left_out(self, p: str, argument: str) -> bool:
        """Whether an optional parameter at an argument's position may mean something else."""
        default = self.own.parameters[p].default
        if p not in self.by_position or default is inspect.Parameter.empty:
            return False
        return not _same_kind(default, self.reference.parameters[argument].default)


def _signature(function: Callable) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):  # a builtin: whatever it takes
        return inspect.signature(lambda *arguments: None)


def _argument(parameter: str, reference: inspect.Signature) -> str | None:
    names = (parameter, ALIASES.get(parameter))
    return next((name for name in names if name in reference.parameters), None)


def _same_kind(a: Any, b: Any) -> bool:
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (a, b)]
    return all(numbers) or type(a) is type(b)
