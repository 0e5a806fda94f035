"""Gradients by finite differences: ∂f/∂x ≈ (f(x + h) − f(x − h)) / 2h.

The truncation error is O(h²) and the round-off error about ε/h, where ε is the precision of the
numbers; so compare in float64. ``gradient_table`` below compares a model's gradients three ways: by
hand, by autograd and by finite differences.

Source: the lecture, "Loss gradient"; Press et al. 2007, "Numerical Recipes", section 5.7.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import nn
from torch.func import functional_call

from lecture4.byhand import nn as byhand_nn
from lecture4.byhand.functional._torch_options import check_tensor


def gradient(
    f: Callable[[torch.Tensor], torch.Tensor | float], x: torch.Tensor, h: float = 1e-5
) -> torch.Tensor:
    """∂f/∂xᵢ ≈ (f(x + h eᵢ) − f(x − h eᵢ)) / 2h for each number of x, in the shape of x.

    Args:
        f: scalar function of a tensor shaped as x.
        x: the point at which to differentiate; it is not changed.
        h: step.

    Raises:
        ValueError: x is not of floats, h is not positive, or x ± h rounds to the same numbers, as
            in float16 with the default h.
    """
    _require("gradient", x, h)
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

    Two evaluations of f for x of any size; arguments and errors as for ``gradient``.
    """
    _require("slope", x, h)
    with torch.no_grad():
        ahead, behind = x + h * direction, x - h * direction
        if torch.equal(ahead, behind) and torch.as_tensor(direction).any():
            raise ValueError(
                f"h={h} is lost in rounding, as x ± h rounds to the same numbers in {x.dtype}; use "
                f"a larger h or float64"
            )
        return (float(f(ahead)) - float(f(behind))) / (2 * h)


def _require(operation: str, x: torch.Tensor, h: float) -> None:
    check_tensor(operation, "x", x)
    if not 0 < h < math.inf:
        raise ValueError(f"h={h} must be a number > 0")


def relative_error(a: torch.Tensor, b: torch.Tensor, floor: float = 0.0) -> float:
    """max |a − b| / max |b|; 0 where both are zero, ∞ where b alone is, NaN where one is.

    A max |b| below ``floor`` is replaced by it.

    Raises:
        ValueError: a and b have different shapes.
    """
    if a.shape != b.shape:
        raise ValueError(f"relative_error compares tensors of one shape, not {a.shape}, {b.shape}")
    if not a.numel():
        return 0.0
    # in float64 no difference of whole numbers or float16 overflows
    a, b = (t if t.is_complex() else t.double() for t in (a, b))
    difference, size = (a - b).abs().max().item(), max(b.abs().max().item(), floor)
    return difference / size if size else difference * math.inf if difference else 0.0


Batch = tuple[torch.Tensor, torch.Tensor]  # inputs (N, ...) and class indices (N,)
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (scores, labels) -> scalar
FITS = 1e-6  # relative error of finite differences at which no other h is tried


@dataclass(frozen=True)
class GradientRow:
    """One parameter tensor: the norm of its gradient by hand, and how far the other two are off.

    ``autograd`` is the relative error against autograd through torch's layers, over all numbers;
    ``numerical`` against finite differences, over slopes along random directions. A gradient below
    a millionth of the model's largest is compared with that millionth, for it may be rounding alone
    (such as the gradient of a bias that batch norm cancels).
    """

    name: str
    shape: tuple[int, ...]
    norm: float
    autograd: float
    numerical: float


def gradient_table(
    model: nn.Module,
    batch: Batch,
    steps: Sequence[float] = (3e-7, 1e-5, 3e-4),
    directions: int = 3,
    layers: ModuleType = byhand_nn,
) -> list[GradientRow]:
    """The gradient of the mean cross-entropy by hand, by autograd and by finite differences.

    All three differentiate one loss in float64, on copies of the model with layers by hand and with
    torch's. Batch norm normalises by the batch if the model is in training mode, and dropout draws
    the same masks each time. A random direction, ±1/√n for each of n numbers, covers all of them. A
    short step rounds off, a long one steps over kinks of ReLU and maximum, so the error of the best
    step counts; a wrong gradient fits none.

    Args:
        model: inputs (N, ...) -> scores (N, K), built of ``torch.nn`` or ``lecture4.byhand.nn``; a
            layer that does not exist by hand is torch's in both copies.
        batch: inputs (N, ...) and class indices (N,).
        steps: h of the finite differences.
        directions: slopes to measure for each parameter tensor.
        layers: the layers and the loss by hand.

    Returns:
        A row for each parameter tensor.
    """
    by_hand = byhand_nn.with_layers(model, layers).double().requires_grad_()
    torchs = byhand_nn.with_layers(by_hand, nn)
    cross_entropy = layers.CrossEntropyLoss()
    gradients = parameter_gradients(by_hand, batch, cross_entropy)
    autograd = parameter_gradients(torchs, batch, nn.CrossEntropyLoss())
    floor = 1e-6 * max((g.abs().max().item() for g in gradients.values() if g.numel()), default=0)
    generator = torch.Generator().manual_seed(0)
    rows = []
    for name, g in gradients.items():
        x = by_hand.get_parameter(name).detach()
        signs = torch.randint(0, 2, (directions, *x.shape), generator=generator).to(x) * 2 - 1
        error = relative_error(g, autograd[name], floor)
        numerical = _slope_error(
            by_hand, batch, cross_entropy, name, g, signs / math.sqrt(x.numel()), steps, floor
        )
        rows.append(GradientRow(name, tuple(x.shape), g.norm().item(), error, numerical))
    return rows


def _slope_error(
    model: nn.Module,
    batch: Batch,
    cross_entropy: Loss,
    name: str,
    g: torch.Tensor,
    directions: torch.Tensor,
    steps: Sequence[float],
    floor: float,
) -> float:
    """The relative error of slopes gᵀv along each direction v, by the step h that fits best."""
    x = model.get_parameter(name).detach()

    def loss(values: torch.Tensor) -> torch.Tensor:
        return _loss(model, batch, cross_entropy, {name: values})

    by_product = torch.stack([(g * v).sum() for v in directions]).cpu()
    best = math.inf
    for h in steps:
        slopes = torch.tensor([slope(loss, x, v, h) for v in directions], dtype=by_product.dtype)
        best = min(best, relative_error(by_product, slopes, floor))
        if best < FITS:
            break
    return best


def parameter_gradients(model: nn.Module, batch: Batch, loss: Loss) -> dict[str, torch.Tensor]:
    """∂L/∂w of a batch for each parameter w by its name; zeros for one that L does not depend on.

    The model is not changed, except for batch norm's statistics in training mode.

    Args:
        model: inputs (N, ...) -> scores (N, K).
        batch: inputs (N, ...) and class indices (N,).
        loss: (scores, labels) -> L, such as ``torch.nn.CrossEntropyLoss()``.
    """
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(
        _loss(model, batch, loss), parameters, allow_unused=True, materialize_grads=True
    )
    return dict(zip(names, gradients, strict=True))


def _loss(model, batch: Batch, loss: Loss, changed: dict[str, torch.Tensor] | None = None):
    """L of a batch, with some parameters changed."""
    inputs, labels = batch
    like = next(model.parameters())
    with torch.random.fork_rng([like.device] if like.is_cuda else []):
        torch.manual_seed(0)  # dropout leaves out the same units each time
        scores = functional_call(model, changed or {}, (inputs.to(like),))
    return loss(scores, labels.to(like.device))
