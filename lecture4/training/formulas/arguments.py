"""Call a function with the arguments of another one, under its own names or in its own order."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

# Other names of the arguments of lecture4.byhand.functional
ALIASES = {
    **{"x": "input", "w": "weight", "W": "weight", "b": "bias"},
    **{"gamma": "weight", "beta": "bias", "pad": "padding", "train": "training"},
    **{"n_in": "fan_in", "n_out": "fan_out", "in_features": "fan_in", "out_features": "fan_out"},
}
EMPTY = inspect.Parameter.empty
OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Adapted:
    """A function of a file, called with the arguments of ``reference`` by name.

    A parameter takes the argument of its own name, else the one at its own position, unless the
    default shows that it means something else. An argument for which there is no parameter must
    have its default value, or one that goes without saying; an optional parameter without argument
    keeps its default.

    Args:
        name: of the function, for errors.
        function: of the file.
        reference: signature of the function that it stands for.
        signature: of the function, which takes its arguments by position alone; None: measured.

    """

    def __init__(
        self,
        name: str,
        function: Callable,
        reference: inspect.Signature,
        signature: inspect.Signature | None = None,
    ):
        self.name, self.function, self.reference = name, function, reference
        self.own = signature or signature_of(function)
        self.only_by_position = signature is not None
        named = {p: _argument(p, reference) for p in self.own.parameters}
        sources = {p: argument for p, argument in named.items() if argument}
        self.by_position: set[str] = set()
        for (p, parameter), argument in zip(
            self.own.parameters.items(), reference.parameters, strict=False
        ):
            if p in sources or argument in sources.values() or parameter.kind in OPEN:
                continue
            if not _differs(parameter.default, reference.parameters[argument].default):
                sources[p] = argument
                self.by_position.add(p)
        # in the order of the function's parameters, in which a backward returns gradients
        self.sources = {p: sources[p] for p in self.own.parameters if p in sources}
        taken = list(self.sources.values())
        if any(p.kind in OPEN for p in self.own.parameters.values()):
            taken += [name for name in reference.parameters if name not in taken]
        self.taken = taken

    def like_reference(self, call: Callable) -> Callable:
        """Give ``call`` the signature of the reference, with the parameters that are taken alone.

        One that the function needs has no default.
        """
        own = self.own.parameters
        needed = {argument: own[p].default is EMPTY for p, argument in self.sources.items()}
        parameters = []
        for name, parameter in self.reference.parameters.items():
            if name in needed or any(p.kind in OPEN for p in own.values()):
                optional = any(p.default is not EMPTY for p in parameters)
                if needed.get(name) and parameter.default is None and not optional:
                    parameter = parameter.replace(default=EMPTY)
                parameters.append(parameter)
        signature = self.reference.replace(parameters=parameters)
        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    def all(self, args: tuple, kwargs: dict) -> dict[str, Any]:
        """All arguments of the reference by name, with its defaults."""
        bound = self.reference.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

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
                taken = self._by_position_up_to(rest)
                bound.arguments[p] = tuple(arguments[k] for k in taken)
                rest = {k: v for k, v in rest.items() if k not in taken}
            elif parameter.kind == inspect.Parameter.VAR_KEYWORD:
                bound.arguments[p], rest = rest, {}
        rest = {k: v for k, v in rest.items() if not _is_implied(k, v, arguments)}
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

    def _by_position_up_to(self, wanted: Mapping[str, Any]) -> list[str]:
        """Arguments for ``*args``: those without parameter, up to the last that is wanted."""
        open_ = [
            k
            for k, p in self.reference.parameters.items()
            if k not in self.sources.values() and p.kind != inspect.Parameter.KEYWORD_ONLY
        ]
        while open_ and open_[-1] not in wanted:
            open_.pop()
        return open_

    def _is_default(self, argument: str, value: Any) -> bool:
        default = self.reference.parameters[argument].default
        if isinstance(value, torch.Tensor) or isinstance(default, torch.Tensor):
            return value is default
        return _same_kind(value, default) and value == default

    def _may_be_left_out(self, p: str, argument: str) -> bool:
        """Whether an optional parameter at an argument's position may mean something else."""
        default = self.own.parameters[p].default
        if p not in self.by_position or default is EMPTY:
            return False
        return not _same_kind(default, self.reference.parameters[argument].default)


def _is_implied(argument: str, value: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether a function without this parameter would assume the value: that of batches, mostly."""
    match argument:
        case "start_dim":
            return value == 1
        case "dim":
            return value in (1, -1)
        case "stride":
            return value == arguments.get("kernel_size")
    return False


def signature_of(function: Callable) -> inspect.Signature:
    """The signature of a function; of a builtin without one, ``(*arguments)``."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):  # a builtin
        return inspect.signature(lambda *arguments: None)


def _argument(parameter: str, reference: inspect.Signature) -> str | None:
    names = (parameter, ALIASES.get(parameter))
    return next((name for name in names if name in reference.parameters), None)


def _differs(own: Any, wanted: Any) -> bool:
    """Whether a default is no flag or pair where one is wanted: beta1=0.9 in place of betas."""
    return own is not EMPTY and isinstance(wanted, bool | tuple) and type(own) is not type(wanted)


def _same_kind(a: Any, b: Any) -> bool:
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (a, b)]
    return all(numbers) or type(a) is type(b)
