"""Parameters by kind: weights, the head's weight, biases and norms."""

from typing import Any

from torch import nn


def parameter_groups(
    model: nn.Module,
    *,
    head_lr: float | None = None,
    bias_lr: float | None = None,
    bias_weight_decay: float = 0.0,
) -> list[dict[str, Any]]:
    """Groups for an optimizer: weights, at its own rate, then the head, then biases and norms.

    Frozen parameters (``requires_grad=False``) are left out.

    Args:
        model: its last weight is the head.
        head_lr: η of the head, which ``Muon`` then leaves to SGD; None: the head is in the first
            group, like every other weight.
        bias_lr: η of biases and norms; None: the optimizer's.
        bias_weight_decay: λ of biases and norms.
    """
    trained = [p for p in weights(model) if p.requires_grad]
    head = [p for p in weights(model)[-1:] if p.requires_grad and head_lr is not None]
    groups: list[dict[str, Any]] = [{"params": trained[: len(trained) - len(head)]}]
    if head:
        groups.append({"params": head, "lr": head_lr, "orthogonalize": False})
    if others := [p for p in model.parameters() if p.ndim <= 1 and p.requires_grad]:
        rate = {} if bias_lr is None else {"lr": bias_lr}
        groups.append({"params": others, "weight_decay": bias_weight_decay, **rate})
    return groups


def weights(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are weights: matrices and kernels, not biases or norm parameters."""
    return [p for p in model.parameters() if p.ndim > 1]
