"""The loss: cross-entropy Lᵢ = −log P(Y = yᵢ | X = xᵢ), and its mean over a batch."""

import torch
from torch.autograd import Function

from lecture4.byhand.functional._precision import widened
from lecture4.byhand.functional._refuse import refuse
from lecture4.byhand.functional.scores import log_probabilities


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
        target: class indices, int64 (), (N,) or (N, d₁, ...); or probabilities y, shaped as
            ``input``.
        weight: of each class, (K,): yₖ counts wₖ times.
        size_average: deprecated in torch, refused here.
        ignore_index: targets of this index have no loss, and do not count in the mean.
        reduce: deprecated in torch, refused here.
        reduction: ``none``: Lₙ; ``sum``: Σₙ Lₙ; ``mean``: Σₙ Lₙ / N, or for class indices
            Σₙ Lₙ / Σₙ w_{yₙ}.
        label_smoothing: α; y becomes (1 − α) y + α/K.

    Raises:
        ValueError: shapes do not fit each other, or an argument is out of range.
        IndexError: a target is no class.

    Source: the lecture, "Cross Entropy" and "Put all together"; smoothing: Szegedy et al. 2016,
    arXiv:1512.00567, section 7.
    """
    refuse("cross_entropy", size_average=size_average, reduce=reduce)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing} must lie between 0 and 1")
    s, dim = widened(input), min(input.ndim, 2) - 1
    if input.ndim and target.is_floating_point() and target.shape == input.shape:
        if ignore_index >= 0:
            raise ValueError(f"ignore_index={ignore_index} goes with class indices as target")
        y, total = target, target.new_tensor(target.numel() / max(target.shape[dim], 1))
    else:
        index, counts = _class_indices("cross_entropy", input, target, weight, ignore_index, dim)
        y = torch.zeros_like(s).scatter_(dim, index, 1)
        total = counts.sum()
    y = (1 - label_smoothing) * y + label_smoothing / max(s.shape[dim], 1)
    if weight is not None:
        weight = _per_class("cross_entropy", weight, s, dim)
        y = torch.where(y == 0, 0, y * weight)  # a class that is absent may weigh ∞
    if not target.is_floating_point():
        y = y * (target != ignore_index).unsqueeze(dim)
    return _reduced(_CrossEntropy.apply(s, y, dim), reduction, total)


class _CrossEntropy(Function):
    """L = −Σₖ yₖ log pₖ,  log pₖ = sₖ − log Σⱼ exp(sⱼ).

    ∂L/∂sᵢ = −Σₖ yₖ (1[i = k] − pᵢ) = pᵢ Σₖ yₖ − yᵢ: for probabilities y, the difference p − y.
    ∂L/∂y = −log p.
    """

    @staticmethod
    def forward(ctx, s, y, dim):
        ctx.save_for_backward(s, y)
        ctx.dim = dim
        log_p = log_probabilities(s, dim)
        return -torch.where(y == 0, 0, y * log_p).sum(dim)  # 0 · log 0 = 0

    @staticmethod
    def backward(ctx, dl):
        s, y = ctx.saved_tensors
        dl, log_p = dl.unsqueeze(ctx.dim), log_probabilities(s, ctx.dim)
        ds = dl * (log_p.exp() * y.sum(ctx.dim, keepdim=True) - y)
        return ds, -dl * log_p if ctx.needs_input_grad[1] else None, None


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
    The other arguments and what is raised are as for ``cross_entropy`` with class indices.
    """
    refuse("nll_loss", size_average=size_average, reduce=reduce)
    log_p, dim = widened(input), min(input.ndim, 2) - 1
    index, counts = _class_indices("nll_loss", input, target, weight, ignore_index, dim)
    losses = _NegativeLogLikelihood.apply(log_p, index, counts.to(log_p.dtype), dim)
    return _reduced(losses, reduction, counts.sum())


class _NegativeLogLikelihood(Function):
    """Lₙ = −cₙ log pₙ[yₙ].   ∂L/∂log pₙ[k] = −cₙ where k = yₙ, else 0."""

    @staticmethod
    def forward(ctx, log_p, index, c, dim):
        ctx.save_for_backward(index, c)
        ctx.dim, ctx.shape = dim, log_p.shape
        picked = log_p.gather(dim, index).squeeze(dim)  # (N, K) -> (N,)
        return -torch.where(c == 0, 0, c * picked)

    @staticmethod
    def backward(ctx, dl):
        index, c = ctx.saved_tensors
        dlog_p = dl.new_zeros(ctx.shape)
        return dlog_p.scatter(ctx.dim, index, (-c * dl).unsqueeze(ctx.dim)), None, None, None


def _reduced(losses: torch.Tensor, reduction: str, total: torch.Tensor) -> torch.Tensor:
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction={reduction!r} is unknown; choose one of none, mean, sum")
    return _Sum.apply(losses, total.to(losses.dtype) if reduction == "mean" else None)


class _Sum(Function):
    """L = Σₙ Lₙ / N.   ∂L/∂Lₙ = 1/N, and 0 where nothing counts, N = 0. Without N it is 1."""

    @staticmethod
    def forward(ctx, losses, n):
        ctx.shape, ctx.n = losses.shape, n
        return losses.sum() if n is None else losses.sum() / n

    @staticmethod
    def backward(ctx, dl):
        if ctx.n is not None:
            dl = torch.where(ctx.n == 0, 0, dl / ctx.n)
        return dl.expand(ctx.shape), None


def _class_indices(operation, scores, target, weight, ignore_index, dim):
    """Targets to look up, with a class dimension of 1, and how much each one counts."""
    shape = scores.shape[:dim] + scores.shape[dim + 1 :]
    if scores.ndim == 0 or target.shape != shape or target.is_floating_point():
        soft = operation == "cross_entropy"
        probabilities = ", or probabilities of the shape of the scores" if soft else ""
        raise ValueError(
            f"{operation} of scores {tuple(scores.shape)} takes whole numbers of shape "
            f"{tuple(shape)}, the class indices{probabilities}, not {target.dtype} of shape "
            f"{tuple(target.shape)}"
        )
    counted = target != ignore_index
    classes = scores.shape[dim]
    wrong = target[counted & ((target < 0) | (target >= classes))]
    if len(wrong):
        raise IndexError(f"target {wrong[0].item()} is no class; there are {classes}, from 0 on")
    index = torch.where(counted, target, 0).long()
    if weight is None:
        return index.unsqueeze(dim), counted
    _per_class(operation, weight, scores, dim)
    return index.unsqueeze(dim), weight[index] * counted


def _per_class(operation, weight, scores, dim):
    """The weight of each class (K,), shaped to multiply the scores."""
    if weight.shape != scores.shape[dim : dim + 1]:
        raise ValueError(
            f"{operation} of scores {tuple(scores.shape)} takes a weight of shape "
            f"({scores.shape[dim]},), not {tuple(weight.shape)}"
        )
    if weight.requires_grad:
        raise ValueError(f"{operation} has no gradient for weight; pass weight.detach()")
    return weight.view([-1 if d == dim else 1 for d in range(scores.ndim)])
