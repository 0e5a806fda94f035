"""Prefix errors with their place in the configuration: ``blocks[2]: pool: kernel_size=…``."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def named(place: str, part: Callable, settings: Mapping, **defaults) -> Any:
    """Call ``part(**defaults | settings)``; errors start with ``place``.

    Arguments bound by a ``functools.partial`` are not settings.

    Raises:
        ValueError: they are not a mapping, one is unknown or missing, or ``part`` fails.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"{place}={settings!r} must be a mapping of settings")
    bound = getattr(part, "keywords", {})
    parameters = inspect.signature(part).parameters
    allowed = {name: p.default for name, p in parameters.items() if name not in bound}
    if unknown := [name for name in settings if name not in allowed]:
        raise ValueError(f"{place} has no setting {unknown[0]}; it takes {', '.join(allowed)}")
    arguments = {**defaults, **settings}
    for name, default in allowed.items():
        if default is inspect.Parameter.empty and name not in arguments:
            raise ValueError(f"{place} needs the setting {name}")
    with located(place):
        return part(**arguments)


@contextmanager
def located(place: str) -> Iterator[None]:
    """Prefix a ValueError raised inside with the place."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
