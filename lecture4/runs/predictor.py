"""Prediction from a checkpoint alone, in plain PyTorch.

A checkpoint may be a stranger's. Tensors and plain values are all that is read of it; the names in
it are looked up among this package's own models, preprocessings and datasets; and its sizes are
compared before they take memory.
"""

import math
import os
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lecture4.byhand import nn as byhand_nn
from lecture4.byhand.nn import with_layers
from lecture4.data import SOURCES, Dataset, cifar10_lies_in
from lecture4.data.preprocess import PREPROCESSINGS, Preprocess
from lecture4.models import MODELS, layer_table
from lecture4.support.console import printable
from lecture4.support.places import located

# Lightning's name: type of the weights, and that to which autocast rounds what it multiplies.
PRECISIONS: dict[str, tuple[torch.dtype, torch.dtype | None]] = {
    "32-true": (torch.float32, None),
    "64-true": (torch.float64, None),
    "16-true": (torch.float16, None),
    "bf16-true": (torch.bfloat16, None),
    "16-mixed": (torch.float32, torch.float16),
    "bf16-mixed": (torch.float32, torch.bfloat16),
}
LARGEST = 2**34  # bytes that one input's activations, or a dataset, may take: 16 GiB


class Predictor:
    """A trained classifier: raw inputs (N, ...) -> scores and probabilities (N, K).

    It computes as the test of its run did: same precision, same kind of device if that is there.

    Args:
        model: inputs -> scores, with the trained weights.
        preprocess: fitted; raw inputs -> inputs of the model.
        class_names: of the K classes.
        precision: a key of ``PRECISIONS``.
        device: where to compute.
        eval_batch_size: of the run's test; None if unknown.
        source: of the run's dataset, see ``lecture4.data.Dataset``; empty if unknown.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Preprocess,
        class_names: Sequence[str],
        precision: str = "32-true",
        device: str = "cpu",
        eval_batch_size: int | None = None,
        source: Mapping[str, Any] | None = None,
    ):
        dtype, self.autocast = PRECISIONS[precision]
        self.model = model.to(device, dtype).eval()
        self.preprocess = preprocess.to(device, dtype).eval()
        self.class_names = list(class_names)
        self.input_shape = tuple(model.settings["input_shape"])
        self.precision = precision
        self.device = torch.device(device)
        self.eval_batch_size = eval_batch_size
        self.source = dict(source or {})

    @property
    def image_size(self) -> int:
        """Side of the square RGB images that the model takes.

        Raises:
            ValueError: it takes others, or points.
        """
        if len(self.input_shape) != 3:
            raise ValueError(
                f"this model classifies points of {math.prod(self.input_shape)} coordinates, and "
                f"takes no images"
            )
        channels, height, width = self.input_shape
        if channels != 3 or height != width:
            raise ValueError(
                f"this model takes images of {channels} channels, {height}×{width} pixels; "
                f"files are read as RGB squares"
            )
        return height

    @torch.inference_mode()
    def scores(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scores (N, K), on the CPU, of uint8 images (N, C, H, W) or points (N, D)."""
        x = inputs.to(self.device)
        if x.is_floating_point():
            x = x.to(self.preprocess.mean.dtype)
        rounded = torch.autocast(self.device.type, self.autocast) if self.autocast else None
        with rounded or nullcontext():
            scores = self.model(self.preprocess(x))
            return scores.to(torch.promote_types(scores.dtype, torch.float32)).cpu()

    def probabilities(self, inputs: torch.Tensor) -> torch.Tensor:
        """P(Y = k | x) = exp(s_k) / Σⱼ exp(s_j), float64 (N, K), on the CPU.

        Raises:
            ValueError: a score is NaN or infinite.
        """
        scores = self.scores(inputs)
        if not scores.isfinite().all():
            raise ValueError("the model's scores are not finite numbers")
        return scores.double().softmax(1)

    @torch.inference_mode()
    def evaluate(self, dataset: Dataset) -> dict[str, float]:
        """``test_accuracy`` and ``test_loss`` on a dataset's test inputs.

        On the machine of a run of one process that was not compiled, they are those of its
        ``results.json``, bit for bit: the same batches, kernels and order of sums.

        Raises:
            ValueError: the size of the run's batches is unknown.
        """
        if self.eval_batch_size is None:
            raise ValueError("it does not say in which batches it was tested; it is an older one")
        batches = dataset.test_inputs.split(self.eval_batch_size)
        scores, labels = torch.cat([self.scores(batch) for batch in batches]), dataset.test_labels
        cross_entropy = (
            byhand_nn if isinstance(self.model.scores, byhand_nn.Linear) else nn
        ).CrossEntropyLoss()
        return {
            "test_accuracy": (scores.argmax(1) == labels).double().mean().item(),
            "test_loss": cross_entropy(scores, labels).item(),
        }


def load(path: str | os.PathLike) -> Predictor:
    """Rebuild what a checkpoint holds: model, preprocessing, class names, and how it was tested.

    Args:
        path: a ``.ckpt`` file of ``train.py``, or what ``find_checkpoint`` finds one in.

    Raises:
        ValueError: there is none, it is damaged or not one of this package, it holds more than
            tensors and plain values, or what it says does not fit together: says which.
        OSError: it cannot be read.
    """
    path = find_checkpoint(path)
    with located(printable(path)):
        checkpoint = read_checkpoint(path)
        card = checkpoint.get("classifier") if isinstance(checkpoint, dict) else None
        state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
        if not isinstance(card, dict) or not isinstance(state, dict):
            raise ValueError("no checkpoint of train.py, for it does not say which model it holds")
        model, preprocess = _build(card)
        precision = _known(card.get("precision", "32-true"), PRECISIONS, "precision")
        whole = nn.ModuleDict({"model": model, "preprocess": preprocess})
        _fill(whole.to(PRECISIONS[precision][0]), state, path)
        named = card.get("device", "cuda")  # the run's, if this machine has it
        if named not in ("cpu", "cuda"):
            raise ValueError(f"its device is {named!r:.100}, not cpu or cuda")
        size = card.get("eval_batch_size")
        if size is not None and not _whole(size, 1):
            raise ValueError(f"its eval_batch_size is {size!r:.100}, not a whole number ≥ 1")
        return Predictor(
            model,
            preprocess,
            card["class_names"],
            precision,
            "cuda" if named == "cuda" and torch.cuda.is_available() else "cpu",
            size,
            _typed(card.get("source", {}), dict, "source", "a mapping"),
        )


def find_checkpoint(path: str | os.PathLike) -> Path:
    """The ``.ckpt`` file itself, or of a run's directory ``best.ckpt``, or else ``last.ckpt``.

    Raises:
        ValueError: there is none.
    """
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        what = "is no file" if path.exists() else "is not there"
        raise ValueError(f"{printable(path)} {what}; give a run's directory or a .ckpt file in it")
    for folder in (path / "checkpoints", path):
        for name in ("best.ckpt", "last.ckpt"):
            if (folder / name).is_file():
                return folder / name
    runs = sorted(p.parent.parent.name for p in path.glob("*/checkpoints/best.ckpt"))
    hint = f"it holds the runs {', '.join(runs)}: give one of them" if runs else "it is no run"
    raise ValueError(
        f"{printable(path)} holds no checkpoints/best.ckpt and no checkpoints/last.ckpt; "
        f"{printable(hint)}"
    )


def dataset_of(predictor: Predictor, root: str | os.PathLike | None = None) -> Dataset:
    """Make or read the dataset that the run was tested on.

    Args:
        predictor: its ``source`` says which.
        root: where files lie, and CIFAR-10 may be downloaded to; None for where they lay in the
            run, or else for CIFAR10_ROOT or ``data``.

    Raises:
        ValueError: the checkpoint does not say, there are no files, or they are others.
        ConnectionError: CIFAR-10 cannot be downloaded.
    """
    if not predictor.source:
        raise ValueError("it does not say on which data it was tested; it is an older one")
    settings = dict(predictor.source)
    name = _known(settings.pop("name", None), SOURCES, "source")
    if name in ("rings", "shapes"):
        if root is not None:
            raise ValueError(f"data.root={root} has no meaning here: data={name} is drawn")
        _check_drawn(settings, predictor.input_shape)
    else:
        where = _typed(settings.get("root"), str, "source's root", "a path")
        settings["root"] = root if root is not None else _root(name, where)
        if name == "image_folder":
            settings["image_size"] = predictor.image_size
    if set(settings) != set(_ARGUMENTS[name]):
        raise ValueError(f"its source has {', '.join(map(repr, settings)):.200} for {name}")
    dataset = SOURCES[name](**settings)
    if dataset.class_names != predictor.class_names:
        raise ValueError(
            f"the data has the classes {printable(', '.join(dataset.class_names))}, and the model "
            f"{printable(', '.join(predictor.class_names))}"
        )
    if dataset.input_shape != predictor.input_shape:
        raise ValueError(
            f"the data has inputs of shape {dataset.input_shape}, and the model takes "
            f"{predictor.input_shape}"
        )
    return dataset


_ARGUMENTS = {
    "cifar10": ("root",),
    "image_folder": ("root", "image_size"),
    "rings": ("train_size", "test_size", "seed"),
    "shapes": ("train_size", "test_size", "seed"),
}


def _root(name: str, where: str) -> str:
    """Where the run had its files, if they are there still: nothing is downloaded to that path."""
    if name == "cifar10":
        return where if cifar10_lies_in(where) else os.environ.get("CIFAR10_ROOT", "data")
    if (Path(where) / "test").is_dir():
        return where
    raise ValueError(f"the run's images are not in {printable(where)}; say where with data.root=")


def _check_drawn(settings: Mapping[str, Any], input_shape: Sequence[int]) -> None:
    for key in ("train_size", "test_size", "seed"):
        if not _whole(settings.get(key), 0) or settings[key] >= 2**63:
            raise ValueError(f"its source's {key} is {settings.get(key)!r:.100}, no whole number")
    if (settings["train_size"] + settings["test_size"]) * math.prod(input_shape) > LARGEST:
        raise ValueError(
            f"its source's train_size={settings['train_size']} and "
            f"test_size={settings['test_size']} are too large to be drawn"
        )


def read_checkpoint(path: Path) -> Any:
    """What is in the file, as tensors and plain values, on the CPU.

    Raises:
        ValueError: it holds other things too, or is damaged.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise ValueError(
                f"it holds more than tensors and plain values ({found[1]}), which could run code, "
                f"so it is not opened"
            ) from None
        raise ValueError("no checkpoint of train.py, or a damaged one") from None
    except PermissionError:
        raise
    except Exception:  # a foreign or damaged file can fail in any way
        raise ValueError("no checkpoint of train.py, or a damaged one") from None


def _build(card: Mapping[str, Any]) -> tuple[nn.Module, Preprocess]:
    """Model and preprocessing that the card describes, without memory for their numbers."""
    names = _typed(card.get("class_names"), list, "class_names", "a list of names")
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("its class_names are not a list of names")
    if len(set(names)) < len(names):
        raise ValueError("its class_names name a class twice")
    settings = dict(_typed(card.get("model"), dict, "model", "a mapping"))
    model_class = MODELS[_known(settings.pop("name", None), MODELS, "model")]
    preprocess_class = PREPROCESSINGS[_known(card.get("preprocess"), PREPROCESSINGS, "preprocess")]
    shape = _typed(settings.get("input_shape"), list, "input_shape", "a list of sizes")
    if len(shape) not in (1, 3) or not all(_whole(side, 1) for side in shape):
        raise ValueError(f"its input_shape is {shape!r:.100}, neither [C, H, W] nor [D]")
    if not _whole(settings.get("num_classes"), 1) or settings["num_classes"] != len(names):
        raise ValueError(
            f"its model has num_classes={settings.get('num_classes')!r:.100}, and class_names "
            f"are {len(names)}"
        )
    try:
        with torch.device("meta"):  # shapes alone
            model, preprocess = model_class(**settings), preprocess_class(shape)
        rows = layer_table(with_layers(model, nn), tuple(shape))
    except Exception as error:  # settings may be anything at all
        text = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"its model cannot be built: {printable(text):.200}") from None
    numbers = math.prod(shape) + sum(math.prod(row.output_shape) for row in rows)
    if 4 * numbers > LARGEST:
        raise ValueError(f"its model needs {4 * numbers / 2**30:,.0f} GiB for a single input")
    return model, preprocess


def _fill(whole: nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Give ``whole``, which is on the meta device, memory and the weights of ``state``."""
    wanted = whole.state_dict()
    given = {k: v for k, v in state.items() if str(k).startswith(("model.", "preprocess."))}
    if odd := sorted(map(str, set(wanted) ^ set(given))):
        raise ValueError(
            f"its weights are not those of its model: {printable(odd[0]):.100} is "
            f"{'missing' if odd[0] in wanted else 'not in the model'}"
        )
    for name, tensor in given.items():
        if (
            type(tensor) is not torch.Tensor
            or tensor.layout != torch.strided
            or tensor.is_floating_point() != wanted[name].is_floating_point()
            or tensor.is_complex()
            or tensor.is_quantized
        ):
            raise ValueError(f"its {name} is no tensor of numbers")
        if tensor.shape != wanted[name].shape:
            raise ValueError(
                f"its {name} has the shape {tuple(tensor.shape)}, and in its model "
                f"{tuple(wanted[name].shape)}"
            )
    if sum(tensor.numel() * tensor.element_size() for tensor in given.values()) > os.path.getsize(
        path
    ):
        raise ValueError("its weights are larger than the file")  # one number, said to be many
    whole.to_empty(device="cpu")
    whole.load_state_dict(given)


def _whole(value: Any, smallest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= smallest


def _typed(value: Any, kind: type, key: str, wanted: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"its {key} is {value!r:.100}, not {wanted}")
    return value


def _known(name: Any, names: Mapping[str, Any], key: str) -> str:
    if not isinstance(name, str) or name not in names:
        raise ValueError(f"its {key} is {name!r:.100}; known are {', '.join(names)}")
    return name
