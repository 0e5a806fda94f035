"""Convolutional network: blocks of convolution, pooling and activation, then a linear layer."""

from collections.abc import Mapping, Sequence
from types import ModuleType

import torch
from torch import nn

from lecture4.byhand.functional.windows import Size, output_size, pair
from lecture4.byhand.init import initialize_
from lecture4.byhand.nn import family, name_of
from lecture4.models.activations import make_activation
from lecture4.models.dropout import Dropout
from lecture4.support.places import located, named

POOLS = {"max": "MaxPool2d", "avg": "AvgPool2d"}


class Block(nn.Module):
    """Convolution, then pooling, normalisation and activation, where asked for.

    Pooling stands before the activation, where there is less left to compute. The maximum commutes
    with every increasing function, max(f(x)) = f(max(x)), so for max pooling without norm and ReLU,
    sigmoid, tanh or leaky ReLU the order makes no difference; for average pooling, GELU, or a norm
    between the two it does.

    Args:
        in_channels: depth of the maps that come in; each filter extends over all of it.
        map_size: (H, W) of the maps that come in; ``self.map_size`` is that of those that leave.
        channels: number of filters.
        kernel_size: F, a number, or a pair for height and width.
        stride: S, likewise.
        padding: P zeros on each border, likewise.
        activation: a name from ``lecture4.models.activations``.
        norm: ``none`` or ``batch``; with ``batch`` the convolution has no bias, for the norm's
            own shift would cancel it.
        pool: arguments of ``make_pool``, or None.
        init: how the filters are drawn (``lecture4.byhand.init``).
        strict_sizes: refuse windows that do not tile their input.
        layers: ``torch``, or ``byhand`` (``lecture4.byhand.nn``).

    Raises:
        ValueError: a name is unknown or a size cannot be.
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
        norm: str = "none",
        pool: Mapping | None = None,
        init: str = "he",
        strict_sizes: bool = False,
        layers: str | ModuleType = "torch",
    ):
        super().__init__()
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ValueError(f"channels={channels!r} must be a whole number ≥ 1")
        if norm not in ("none", "batch"):
            raise ValueError(f"norm={norm} is unknown; choose one of none, batch")
        self.map_size = window_map(map_size, kernel_size, stride, padding, strict_sizes)
        own = family(layers)
        self.conv = own.Conv2d(
            in_channels,
            channels,
            pair(kernel_size),
            pair(stride),
            pair(padding),
            bias=norm == "none",
        )
        self.pool = named("pool", make_pool, pool, own) if pool is not None else None
        if self.pool is not None:
            sizes = self.pool.kernel_size, pool.get("stride"), self.pool.padding
            with located("pool"):
                self.map_size = window_map(self.map_size, *sizes, strict_sizes)
        self.norm = own.BatchNorm2d(channels) if norm == "batch" else None
        self.activation = make_activation(activation, own)
        initialize_(self.conv, init, activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, channels, H', W')."""
        x = self.conv(x)
        if self.pool is not None:
            x = self.pool(x)
        if self.norm is not None:
            x = self.norm(x)
        return self.activation(x)


class ConvNet(nn.Module):
    """A list of blocks, then scores from the average (or all) of the last activation maps.

    Args:
        input_shape: (C, H, W) of one image.
        num_classes: K.
        blocks: arguments of each ``Block``: channels, kernel_size, stride, padding, activation,
            norm, pool. What a block leaves out is the model's, or else ``Block``'s default.
        head: ``global`` averages each map to one number; ``flatten`` keeps every position.
        activation: of each block that names none itself.
        dropout: probability with which an input of the last layer is zeroed in training.
        init: how the weights are drawn (``lecture4.byhand.init``).
        strict_sizes: make (N + 2P − F)/S + 1 that is not whole an error, instead of rounding down.
        layers: ``torch``, or ``byhand`` (``lecture4.byhand.nn``).

    Raises:
        ValueError: a name is unknown, or a geometry cannot be: names the block, the numbers and
            the nearest settings that work.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        blocks: Sequence[Mapping],
        head: str = "global",
        activation: str = "relu",
        dropout: float = 0.0,
        init: str = "he",
        strict_sizes: bool = False,
        layers: str | ModuleType = "torch",
    ):
        super().__init__()
        if len(input_shape) != 3:
            raise ValueError(
                f"a convolution slides over images (C, H, W), not inputs of shape "
                f"{tuple(input_shape)}; use model=softmax or model=mlp"
            )
        if head not in ("global", "flatten"):
            raise ValueError(f"head={head} is unknown; choose one of global, flatten")
        if isinstance(blocks, str) or not isinstance(blocks, Sequence) or not blocks:
            raise ValueError(
                f"blocks={blocks!r} must be a list of blocks, one at least: [{{channels: 32}}]"
            )
        self.settings = {
            "input_shape": list(input_shape),
            "num_classes": num_classes,
            "blocks": list(blocks),
            "head": head,
            "activation": activation,
            "dropout": dropout,
            "init": init,
            "strict_sizes": strict_sizes,
            "layers": name_of(layers),
        }
        channels, *map_size = input_shape
        self.blocks = nn.Sequential()
        for i, settings in enumerate(blocks):
            block = named(
                f"blocks[{i}]",
                Block,
                settings,
                channels,
                map_size,
                channels=None,  # the one setting without a default
                activation=activation,
                init=init,
                strict_sizes=strict_sizes,
                layers=layers,
            )
            self.blocks.append(block)
            channels, map_size = block.conv.out_channels, block.map_size
        own = family(layers)
        # AdaptiveAvgPool2d would do, but has no deterministic backward on CUDA
        self.average = own.AvgPool2d(tuple(map_size)) if head == "global" else None
        self.flatten = own.Flatten()
        self.dropout = Dropout(own.Dropout(dropout)) if dropout else None
        fan_in = channels if head == "global" else channels * map_size[0] * map_size[1]
        self.scores = own.Linear(fan_in, num_classes)
        initialize_(self.scores, init)
        self.to(memory_format=torch.channels_last)  # torch's faster layout, on CPU and GPU

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (N, K) of images (N, C, H, W)."""
        x = self.blocks(x.contiguous(memory_format=torch.channels_last))
        if self.average is not None:
            x = self.average(x)  # (N, C, H, W) -> (N, C, 1, 1)
        x = self.flatten(x)  # (N, C, H, W) -> (N, D)
        if self.dropout is not None:
            x = self.dropout(x)
        return self.scores(x)


def make_pool(
    layers: ModuleType,
    kernel_size: Size = 2,
    stride: Size | None = None,
    padding: Size = 0,
    kind: str = "max",
) -> nn.Module:
    """Pooling over each activation map by itself; ``kind`` is max or avg.

    Raises:
        ValueError: the kind is unknown, or a window could see padding alone.
    """
    if kind not in POOLS:
        raise ValueError(f"kind={kind} is unknown; choose one of {', '.join(POOLS)}")
    window, border = pair(kernel_size), pair(padding)
    if any(2 * p > f for p, f in zip(border, window, strict=True)):
        raise ValueError(
            f"padding={padding} is more than half of kernel_size={kernel_size}, so that a window "
            f"could see padding alone; use padding ≤ {min(window) // 2}"
        )
    return getattr(layers, POOLS[kind])(
        window, pair(kernel_size if stride is None else stride), border
    )


def window_map(
    map_size: Sequence[int], kernel_size: Size, stride: Size | None, padding: Size, strict: bool
) -> list[int]:
    """(H, W) of the map that a sliding window leaves; see ``output_size``."""
    strides = (None, None) if stride is None else pair(stride)
    sides = list(zip(map_size, pair(kernel_size), strides, pair(padding), strict=True))
    if sides[0] == sides[1]:
        return [output_size(*sides[0], strict)] * 2
    after = []
    for name, side in zip(("height", "width"), sides, strict=True):
        with located(name):
            after.append(output_size(*side, strict))
    return after
