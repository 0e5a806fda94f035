"""A running mean of the weights along the path of an optimizer: EMA and Lookahead.

    w̄ ← d w̄ + (1 − d) w        after every k-th step, with d = βᵏ (t/T)ᵖ at step t of T

w jumps from batch to batch around the path of w̄, and the mean of nearby points has a lower loss
than most of them. Of independent jumps the mean keeps the share √((1 − d)/(1 + d)). d grows from 0,
so that w̄ forgets the first, poor weights; p = 0 keeps d constant.

Source: Polyak & Juditsky 1992 (averaging); Zhang et al. 2019, arXiv:1907.08610 (Lookahead); d as in
KellerJordan/cifar10-airbench, airbench94, after tysam-code/hlb-CIFAR10.
"""

from collections.abc import Iterator

import torch
from torch import nn


class NoAverage(nn.Module):
    """The weights themselves, w̄ = w."""

    total_steps = 0  # T
    shows_mean = False  # whether the model holds w̄, and this module w

    def __init__(self, model: nn.Module):
        super().__init__()

    def step(self, model: nn.Module, t: int) -> None:
        """Leave the weights alone."""

    def show(self, model: nn.Module, mean: bool) -> None:
        """Leave the weights alone."""

    def exchange(self, state: dict[str, torch.Tensor], model: str, average: str) -> None:
        """Leave the weights alone."""


class EMA(NoAverage):
    """Exponential moving average: w̄ is evaluated, w is trained on as without it.

    Averages the trained parameters and the statistics of batch norm; a module, so that w̄ moves to
    devices and into state dicts beside the model. ``torch.optim.swa_utils.AveragedModel`` has a
    constant d and no k, and waits for the device in each update. Set ``total_steps``, T, before the
    first step.

    Args:
        model: its weights are the first w̄.
        decay: β, of one step.
        every: k.
        power: p.
    """

    def __init__(self, model: nn.Module, decay: float = 0.95, every: int = 5, power: float = 3.0):
        super().__init__(model)
        self.decay, self.every, self.power = decay, every, power
        self.names: list[str] = []
        for name, w in model.state_dict(keep_vars=True).items():
            if w.is_floating_point() and (w.requires_grad or not isinstance(w, nn.Parameter)):
                self.register_buffer(name.replace(".", "/"), w.detach().clone())
                self.names.append(name)

    def step(self, model: nn.Module, t: int) -> None:
        """Update w̄ after the optimizer's step t = 1, 2, …, T, if it is a k-th one."""
        if t % self.every == 0:
            d = self.decay**self.every * (t / self.total_steps) ** self.power
            for w, mean in self._pairs(model):
                mean.lerp_(w, 1 - d)

    def show(self, model: nn.Module, mean: bool) -> None:
        """Let the model hold w̄, or w again."""
        if mean is not self.shows_mean:
            for w, other in self._pairs(model):
                kept = w.clone()
                w.copy_(other)
                other.copy_(kept)
            self.shows_mean = mean

    def exchange(self, state: dict[str, torch.Tensor], model: str, average: str) -> None:
        """Exchange w and w̄ in a state dict, in which their names begin with the given prefixes."""
        for name in self.names:
            w, mean = model + name, average + name.replace(".", "/")
            state[w], state[mean] = state[mean], state[w]

    def _pairs(self, model: nn.Module) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Each w with its w̄, detached."""
        weights = model.state_dict()
        return ((weights[name], self.get_buffer(name.replace(".", "/"))) for name in self.names)


class Lookahead(EMA):
    """After each update of w̄ the weights are pulled back, w ← w̄; w̄ is evaluated.

    The optimizer takes its next k steps from the mean, with its momentum as it was.
    """

    def step(self, model: nn.Module, t: int) -> None:
        """Update w̄ after the optimizer's step t = 1, 2, …, T, and w, if it is a k-th one."""
        super().step(model, t)
        if t % self.every == 0:
            for w, mean in self._pairs(model):
                w.copy_(mean)
