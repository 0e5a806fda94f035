"""``torch.nn`` layers that change one thing: ``forward`` calls ``lecture4.byhand.functional``.

Constructors, parameters and state dicts are torch's, so weights move freely between the two.
"""

import copy
import sys
from types import ModuleType

import torch
from torch import nn

from lecture4.byhand import functional as F
from lecture4.byhand.functional._refuse import refuse


class Linear(nn.Linear):
    """See ``lecture4.byhand.functional.dense``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(..., in_features) -> (..., out_features)."""
        return F.linear(input, self.weight, self.bias)


class Flatten(nn.Flatten):
    """See ``lecture4.byhand.functional.flatten``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C·H·W)."""
        return F.flatten(input, self.start_dim, self.end_dim)


class Conv2d(nn.Conv2d):
    """See ``functional.conv2d``; ``padding_mode`` other than zeros is refused when called."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H', W')."""
        mode = None if self.padding_mode == "zeros" else self.padding_mode
        refuse("Conv2d", padding_mode=mode)
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


class _BatchNorm(nn.modules.batchnorm._BatchNorm):
    """See ``lecture4.byhand.functional.batch_norm``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise each channel of (N, C, ...), by the batch in training."""
        self._check_input_dim(input)
        tracks = self.track_running_stats or not self.training
        momentum = self.momentum
        if self.training and tracks and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # the mean of all batches so far
                momentum = 1 / self.num_batches_tracked.item()
        return F.batch_norm(
            input,
            self.running_mean if tracks else None,
            self.running_var if tracks else None,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum or 0.0,
            self.eps,
        )


class BatchNorm1d(_BatchNorm, nn.BatchNorm1d):
    """See ``lecture4.byhand.functional.batch_norm``; for (N, C) and (N, C, L)."""


class BatchNorm2d(_BatchNorm, nn.BatchNorm2d):
    """See ``lecture4.byhand.functional.batch_norm``; for (N, C, H, W)."""


class Dropout(nn.Dropout):
    """See ``lecture4.byhand.functional.regularization``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Zero numbers at random in training; any shape."""
        return F.dropout(input, self.p, self.training, self.inplace)


class ReLU(nn.ReLU):
    """See ``lecture4.byhand.functional.relu``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return F.relu(input, self.inplace)


class LeakyReLU(nn.LeakyReLU):
    """See ``lecture4.byhand.functional.leaky_relu``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class Sigmoid(nn.Sigmoid):
    """See ``lecture4.byhand.functional.sigmoid``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return F.sigmoid(input)


class Tanh(nn.Tanh):
    """See ``lecture4.byhand.functional.tanh``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return F.tanh(input)


class GELU(nn.GELU):
    """See ``lecture4.byhand.functional.gelu``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return F.gelu(input, self.approximate)


class Softmax(nn.Softmax):
    """See ``lecture4.byhand.functional.losses``."""

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


LAYERS: dict[str, ModuleType] = {"torch": nn, "byhand": sys.modules[__name__]}


def family(name: str) -> ModuleType:
    """The layers called ``name``: ``torch.nn`` for ``torch``, this module for ``byhand``.

    Raises:
        ValueError: ``name`` is neither.
    """
    if isinstance(name, ModuleType):
        return name
    if name not in LAYERS:
        raise ValueError(f"layers={name} is unknown; choose one of {', '.join(LAYERS)}")
    return LAYERS[name]


def name_of(layers: str | ModuleType) -> str:
    """The name of a family of layers."""
    return layers if isinstance(layers, str) else "torch" if layers is nn else "byhand"


def with_layers(model: nn.Module, name: str) -> nn.Module:
    """A copy of ``model``, weights and all, whose layers are those of the family ``name``.

    Layers that the family does not have stay what they are. If the model has ``settings``, they say
    which layers it has.
    """
    own, other = family(name), family("torch" if name == "byhand" else "byhand")
    twin = copy.deepcopy(model)
    for module in twin.modules():
        kind = type(module)
        if getattr(other, kind.__name__, None) is kind and hasattr(own, kind.__name__):
            module.__class__ = getattr(own, kind.__name__)  # same attributes, another forward
    if hasattr(twin, "settings"):
        twin.settings["layers"] = name
    return twin
