"""Errors that name their place in a nested configuration: ``blocks[2]: pool: kernel_size=…``."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def named(place: str, part: Callable, settings: Mapping, **defaults) -> Any:
    """Call ``part(**defaults | settings)``; an error in the settings names their place.

    Arguments that a ``functools.partial`` has bound are not settings.

    Raises:
        ValueError: the settings are no mapping, one is unknown or missing, or ``part`` raised it.
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
    """Put the place in front of the message of a ValueError that is raised inside."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
