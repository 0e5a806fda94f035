"""The layer table: output size, parameters and multiply-adds of each layer."""

from dataclasses import dataclass

import torch
from torch import nn

from lecture4.byhand.functional.windows import pair


@dataclass(frozen=True)
class LayerRow:
    """One row: ``arithmetic`` is (N + 2P − F)/S + 1 filled in; multiply-adds are for one input."""

    name: str
    output_shape: tuple[int, ...]
    arithmetic: str
    parameters: int
    multiply_adds: int


def layer_rows(model: nn.Module, input_shape: tuple[int, ...]) -> list[LayerRow]:
    """One ``LayerRow`` for each layer of ``model``, in the order of the forward pass.

    Multiply-adds are counted where there is a matrix product: a convolution costs
    C_out·H'·W' · C_in·F_h·F_w, a linear layer D_in · D_out.
    """
    rows: list[LayerRow] = []

    def watch(name: str, layer: nn.Module):
        def record(layer, inputs, output):
            shape = tuple(output.shape[1:])
            rows.append(
                LayerRow(
                    name,
                    shape,
                    _arithmetic(layer, inputs[0].shape, shape),
                    sum(p.numel() for p in layer.parameters()),
                    _multiply_adds(layer, output[0].numel()),
                )
            )

        return layer.register_forward_hook(record)

    hooks = [
        watch(name, layer)
        for name, layer in model.named_modules()
        if not any(layer.children()) and not isinstance(layer, nn.Flatten)  # computes nothing
    ]
    parameter = next(model.parameters())
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            model.eval().forward(
                torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
            )
    finally:
        for module, training in modes.items():
            module.training = training
        for hook in hooks:
            hook.remove()
    return rows


def _arithmetic(layer: nn.Module, before: torch.Size, after: tuple[int, ...]) -> str:
    if not isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return ""
    sides = []
    for i in range(2):
        n, size = before[2 + i], after[1 + i]
        kernel_size, stride, padding = (
            pair(given)[i]  # type: ignore[arg-type]
            for given in (layer.kernel_size, layer.stride, layer.padding)
        )
        floor = (n + 2 * padding - kernel_size) % stride
        text = f"({n}+2·{padding}−{kernel_size})/{stride}+1"
        sides.append(f"⌊{text}⌋ = {size}" if floor else f"{text} = {size}")
    return sides[0] if sides[0] == sides[1] else " × ".join(sides)


def _multiply_adds(layer: nn.Module, outputs: int) -> int:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        return outputs * layer.weight[0].numel()  # each output is one dot product with a filter
    return 0
