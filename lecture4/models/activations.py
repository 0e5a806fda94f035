"""The activations that a model may name."""

from types import ModuleType

from torch import nn

ACTIVATIONS = {
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "leaky_relu": "LeakyReLU",
    "gelu": "GELU",
}


def make_activation(name: str, layers: ModuleType = nn) -> nn.Module:
    """Return the activation layer called ``name`` of the family ``layers``.

    Raises:
        ValueError: ``name`` is not a key of ``ACTIVATIONS``.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation={name} is unknown; choose one of {', '.join(ACTIVATIONS)}")
    return getattr(layers, ACTIVATIONS[name])()
