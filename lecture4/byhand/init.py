"""Weight initialisation: too small, too big, and just right (Xavier, He).

A score s = Σᵢ wᵢ xᵢ is a sum of n = fan_in terms. With weights of mean 0, independent of each other
and of x, E[wᵢ xᵢ] = 0 and the terms are uncorrelated, so

    Var[s] = Σᵢ E[wᵢ² xᵢ²] = Σᵢ E[wᵢ²] E[xᵢ²] = n Var[w] E[x²]

Each layer multiplies the size of its inputs by n Var[w]; going back, each gradient ∂L/∂x is a sum
over fan_out scores and is multiplied by fan_out Var[w]. Through many layers a factor other than 1
grows or shrinks exponentially:

    scheme   Var[w]                          n Var[w]      the lecture
    small    0.001²                          n / 10⁶       too small: activations and gradients → 0
    large    1                               n             too big: saturated, gradients → 0
    he       gain² / fan_in                  gain²         just right (ReLU)
    xavier   gain² · 2 / (fan_in + fan_out)  about gain²   just right (sigmoid), in both directions

The gain undoes what the activation f does to the second moment: gain² = 1 / E[f(z)²] for
z ~ N(0, 1), which is 2 for ReLU.

Other schemes give W a structure. Its rows are the filters, stretched to D = C·F_h·F_w numbers:

    scheme       W                                        holds for each input, not on average
    orthogonal   W Wᵀ = gain² I, or Wᵀ W if O > D         ‖W x‖ = gain ‖x‖ for D = O, in any depth
    dirac        w_ocae = 1 at o = c in the middle (a, e) z_o = x_o: filter o < C passes channel o
    whiten       w = ± v_k / √(λ_k + ε)                   Var[W x] = I, see below

``dirac`` draws filters o ≥ C as ``he``. Even sides have no middle; cell ⌊F/2⌋ takes its place, and
the channel moves by half a pixel.

``whiten``: let x be the window under a filter, and Σ = E[(x − μ)(x − μ)ᵀ] = V diag(λ) Vᵀ its
covariance over training images, with orthonormal eigenvectors v_k. With w_k = v_k / √(λ_k + ε)

    Cov[w_jᵀ x, w_kᵀ x] = w_jᵀ Σ w_k = λ_k / (λ_k + ε) if j = k, else 0

so the scores are uncorrelated, of variance near 1, and a linear layer after them has the same
curvature in all directions: one η suits each. ε limits the amplification of directions that hardly
vary, which are noise. Both signs, because ReLU drops the negative half of a score, and
z = max(0, z) − max(0, −z) recovers it. A linear layer on whole inputs has w_k alone, and b = −W μ:
its scores are the first principal components of x, each divided by its spread.

Sources: the lecture, "Weight Initialization"; Glorot & Bengio 2010, eq. 12 and 16; He et al. 2015,
arXiv:1502.01852, eq. 10; orthogonal: Saxe et al. 2013, arXiv:1312.6120, section 3; dirac:
Zagoruyko & Komodakis 2017, arXiv:1706.00388; whiten: LeCun et al. 1998, "Efficient BackProp",
section 4.3, with both signs Jordan 2024, arXiv:2404.00498, section 3.
"""

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.functional import unfold

from lecture4.byhand.functional._torch_options import check_tensor

OF_FILTERS = ("dirac", "whiten")  # schemes of convolutions alone
SCHEMES = ("xavier", "he", "small", "large", "orthogonal", "pytorch", *OF_FILTERS)


def standard_deviation(scheme: str, fan_in: int, fan_out: int, gain: float = 1.0) -> float:
    """√Var[w] of the table above.

    Raises:
        ValueError: ``scheme`` is not in the table.
    """
    match scheme:
        case "he":
            return gain / math.sqrt(fan_in)
        case "xavier":
            return gain * math.sqrt(2 / (fan_in + fan_out))
        case "small":
            return 0.001
        case "large":
            return 1.0
    raise ValueError(f"init={scheme} is unknown; choose one of {', '.join(SCHEMES)}")


def initialize_(layer: nn.Linear | nn.Conv2d, scheme: str, gain: float = 1.0) -> None:
    """Set ``layer.weight`` by a scheme of the tables above, and ``layer.bias`` to zero, in place.

    Args:
        layer: a linear or convolution layer; its ``initialisers``, if it has any, replace schemes:
            (weight, gain) -> weight by name.
        scheme: one of the tables, or ``pytorch`` to keep the weights and biases that torch's
            constructor drew. ``whiten`` sets NaN, until ``whiten_`` measures the filters.
        gain: of the activation that follows the layer; 1 for scores, which none follows.

    Raises:
        ValueError: ``scheme`` is unknown or does not fit the layer, or its weight is not of floats.
    """
    check_tensor("initialize_", "weight", layer.weight)
    if scheme == "pytorch" or not layer.weight.numel():
        return
    if scheme in OF_FILTERS and not isinstance(layer, nn.Conv2d):
        raise ValueError(
            f"init={scheme} sets filters of a convolution, and {type(layer).__name__} has none; "
            f"use he or orthogonal"
        )
    match scheme:
        case "orthogonal":
            _orthogonal_(layer.weight, gain)
        case "whiten":
            _check_count(layer.weight)
            nn.init.constant_(layer.weight, math.nan)
        case "dirac":
            _normal_(layer.weight, "he", gain)
            _pass_channels_(layer.weight, layer.groups)  # type: ignore[arg-type]
        case _ if scheme in (own := getattr(layer, "initialisers", {})):
            with torch.no_grad():
                layer.weight.copy_(own[scheme](layer.weight.detach(), gain))
        case _:
            _normal_(layer.weight, scheme, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _normal_(weight: torch.Tensor, scheme: str, gain: float) -> None:
    """Draw each weight from N(0, Var[w])."""
    outputs, *filter_shape = weight.shape  # (K, D), or (O, C, F_h, F_w)
    fan_in = math.prod(filter_shape)  # terms in the sum of one output
    fan_out = outputs * math.prod(filter_shape[1:])  # outputs that one input is part of, at S = 1
    nn.init.normal_(weight, std=standard_deviation(scheme, fan_in, fan_out, gain))


@torch.no_grad()
def _orthogonal_(weight: torch.Tensor, gain: float) -> None:
    """W = gain Q of A = Q R, A normal: uniform among orthogonal matrices once each R_kk > 0."""
    a = torch.empty_like(weight.flatten(1)).normal_()  # (O, D)
    wide = len(a) < a.shape[1]
    q, r = torch.linalg.qr(a.T if wide else a)  # orthonormal columns
    q = q * r.diagonal().sign()
    weight.copy_(gain * (q.T if wide else q).view_as(weight))


@torch.no_grad()
def _pass_channels_(weight: torch.Tensor, groups: int) -> None:
    """Filter o of each group becomes 1 in the middle of channel o, and 0 elsewhere."""
    for filters in weight.chunk(groups):  # (O/groups, C/groups, F_h, F_w)
        o = torch.arange(min(filters.shape[:2]))
        filters[o] = 0
        filters[o, o, filters.shape[2] // 2, filters.shape[3] // 2] = 1


@torch.no_grad()
def whiten_(layer: nn.Conv2d, batches: Iterable[torch.Tensor], eps: float = 5e-4) -> None:
    """Set the filters to ± v_k / √(λ_k + ε): w₁, −w₁, w₂, −w₂, … with the largest λ_k first.

    The windows are the ones that the layer slides over, at its stride and with its padding.

    Args:
        layer: its inputs are images; ``groups`` is 1.
        batches: training inputs of the layer (N, C, H, W), a few at a time.
        eps: ε, in the units of the inputs squared.

    Raises:
        ValueError: there are no inputs, or more filters than 2D.
    """
    _check_count(layer.weight)

    def windows(x: torch.Tensor) -> torch.Tensor:  # (N, C, H, W) -> (N, D, H'·W')
        return unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]

    w = _whitening(covariance(map(windows, batches)), eps)
    both = torch.stack([w, -w], 1).flatten(0, 1)  # (2D, D)
    layer.weight.copy_(both[: len(layer.weight)].view_as(layer.weight))


@torch.no_grad()
def principal_components_(
    layer: nn.Linear, batches: Iterable[torch.Tensor], eps: float = 1.0
) -> None:
    """Set W's rows to v_k / √(λ_k + ε), the largest λ_k first, and b to −W μ: PCA whitening.

    Args:
        layer: of K ≤ D outputs, one for each component that is kept.
        batches: training inputs of the layer (N, D), or (N, ...) to be flattened; copied to one
            tensor, as Σ (D, D) is the larger one.
        eps: ε, in the units of the inputs squared. 1 for inputs of variance near 1: components
            that vary less than one of D pixels does are noise.

    Raises:
        ValueError: there are no inputs.
    """
    x = torch.cat([layer.weight[:0], *(x.flatten(1) for x in batches)]).double()  # (N, D)
    w = _whitening(covariance([x.unsqueeze(2)] if len(x) else []), eps)[: len(layer.weight)]
    layer.weight.copy_(w)
    layer.bias.copy_(-w @ x.mean(0))


def _whitening(covariance: torch.Tensor, eps: float) -> torch.Tensor:
    """Rows v_k / √(λ_k + ε) of Σ = V diag(λ) Vᵀ, the largest λ_k first: (D, D) -> (D, D)."""
    eigenvalues, v = torch.linalg.eigh(covariance)  # (D,), (D, D)
    return (v / (eigenvalues + eps).sqrt()).T.flip(0)


def covariance(batches: Iterable[torch.Tensor]) -> torch.Tensor:
    """Σ = E[x xᵀ] − μ μᵀ over columns x of batches (N, D, L): (D, D), float64.

    Raises:
        ValueError: there are none.
    """
    count, total, products = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        x = batch.double().transpose(0, 1).flatten(1)  # (D, N·L)
        count, total, products = count + x.shape[1], total + x.sum(1), products + x @ x.T
    if not count:
        raise ValueError("a covariance needs at least one batch of inputs")
    mean = total / count
    return products / count - mean.outer(mean)


def _check_count(weight: torch.Tensor) -> None:
    filters, numbers = len(weight), weight[0].numel()
    if filters > 2 * numbers:
        sides = "·".join(map(str, weight.shape[1:]))
        raise ValueError(
            f"init=whiten has 2 filters for each of {sides} = {numbers} eigenvectors, not "
            f"channels={filters}; use channels ≤ {2 * numbers} or a larger kernel_size"
        )
