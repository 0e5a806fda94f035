"""Name the place in what an error says: ``blocks[2]: kernel_size=…``."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def named(place: str, part: Callable, settings: Mapping, *args, **defaults) -> Any:
    """Call ``part(*args, **defaults | settings)``; what is wrong with a setting names the place."""
    if not isinstance(settings, Mapping):
        raise ValueError(f"{place}={settings!r} must be a mapping of settings")
    allowed = list(inspect.signature(part).parameters)[len(args) :]
    if unknown := [name for name in settings if name not in allowed]:
        raise ValueError(f"{place} has no setting {unknown[0]}; it takes {', '.join(allowed)}")
    with located(place):
        return part(*args, **{**defaults, **settings})


@contextmanager
def located(place: str) -> Iterator[None]:
    """Name the place in what a ValueError says."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
