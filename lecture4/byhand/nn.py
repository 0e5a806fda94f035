"""Layers of ``torch.nn`` that change one thing: ``forward`` calls ``lecture4.byhand.functional``.

Constructors, parameters and state dicts are torch's, so weights load from either into the other.
"""

import copy
from types import ModuleType

import torch
from torch import nn

from lecture4.byhand import functional as F
from lecture4.byhand.functional._torch_options import unsupported


class Linear(nn.Linear):
    """See ``lecture4.byhand.functional.linear``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(..., in_features) -> (..., out_features)."""
        return F.linear(input, self.weight, self.bias)


class Flatten(nn.Flatten):
    """See ``lecture4.byhand.functional.flatten``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C·H·W)."""
        return F.flatten(input, self.start_dim, self.end_dim)


class Conv2d(nn.Conv2d):
    """See ``functional.conv2d``; a call with ``padding_mode`` other than zeros raises an error."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H', W')."""
        if self.padding_mode != "zeros":
            raise unsupported("Conv2d", "padding_mode", self.padding_mode)
        return F.conv2d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class MaxPool2d(nn.MaxPool2d):
    """See ``lecture4.byhand.functional.max_pool2d``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H', W')."""
        return F.max_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )


class AvgPool2d(nn.AvgPool2d):
    """See ``lecture4.byhand.functional.avg_pool2d``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H', W')."""
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


def _batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, input: torch.Tensor) -> torch.Tensor:
    """Normalise by the batch in training, else by the running statistics, if there are any."""
    tracks = layer.track_running_stats or not layer.training
    momentum = layer.momentum
    if layer.training and tracks and layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
        if momentum is None:  # running statistics are the mean over all batches so far
            momentum = 1 / layer.num_batches_tracked.double()  # type: ignore[assignment]
    return F.batch_norm(
        input,
        layer.running_mean if tracks else None,
        layer.running_var if tracks else None,
        layer.weight,
        layer.bias,
        layer.training or layer.running_mean is None,
        0.0 if momentum is None else momentum,
        layer.eps,
    )


class BatchNorm1d(nn.BatchNorm1d):
    """See ``lecture4.byhand.functional.batch_norm``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise each channel of (N, C) or (N, C, L)."""
        if input.ndim not in (2, 3):
            raise ValueError(f"expected 2D or 3D input (got {input.ndim}D input)")
        return _batch_norm(self, input)


class BatchNorm2d(nn.BatchNorm2d):
    """See ``lecture4.byhand.functional.batch_norm``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise each channel of (N, C, H, W)."""
        if input.ndim != 4:
            raise ValueError(f"expected 4D input (got {input.ndim}D input)")
        return _batch_norm(self, input)


class Dropout(nn.Dropout):
    """See ``lecture4.byhand.functional.dropout``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Zero numbers at random in training; any shape."""
        return F.dropout(input, self.p, self.training, self.inplace)


class ReLU(nn.ReLU):
    """See ``lecture4.byhand.functional.relu``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Apply f to each number; any shape."""
        return F.relu(input, self.inplace)


class LeakyReLU(nn.LeakyReLU):
    """See ``lecture4.byhand.functional.leaky_relu``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Apply f to each number; any shape."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class Sigmoid(nn.Sigmoid):
    """See ``lecture4.byhand.functional.sigmoid``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Apply f to each number; any shape."""
        return F.sigmoid(input)


class Tanh(nn.Tanh):
    """See ``lecture4.byhand.functional.tanh``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Apply f to each number; any shape."""
        return F.tanh(input)


class GELU(nn.GELU):
    """See ``lecture4.byhand.functional.gelu``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Apply f to each number; any shape."""
        return F.gelu(input, self.approximate)


class SiLU(nn.SiLU):
    """See ``lecture4.byhand.functional.silu``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Apply f to each number; any shape."""
        return F.silu(input, self.inplace)


class Softmax(nn.Softmax):
    """See ``lecture4.byhand.functional.softmax``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Scores to probabilities along ``dim``."""
        return F.softmax(input, self.dim)


class LogSoftmax(nn.LogSoftmax):
    """See ``lecture4.byhand.functional.log_softmax``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Scores to log-probabilities along ``dim``."""
        return F.log_softmax(input, self.dim)


class NLLLoss(nn.NLLLoss):
    """See ``lecture4.byhand.functional.nll_loss``."""

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (N, K, ...) and targets (N, ...) to the loss."""
        return F.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """See ``lecture4.byhand.functional.cross_entropy``."""

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Scores (N, K, ...) and targets (N, ...) or (N, K, ...) to the loss."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


def with_layers(model: nn.Module, layers: ModuleType) -> nn.Module:
    """A copy of ``model``, weights included, with the layers of another module.

    Args:
        model: built of ``torch.nn``, this module, or subclasses of the same names.
        layers: ``torch.nn``, this module, or another with layers of the same names. A layer that it
            does not have is copied as it is.
    """
    twin = copy.deepcopy(model)
    for module in twin.modules():
        name = type(module).__name__
        torchs = getattr(nn, name, None)
        if torchs and isinstance(module, torchs) and hasattr(layers, name):
            module.__class__ = getattr(layers, name)  # same attributes, another forward
    return twin
