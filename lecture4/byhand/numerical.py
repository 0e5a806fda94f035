"""Gradients by finite differences, and a table that compares a gradient three ways.

The centred difference has a truncation error of O(h²) and a round-off error of about ε/h, ε being
the precision of the numbers; so compare in float64.

Source: the lecture, "Loss gradient"; Press et al. 2007, "Numerical Recipes", section 5.7.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call

from lecture4.byhand.nn import family, with_layers


def gradient(
    f: Callable[[torch.Tensor], torch.Tensor | float], x: torch.Tensor, h: float = 1e-5
) -> torch.Tensor:
    """∂f/∂xᵢ ≈ (f(x + h eᵢ) − f(x − h eᵢ)) / 2h for each number of x, in the shape of x.

    Args:
        f: scalar function of a tensor shaped as x.
        x: where; it is left as it is.
        h: step.

    Raises:
        ValueError: x is not of floats, or h is not positive.
    """
    _require(x, h)
    slopes = []
    for i in range(x.numel()):
        e = torch.zeros(x.numel(), dtype=x.dtype, device=x.device)
        e[i] = 1
        slopes.append(slope(f, x, e.view(x.shape), h))
    return torch.tensor(slopes, dtype=x.dtype, device=x.device).view(x.shape)


def slope(
    f: Callable[[torch.Tensor], torch.Tensor | float],
    x: torch.Tensor,
    direction: torch.Tensor,
    h: float = 1e-5,
) -> float:
    """The derivative of f at x along v, vᵀ∇f ≈ (f(x + h v) − f(x − h v)) / 2h.

    Two evaluations of f, whatever the size of x; arguments and errors as for ``gradient``.
    """
    _require(x, h)
    with torch.no_grad():
        return (float(f(x + h * direction)) - float(f(x - h * direction))) / (2 * h)


def _require(x: torch.Tensor, h: float) -> None:
    if not x.is_floating_point():
        raise ValueError(f"a derivative needs floats, and x is {x.dtype}")
    if not h > 0:
        raise ValueError(f"h={h} must be a number > 0")


def relative_error(a: torch.Tensor, b: torch.Tensor, floor: float = 0.0) -> float:
    """max |a − b| / max |b|; 0 where both are zero, ∞ where b alone is, NaN where one is.

    What is smaller than ``floor`` counts as that large.
    """
    if not a.numel():
        return 0.0
    difference, size = (a - b).abs().max().item(), max(b.abs().max().item(), floor)
    return difference / size if size else difference * math.inf if difference else 0.0


FITS = 1e-6  # relative error of finite differences that no other step need improve


@dataclass(frozen=True)
class GradientRow:
    """One parameter tensor: the norm of its gradient by hand, and how far others are from it.

    ``autograd`` is the relative error against torch's layers, over all numbers; ``numerical`` that
    against finite differences, over slopes along random directions. What is less than a millionth
    of the model's largest gradient is measured against that, for it may be all rounding (so is
    that of a bias that batch norm cancels).
    """

    name: str
    shape: tuple[int, ...]
    norm: float
    autograd: float
    numerical: float


def gradient_table(
    model: nn.Module,
    batch: tuple[torch.Tensor, torch.Tensor],
    steps: Sequence[float] = (3e-7, 1e-5, 3e-4),
    directions: int = 3,
) -> list[GradientRow]:
    """The gradient of the mean cross-entropy by hand, by autograd and by finite differences.

    All three are those of one loss in float64, on a copy of the model with layers by hand, and one
    with torch's; batch norm normalises by the batch if the model is in training mode, and dropout
    draws the same masks each time. A random direction, ±1/√n for each of n numbers, meets all of
    them. A short step rounds off, a long one steps over kinks of ReLU and maximum; so the error
    is that of the step which fits best. A wrong gradient fits none.

    Args:
        model: inputs (N, ...) -> scores (N, K), built of ``torch.nn`` or ``lecture4.byhand.nn``; a
            layer of which there is none by hand is torch's in both copies.
        batch: inputs (N, ...) and class indices (N,).
        steps: h of the finite differences.
        directions: slopes to measure for each parameter tensor.

    Returns:
        A row for each parameter tensor.
    """
    by_hand = with_layers(model, "byhand").double().requires_grad_()
    autograd = parameter_gradients(with_layers(by_hand, "torch"), batch, "torch")
    generator = torch.Generator().manual_seed(0)
    gradients = parameter_gradients(by_hand, batch, "byhand")
    floor = 1e-6 * max((g.abs().max().item() for g in gradients.values() if g.numel()), default=0)
    rows = []
    for name, g in gradients.items():

        def loss(values: torch.Tensor, name=name) -> torch.Tensor:
            return _loss(by_hand, batch, "byhand", {name: values})

        x = by_hand.get_parameter(name).detach()
        signs = torch.randint(0, 2, (directions, *x.shape), generator=generator).to(x) * 2 - 1
        along = signs / math.sqrt(x.numel())
        by_product = torch.stack([(g * v).sum() for v in along]).cpu()
        numerical = math.inf
        for h in steps:
            slopes = torch.tensor([slope(loss, x, v, h) for v in along], dtype=by_product.dtype)
            numerical = min(numerical, relative_error(by_product, slopes, floor))
            if numerical < FITS:
                break
        error = relative_error(g, autograd[name], floor)
        rows.append(GradientRow(name, tuple(x.shape), g.norm().item(), error, numerical))
    return rows


def parameter_gradients(
    model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor], layers: str
) -> dict[str, torch.Tensor]:
    """The gradient of the mean cross-entropy for each parameter; zeros where none arrives.

    The model is left as it was, but for batch norm's statistics in training mode.
    """
    names, parameters = zip(*model.named_parameters(), strict=True)
    loss = _loss(model, batch, layers)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return dict(zip(names, gradients, strict=True))


def _loss(model, batch, layers: str, changed: dict[str, torch.Tensor] | None = None):
    """The loss on a batch, with some parameters changed."""
    inputs, labels = batch
    like = next(model.parameters())
    with torch.random.fork_rng([like.device] if like.is_cuda else []):
        torch.manual_seed(0)  # dropout leaves out the same units each time
        scores = functional_call(model, changed or {}, (inputs.to(like),))
    return family(layers).CrossEntropyLoss()(scores, labels.to(like.device))
