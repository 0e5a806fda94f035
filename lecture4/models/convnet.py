"""Convolutional network: h ← f(norm(pool(w * h + b))) in each block, then s = W h + b.

Source: the lecture, "CNN": a sequence of convolution layers interspersed with activation functions.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import ModuleType

import torch
from torch import nn

from lecture4.byhand.functional.windows import Size, pair
from lecture4.byhand.init import OF_FILTERS, initialize_, whiten_
from lecture4.models.activations import find_activation, make_activation
from lecture4.models.geometry import check_sum, make_pool, window_map
from lecture4.models.norm import check_flag, make_norm
from lecture4.models.settings import keeps_settings
from lecture4.support.places import located, named

HEADS = {"global": "AvgPool2d", "max": "MaxPool2d", "flatten": ""}  # pooling of whole maps


class Block(nn.Module):
    """f(norm(pool(w * x + b))): convolution, pooling and norm where asked for, activation.

    Pooling comes before the activation, where fewer numbers are left to compute. For max pooling
    without norm the order makes no difference if f increases, as max f(x) = f(max x); for average
    pooling, GELU, or a norm between the two it does.

    Args:
        in_channels: depth of the input maps; each filter extends over all of it.
        map_size: (H, W) of the input maps; ``self.map_size`` is (H', W') of the output.
        channels: number of filters.
        kernel_size, stride, padding: F, S, P; a number, or a pair for height and width.
        activation: f, a name from ``lecture4.models.activations``.
        norm: as of ``make_norm``; with one there is no b, which it would cancel.
        pool: settings of ``make_pool``, or None.
        init: how the filters are drawn, see ``lecture4.byhand.init``, with the gain of f.
        frozen: the filters keep their first values; b and the norm train.
        residual: add the input, x + f(…), so that ∂L/∂x has a path around the block.
        strict_sizes: refuse windows that do not tile their input.
        layers: where the layers come from: ``torch.nn`` or ``lecture4.byhand.nn``.

    Raises:
        ValueError: a name is unknown or a size is impossible.
    """

    def __init__(
        self,
        in_channels: int,
        map_size: Sequence[int],
        channels: int,
        kernel_size: Size = 3,
        stride: Size = 1,
        padding: Size = 0,
        activation: str = "relu",
        norm: str | Mapping = "none",
        pool: Mapping | None = None,
        init: str = "he",
        frozen: bool = False,
        residual: bool = False,
        strict_sizes: bool = False,
        layers: ModuleType = nn,
    ):
        super().__init__()
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ValueError(f"channels={channels!r} must be a whole number ≥ 1")
        check_flag("frozen", frozen)
        check_flag("residual", residual)
        normalize = make_norm(layers, channels, norm)
        self.map_size = window_map(map_size, kernel_size, stride, padding, strict_sizes)
        window = pair(kernel_size), pair(stride), pair(padding)
        self.conv = layers.Conv2d(in_channels, channels, *window, bias=normalize is None)
        initialize_(self.conv, init, find_activation(activation).gain)
        self.conv.weight.requires_grad_(not frozen)
        self.pool = None
        if pool is not None:
            self.pool = named("pool", partial(make_pool, layers), pool)
            with located("pool"):
                sizes = self.pool.kernel_size, pool.get("stride"), self.pool.padding
                self.map_size = window_map(self.map_size, *sizes, strict_sizes)
        self.norm = normalize
        self.activation = make_activation(activation, layers)
        self.residual, self.whitens = residual, init == "whiten"
        if residual:
            check_sum((in_channels, *map_size), (channels, *self.map_size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, channels, H', W')."""
        h = self.conv(x)
        if self.pool is not None:
            h = self.pool(h)
        if self.norm is not None:
            h = self.norm(h)
        h = self.activation(h)
        return x + h if self.residual else h


@keeps_settings
class ConvNet(nn.Module):
    """A list of blocks, then scores from the average, maximum or all of the last maps.

    Args:
        input_shape: (C, H, W) of one image.
        num_classes: K.
        blocks: settings of each ``Block``: channels, kernel_size, stride, padding, activation,
            norm, pool, init, frozen, residual. Omitted ones are the model's, or ``Block``'s
            defaults. The first may have ``init: whiten``; ``fit`` then computes its filters.
        head: ``global`` averages each map, ``max`` takes its maximum, ``flatten`` keeps it all.
        head_init: how W is drawn; None is ``init``, or ``he`` if that is for filters alone.
        head_bias: whether the scores have a bias b.
        activation: of each block that names none itself.
        dropout: probability with which an input of the last layer is zeroed in training.
        init: how the weights are drawn, see ``lecture4.byhand.init``.
        strict_sizes: refuse (N + 2P − F)/S + 1 that is not whole, instead of rounding it down.
        layers: where the layers come from: ``torch.nn`` or ``lecture4.byhand.nn``.

    Raises:
        ValueError: a name is unknown, or a geometry is impossible: names the block, the numbers and
            the nearest settings that work.
    """

    settings: dict

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        blocks: Sequence[Mapping],
        head: str = "global",
        head_init: str | None = None,
        head_bias: bool = True,
        activation: str = "relu",
        dropout: float = 0.0,
        init: str = "he",
        strict_sizes: bool = False,
        layers: ModuleType = nn,
    ):
        super().__init__()
        _check(input_shape, blocks, head)
        channels, *map_size = input_shape
        shared = {"activation": activation, "init": init, "strict_sizes": strict_sizes}
        self.blocks = nn.Sequential()
        for i, settings in enumerate(blocks):
            make = partial(Block, channels, map_size, layers=layers)
            block = named(f"blocks[{i}]", make, settings, **shared)
            if block.whitens and i > 0:
                raise ValueError(
                    f"blocks[{i}]: init=whiten is for blocks[0] alone; use dirac or he"
                )
            self.blocks.append(block)
            channels, map_size = block.conv.out_channels, block.map_size
        # the adaptive ones would do, but have no deterministic backward on CUDA
        self.pool = getattr(layers, HEADS[head])(tuple(map_size)) if HEADS[head] else None
        self.flatten = layers.Flatten()
        self.dropout = layers.Dropout(dropout) if dropout else None
        fan_in = channels if self.pool is not None else channels * map_size[0] * map_size[1]
        self.scores = layers.Linear(fan_in, num_classes, bias=head_bias)
        with located("head_init"):
            initialize_(self.scores, head_init or ("he" if init in OF_FILTERS else init))
        self.to(memory_format=torch.channels_last)  # torch's faster layout, on CPU and GPU

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (N, K) of images (N, C, H, W)."""
        x = self.blocks(x.contiguous(memory_format=torch.channels_last))
        if self.pool is not None:
            if self.pool.kernel_size != x.shape[2:]:  # images of another size than the model's
                self.pool.kernel_size = tuple(x.shape[2:])
            x = self.pool(x)  # (N, C, H, W) -> (N, C, 1, 1)
        x = self.flatten(x)  # (N, C, H, W) -> (N, D)
        if self.dropout is not None:
            x = self.dropout(x)
        return self.scores(x)

    def fit(self, batches: Iterable[torch.Tensor]) -> None:
        """Compute the filters of a first block with ``init: whiten`` from training images.

        Args:
            batches: preprocessed images (N, C, H, W), a few at a time.
        """
        if self.blocks[0].whitens:
            whiten_(self.blocks[0].conv, batches)  # type: ignore[arg-type]


def _check(input_shape: Sequence[int], blocks: Sequence[Mapping], head: str) -> None:
    if len(input_shape) != 3:
        raise ValueError(
            f"a convolution slides over images (C, H, W), not inputs of shape "
            f"{tuple(input_shape)}; use model=softmax or model=mlp"
        )
    if head not in HEADS:
        raise ValueError(f"head={head} is unknown; choose one of {', '.join(HEADS)}")
    if isinstance(blocks, str) or not isinstance(blocks, Sequence) or not blocks:
        raise ValueError(
            f"blocks={blocks!r} must be a list of blocks, one at least: [{{channels: 32}}]"
        )
