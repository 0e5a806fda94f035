"""``formulas=mine.py``: the layers, losses and optimizers of a file, and torch's where it has none.

A layer is the one of ``lecture4.byhand.nn`` that looks up its function in the file.
"""

import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import nn

from lecture4.byhand import nn as byhand_nn
from lecture4.support.code_files import is_code_file
from lecture4.support.console import printable
from lecture4.training.formulas.from_file import Source, described, place_in, read
from lecture4.training.formulas.named import FILE, FORMULAS, TORCH, Formulas
from lecture4.training.formulas.styles import GAINS, Entry

# layers and losses of lecture4.byhand.nn, and the function that each one calls
LAYERS = {
    "Linear": "linear",
    "Flatten": "flatten",
    "Conv2d": "conv2d",
    "MaxPool2d": "max_pool2d",
    "AvgPool2d": "avg_pool2d",
    "BatchNorm1d": "batch_norm",
    "BatchNorm2d": "batch_norm",
    "Dropout": "dropout",
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "GELU": "gelu",
    "SiLU": "silu",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "NLLLoss": "nll_loss",
    "CrossEntropyLoss": "cross_entropy",
}
WITH_WEIGHTS = ("Linear", "Conv2d")  # which an initialiser draws
WITH_BIAS = ("linear", "conv2d")  # (input, weight, bias, ...)


def find(name: str) -> Formulas:
    """The formulas called ``name``: torch, byhand, or the path of a file.

    Raises:
        ValueError: the name is unknown, or the file cannot be read.
    """
    if is_code_file(name):
        return formulas_of(read(name))
    if name not in FORMULAS:
        raise ValueError(
            f"formulas={printable(name)} is unknown; choose one of {', '.join(FORMULAS)}, or a "
            f"file such as mine.py"
        )
    return FORMULAS[name]


def formulas_of(source: Source) -> Formulas:
    """The formulas that a file has begun, and torch's elsewhere."""
    layers, optim = _copy(nn), _copy(torch.optim)
    vars(layers).update(_layers(source.entries))
    vars(optim).update({k: e.call for k, e in source.entries.items() if isinstance(e.call, type)})
    penalties = {
        kind: source.entries[f"{kind}_penalty"].call
        for kind in ("l1", "l2")
        if f"{kind}_penalty" in source.entries
    }
    return Formulas(FILE, layers, optim, {**TORCH.penalties, **penalties}, source)


def unused(source: Source) -> str:
    """A sentence on classes of a file that are named as a layer whose function it lacks, or ""."""
    known = (name for name in source.classes if name in LAYERS)
    names = [name for name in known if LAYERS[name] not in source.entries]
    instead = "write functions, such as relu_forward and relu_backward"
    return f"{', '.join(names)}: classes of layers are not used; {instead}" if names else ""


def whose(kind: type, formulas: Formulas) -> str:
    """Whose formula a class of layers or optimizers computes: a file's, byhand's or torch's."""
    if getattr(kind, "of_a_file", False):
        return formulas.title
    return "byhand" if kind.__module__.startswith("lecture4.byhand") else "torch"


@contextmanager
def located_in(name: str) -> Iterator[None]:
    """Name the line of the file of formulas, if an error is raised there.

    Raises:
        ValueError: in place of that error.
    """
    try:
        yield
    except Exception as error:
        if not is_code_file(name) or not (place := place_in(name, error)):
            raise
        raise ValueError(f"{printable(Path(name).name)}: {place}: {described(error)}") from error


def _copy(module: ModuleType) -> ModuleType:
    copy = ModuleType(module.__name__)
    vars(copy).update(vars(module))
    return copy


def _layers(entries: Mapping[str, Entry]) -> dict[str, type[nn.Module]]:
    """The layers and losses that call functions of the file, by their names in torch.nn."""
    spec = importlib.util.find_spec(byhand_nn.__name__)
    own: Any = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(own)  # type: ignore[union-attr]
    own.F = SimpleNamespace(**{name: _in_layer(entry) for name, entry in entries.items()})
    layers = {layer: getattr(own, layer) for layer, name in LAYERS.items() if name in entries}
    for layer in layers.values():
        layer.of_a_file = True
    if draws := {name: _draw(entries[name]) for name in GAINS if name in entries}:
        for layer in WITH_WEIGHTS:
            kind = layers.get(layer, getattr(nn, layer))
            layers[layer] = type(layer, (kind,), {"initialisers": draws})
    return layers


def _in_layer(entry: Entry) -> Callable:
    """A function as a layer calls it.

    It computes in float32 at least, on contiguous tensors, and gets one number for equal sides and
    zeros for no bias.

    Raises:
        TypeError: it does not return a tensor.
    """

    def call(input: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        dtype = input.dtype
        if dtype.is_floating_point:
            dtype = torch.promote_types(dtype, torch.float32)
        if entry.name in WITH_BIAS and args[1] is None:
            weight, _, *others = args
            args = weight, weight.new_zeros(len(weight)), *others
        with torch.autocast(input.device.type, enabled=False):
            result = entry.call(input.to(dtype).contiguous(), *map(_plain, args), **kwargs)
        if not isinstance(result, torch.Tensor):
            raise TypeError(f"{entry.names[0]} returned {type(result).__name__}, not a tensor")
        return result.to(dtype)

    return call


def _plain(value: Any) -> Any:
    """A contiguous tensor, for ``view``; and 2 for (2, 2), which torch's layers keep of a 2."""
    if isinstance(value, torch.Tensor):
        return value.contiguous()  # itself, unless it is of images or filters
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _draw(entry: Entry) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """An initialiser as (weight, gain) -> weight, also one that takes no gain."""

    def draw(weight: torch.Tensor, gain: float) -> torch.Tensor:
        if "gain" in inspect.signature(entry.call).parameters:
            return entry.call(weight, gain)
        return entry.call(weight) * (gain / GAINS[entry.name])

    return draw
