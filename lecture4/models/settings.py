"""The settings of a model: the arguments that it was built with, as plain values."""

import inspect
from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Any

from torch import nn


def keeps_settings(model: type[nn.Module]) -> type[nn.Module]:
    """Decorate a model's class: ``model.settings`` holds the constructor's arguments.

    They are dicts, lists, numbers, strings and None, so that a checkpoint with them loads with
    ``weights_only=True``. ``type(model)(**model.settings, layers=layers)`` builds the model anew;
    ``layers`` is a module and left out.
    """
    build = model.__init__
    signature = inspect.signature(build)

    @wraps(build)
    def __init__(self, *args, **kwargs):  # noqa: N807
        build(self, *args, **kwargs)
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        settings = {k: _plain(v) for k, v in given.arguments.items() if k not in ("self", "layers")}
        self.settings = settings

    model.__init__ = __init__  # type: ignore[method-assign]
    return model


def _plain(value: Any) -> Any:
    """A copy with dicts and lists in place of other mappings and sequences."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value
