"""The normalisation that a block may name: batch norm and its settings."""

from collections.abc import Mapping
from functools import partial
from types import ModuleType

from torch import nn

from lecture4.support.places import named


def make_norm(layers: ModuleType, channels: int, norm: str | Mapping) -> nn.Module | None:
    """The norm of a block, y = γ x̂ + β for each channel, or None.

    Args:
        layers: where the layer comes from: ``torch.nn`` or ``lecture4.byhand.nn``.
        channels: of the maps.
        norm: ``none``, ``batch``, or a mapping of ``kind`` and, of batch norm, ``scale``,
            ``momentum`` and ``eps``, as of ``_batch_norm``.

    Raises:
        ValueError: the kind is unknown or a setting is out of range.
    """
    if not isinstance(norm, str | Mapping):
        raise ValueError(f"norm={norm!r} must be none, batch or settings such as {{momentum: 0.4}}")
    settings = {"kind": norm} if isinstance(norm, str) else norm
    return named("norm", partial(_batch_norm, layers, channels), settings)


def _batch_norm(
    layers: ModuleType,
    channels: int,
    kind: str = "batch",
    scale: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> nn.Module | None:
    """Batch norm: γ trains or, without ``scale``, is 1; momentum m and ε as in ``torch.nn``."""
    if kind not in ("none", "batch"):
        raise ValueError(f"kind={kind} is unknown; choose one of none, batch")
    check_flag("scale", scale)
    if not (_is_number(momentum) and 0 < momentum <= 1):
        raise ValueError(f"momentum={momentum!r} must be a number in (0, 1], the batch's weight")
    if not (_is_number(eps) and eps > 0):
        raise ValueError(f"eps={eps!r} must be a number > 0")
    if kind == "none":
        return None
    layer = layers.BatchNorm2d(channels, eps=eps, momentum=momentum)
    layer.weight.requires_grad_(scale)
    return layer


def check_flag(name: str, value: object) -> None:
    """Raise a ValueError unless ``value`` is true or false; ``no`` would be a string, and true."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} must be true or false")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
