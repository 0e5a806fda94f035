"""The loss of an example is minus the logarithm of the probability of its class.

    Lᵢ = −log P(Y = yᵢ | X = xᵢ) = −log (exp(s_yᵢ) / Σⱼ exp(sⱼ)),   L = (1/N) Σᵢ Lᵢ

For example s = (log 2, log 1, log 5) gives p = (1/4, 1/8, 5/8). If the class is the first, then
L = −log 1/4, and ∂L/∂s = p − y = (1/4 − 1, 1/8, 5/8).

Source: the lecture, "Softmax Classifier", "Cross Entropy" and "Put all together".
"""

import math

import torch
from torch.autograd import Function

from lecture4.byhand.functional._torch_options import (
    FLOATS,
    at_least_float32,
    check_classes,
    class_dim,
    class_indices,
    holds_probabilities,
    loss_dtype,
    supports_only,
    takes,
)
from lecture4.byhand.functional.scores import log_probabilities


class _CrossEntropy(Function):
    """L = −Σₖ yₖ log pₖ,  log pₖ = sₖ − log Σⱼ exp(sⱼ); for a one-hot y this is −log p_y.

    ∂L/∂sᵢ = −Σₖ yₖ (1[i = k] − pᵢ) = pᵢ Σₖ yₖ − yᵢ: for probabilities y, the difference p − y.
    ∂L/∂y = −log p. A target that is not counted has L = 0.
    """

    @staticmethod
    def forward(ctx, s, y, counted, dim):
        ctx.save_for_backward(s, y, counted)
        ctx.dim = dim
        log_p = log_probabilities(s, dim)
        impossible = (y == 0) & (log_p == -math.inf)
        losses = -torch.where(impossible, 0, y * log_p).sum(dim)  # 0 · log 0 = 0
        return torch.where(counted, losses, 0)

    @staticmethod
    def backward(ctx, dl):
        s, y, counted = ctx.saved_tensors
        dl = torch.where(counted, dl, 0).unsqueeze(ctx.dim)
        log_p = log_probabilities(s, ctx.dim)
        ds = dl * (log_p.exp() * y.sum(ctx.dim, keepdim=True) - y)
        return ds, -dl * log_p if ctx.needs_input_grad[1] else None, None, None


class _Sum(Function):
    """L = Σₙ Lₙ / N.   ∂L/∂Lₙ = 1/N. Without N it is 1."""

    @staticmethod
    def forward(ctx, losses, n):
        ctx.shape, ctx.n = losses.shape, n
        return losses.sum() if n is None else losses.sum() / n

    @staticmethod
    def backward(ctx, dl):
        return (dl if ctx.n is None else dl / ctx.n).expand(ctx.shape), None


@takes(input=FLOATS, weight=FLOATS)
@supports_only(size_average=None, reduce=None)
def cross_entropy(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Lₙ = −Σₖ yₙₖ log pₙₖ, p = softmax(s). Twin of ``torch.nn.functional.cross_entropy``.

    With a class index as target this is the lecture's Lₙ = −log P(Y = yₙ | X = xₙ).

    Args:
        input: scores s (K,), (N, K) or (N, K, d₁, ...).
        target: class indices, int64 or uint8 (), (N,) or (N, d₁, ...); or probabilities y, shaped
            as ``input``.
        weight: of each class, (K,): yₖ counts wₖ times.
        size_average: deprecated in torch, refused here.
        ignore_index: targets of this index have no loss, and do not count in the mean.
        reduce: deprecated in torch, refused here.
        reduction: ``none``: Lₙ; ``sum``: Σₙ Lₙ; ``mean``: Σₙ Lₙ / N, or for class indices
            Σₙ Lₙ / Σₙ w_{yₙ}.
        label_smoothing: α; y becomes (1 − α) y + α/K.

    Raises:
        ValueError: shapes or dtypes do not fit each other, or an argument is out of range.
        IndexError: a target on the CPU is not a class.

    Source: the lecture, as above; smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.
    """
    check_classes("cross_entropy", input, weight)
    dtype, s = loss_dtype(input, target), at_least_float32(input)
    y, counted, n = _distributions(s, target, weight, ignore_index, label_smoothing)
    losses = _CrossEntropy.apply(s, y, counted, class_dim(s))
    return _reduced(losses, n, reduction).to(dtype)


def _distributions(s, target, weight, ignore_index, alpha) -> tuple[torch.Tensor, ...]:
    """The distribution y (N, K, ...) of each target, whether it counts, and N to divide by."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"label_smoothing={alpha} must lie between 0 and 1")
    dim = class_dim(s)
    if holds_probabilities(target, s):
        if ignore_index >= 0:
            raise ValueError(f"ignore_index={ignore_index} goes with class indices as target")
        y = (1 - alpha) * at_least_float32(target) + alpha / s.shape[dim]
        y = y if weight is None else y * _per_class(weight, s)
        n = target.numel() // s.shape[dim]
        everyone = torch.ones((), dtype=torch.bool, device=s.device)
        return y, everyone, torch.full((), n, device=s.device)  # filled there: nothing is copied
    index, counted = class_indices("cross_entropy", s, target, ignore_index)
    y = torch.zeros_like(s).scatter_(dim, index.unsqueeze(dim), 1)
    y = (1 - alpha) * y + alpha / s.shape[dim]
    if weight is not None:  # that of an absent class may be ∞
        y = torch.where(y == 0, 0, y * _per_class(weight, s))
    y = torch.where(counted.unsqueeze(dim), y, 0)
    return y, counted, _counts(index, counted, weight).sum()


def _per_class(weight: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """w (K,), shaped to multiply scores s (N, K, ...)."""
    return at_least_float32(weight).view([-1 if d == class_dim(s) else 1 for d in range(s.ndim)])


class _NegativeLogLikelihood(Function):
    """Lₙ = −cₙ log pₙ[yₙ].   ∂L/∂log pₙ[k] = −cₙ where k = yₙ, else 0. Not counted: Lₙ = 0."""

    @staticmethod
    def forward(ctx, log_p, index, c, counted, dim):
        ctx.save_for_backward(index, c, counted)
        ctx.dim, ctx.shape = dim, log_p.shape
        picked = log_p.gather(dim, index).squeeze(dim)  # (N, K) -> (N,)
        return torch.where(counted, -c * picked, 0)

    @staticmethod
    def backward(ctx, dl):
        index, c, counted = ctx.saved_tensors
        dpicked = -c * torch.where(counted, dl, 0)
        dlog_p = dl.new_zeros(ctx.shape).scatter(ctx.dim, index, dpicked.unsqueeze(ctx.dim))
        return dlog_p, None, None, None, None


@takes(input=FLOATS, weight=FLOATS)
@supports_only(size_average=None, reduce=None)
def nll_loss(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
) -> torch.Tensor:
    """Negative log-likelihood of the targets, Lₙ = −w_{yₙ} log pₙ[yₙ], from log-probabilities.

    Twin of ``torch.nn.functional.nll_loss``; ``input`` holds log p, (K,), (N, K) or (N, K, d₁, …).
    Other arguments and errors as for ``cross_entropy`` with class indices.
    """
    check_classes("nll_loss", input, weight)
    dtype, log_p, dim = loss_dtype(input), at_least_float32(input), class_dim(input)
    index, counted = class_indices("nll_loss", log_p, target, ignore_index)
    counts = _counts(index, counted, weight)
    c = counts.to(log_p.dtype)
    losses = _NegativeLogLikelihood.apply(log_p, index.unsqueeze(dim), c, counted, dim)
    return _reduced(losses, counts.sum(), reduction).to(dtype)


def _counts(index, counted, weight) -> torch.Tensor:
    """How much each target counts: the weight of its class, and 0 if it is ignored."""
    return counted if weight is None else torch.where(counted, at_least_float32(weight)[index], 0)


def _reduced(losses: torch.Tensor, n: torch.Tensor, reduction: str) -> torch.Tensor:
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction={reduction!r} is unknown; choose one of none, mean, sum")
    return _Sum.apply(losses, n.to(losses.dtype) if reduction == "mean" else None)
