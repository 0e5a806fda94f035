"""A claim's measurements, a dataclass, to and from the plain values of JSON."""

import json
from collections.abc import Callable
from typing import Any, get_type_hints

import cattrs


def to_plain(measured: Any) -> dict[str, Any]:
    """Plain values that ``claims.json`` and the cache can hold.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.loads(json.dumps(cattrs.unstructure(measured), allow_nan=False))


def from_plain(measure: Callable[..., Any], plain: dict[str, Any]) -> Any:
    """What ``measure`` returned: the dataclass that its annotation names."""
    return cattrs.structure(plain, get_type_hints(measure)["return"])
