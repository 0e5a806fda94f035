"""Look inside a trained net: its layers as plain values, from which ``inside/*.js`` compute."""

import base64
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import nn

from lecture4.byhand.functional.windows import pair
from lecture4.lesson.page.templates import environment, script_safe, texts
from lecture4.models import MLP, ConvNet
from lecture4.models.activations import ACTIVATIONS
from lecture4.models.pipeline import Pipeline

LIMIT, REST = 12e6, 0.2e6  # bytes of a page, and of a page without weights and images
TITLES = {"SoftmaxClassifier": "a softmax classifier", "MLP": "an MLP", "ConvNet": "a ConvNet"}
SCRIPTS = "net", "image", "words", "maps", "detail", "controls"  # each uses those before it
NAMES = {activation.layer: name for name, activation in ACTIVATIONS.items()}


def describe(
    pipeline: Pipeline,
    class_names: Sequence[str],
    images: Sequence[tuple[str, torch.Tensor]] = (),
    resize: str = "stretch",
) -> dict[str, Any]:
    """Layers in the order of computation, with geometry and weights, and images to look at.

    Args:
        pipeline: fitted preprocessing and trained model of images (C, H, W).
        class_names: of the K classes.
        images: pairs of a label and uint8 pixels (C, H, W).
        resize: how a reader's own image becomes a square, see ``lecture4.data.decode``.

    Raises:
        ValueError: the model takes points, a weight is not finite, or the page would be larger than
            ``LIMIT``.
    """
    model, shape = pipeline.model, tuple(pipeline.model.settings["input_shape"])
    if len(shape) != 3:
        raise ValueError(
            f"this model classifies points of {shape[0]} coordinates; a page shows models of images"
        )
    tensors = [t for t in pipeline.state_dict().values() if t.is_floating_point()]
    if not all(t.isfinite().all() for t in tensors):
        raise ValueError("the model has weights that are not finite numbers")
    weights = sum(p.numel() for p in model.parameters())
    statistics = sum(t.numel() for t in pipeline.preprocess.state_dict().values())
    seen = sum(pixels.numel() for _, pixels in images)
    size = REST + 4 / 3 * (2 * weights + 4 * statistics + seen)  # base64
    if size > LIMIT:
        raise ValueError(
            f"the page would have {size / 1e6:.1f} MB for {weights:,} weights and {len(images)} "
            f"images; {LIMIT / 1e6:.0f} MB is the limit"
        )
    return {
        "model": type(model).__name__,
        "input": list(shape),
        "resize": resize,
        "classes": list(class_names),
        "images": [{"label": label, "pixels": _base64(pixels, "u1")} for label, pixels in images],
        "layers": _layers(pipeline, shape[0]),
    }


def render_inside(net: dict[str, Any]) -> str:
    """A page of its own that looks inside a net, a result of ``describe``."""
    template = environment().get_template("inside/page.html")
    style = texts("style.css", "inside/inside.css")
    return template.render(
        title=TITLES[net["model"]], style=style, theme=texts("theme.js"), **parts(net)
    )


def parts(net: dict[str, Any] | None) -> dict[str, Any]:
    """What the template ``inside/inside.html`` shows."""
    scripts = [texts(f"inside/{name}.js") for name in SCRIPTS]
    return {"net": net and script_safe(net), "inside_scripts": scripts}


def _layers(pipeline: Pipeline, channels: int) -> list[dict[str, Any]]:
    model, preprocess = pipeline.model, pipeline.preprocess
    mean, std = (t.expand(channels, 1, 1) if t.numel() == 1 else t
                 for t in (preprocess.mean, preprocess.std))  # fmt: skip
    layers = [{"kind": "preprocess", "mean": _floats(mean), "std": _floats(std)}]
    if isinstance(model, ConvNet):
        for block in model.blocks:
            first = len(layers) - 1  # its output is the block's input
            parts = block.conv, block.pool, block.norm, block.activation
            layers += [_described(part) for part in parts if part is not None]
            layers += [{"kind": "sum", "of": first}] * block.residual
        if model.pool is not None:  # the model sets its window by the images it sees
            layers.append(_described(model.pool) | {"kernel": list(model.blocks[-1].map_size)})
    elif isinstance(model, MLP):
        layers += [_described(part) for part in model.hidden if not isinstance(part, nn.Dropout)]
    return [*layers, _described(model.scores)]


@singledispatch
def _described(layer: nn.Module) -> dict[str, Any]:
    """Kind, geometry (pairs for height and width) and weights of a layer; else an activation."""
    return {"kind": "activation", "name": NAMES[type(layer).__name__]}


@_described.register
def _(layer: nn.Conv2d) -> dict[str, Any]:
    return {"kind": "convolution", **_window(layer), **_weights(layer)}


@_described.register
def _(layer: nn.Linear) -> dict[str, Any]:
    return {"kind": "linear", **_weights(layer)}


@_described.register(nn.MaxPool2d)
@_described.register(nn.AvgPool2d)
def _(layer) -> dict[str, Any]:
    return {"kind": "max" if isinstance(layer, nn.MaxPool2d) else "average", **_window(layer)}


@_described.register
def _(layer: nn.BatchNorm2d) -> dict[str, Any]:
    """Batch norm of a trained net, γ (x − μ)/√(σ² + ε) + β, as a x + c for each channel."""
    mean, var, gamma, beta = (
        t.detach().double()
        for t in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    a = gamma / (var + layer.eps).sqrt()
    return {"kind": "norm", "scale": _floats(a), "shift": _floats(beta - a * mean)}


def _window(layer: Any) -> dict[str, Any]:
    sizes = {"kernel": layer.kernel_size, "stride": layer.stride, "padding": layer.padding}
    return {name: list(pair(size)) for name, size in sizes.items()}


def _weights(layer: nn.Conv2d | nn.Linear) -> dict[str, Any]:
    """w as float16 after division by the largest |w|, so that nothing over- or underflows."""
    w = layer.weight.detach().float()
    factor = w.abs().max().item() or 1.0
    bias = None if layer.bias is None else _floats(layer.bias)
    return {"filters": len(w), "weight": {"factor": factor, "half": _base64(w / factor, "<f2")},
            "bias": bias}  # fmt: skip


def _floats(values: torch.Tensor) -> str:
    return _base64(values, "<f4")


def _base64(values: torch.Tensor, dtype: str) -> str:
    array = values.detach().cpu().contiguous()  # the model's is channels last
    array = (array.float() if array.is_floating_point() else array).numpy()
    return base64.b64encode(np.ascontiguousarray(array).astype(dtype).tobytes()).decode()
