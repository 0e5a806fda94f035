"""Write and read the description of a classifier in a checkpoint.

Reading an untrusted checkpoint is safe: it is loaded with ``weights_only=True``, and its names are
looked up among this package's models, preprocessings and formulas.
"""

import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lecture4.data.preprocess import PREPROCESSINGS
from lecture4.models import MODELS
from lecture4.models.pipeline import Pipeline
from lecture4.support.console import printable
from lecture4.support.files import check_archive
from lecture4.training import formulas

KEYS = (
    *("model", "formulas", "preprocess", "class_names", "metrics"),
    *("precision", "device", "eval_batch_size", "test_time", "source"),
)


def card(classifier: nn.Module, datamodule: Any, precision: str) -> dict[str, Any]:
    """Describe a classifier in plain values: enough to predict and to repeat its test.

    Args:
        classifier: a ``lecture4.training.classifier.Classifier``.
        datamodule: its ``lecture4.training.datamodule.DataModule``.
        precision: Lightning's name of the precision, such as ``32-true``.
    """
    source = classifier.formulas.source
    return {
        "model": {"name": type(classifier.model).__name__, **classifier.model.settings},
        "formulas": classifier.formulas.name,
        **({"formulas_sha256": source.sha256} if source else {}),
        "preprocess": type(classifier.preprocess).__name__,
        "class_names": list(classifier.class_names),
        "metrics": dict(classifier.metrics),
        "precision": precision,
        "device": classifier.device.type,
        "eval_batch_size": datamodule.eval_batch_size,
        "test_time": classifier.test_time,
        "source": dict(datamodule.dataset.source),
        "data": datamodule.dataset.description,
    }


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint of ``train.py`` as tensors and plain values, on the CPU.

    Raises:
        ValueError: the file is damaged, holds more than tensors and plain values, or has no
            description by ``card``.
        FileNotFoundError, PermissionError: the file cannot be opened.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(path, map_location="cpu", weights_only=True)
        check_archive(path)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # damaged or foreign files fail in many ways
        reason = "not a checkpoint of train.py, or a damaged one"
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found and isinstance(error, pickle.UnpicklingError):
            reason = (
                f"it holds more than tensors and plain values ({found[1]}), which could run code, "
                f"so it is not loaded"
            )
        raise ValueError(f"{printable(path)}: {reason}") from None
    described = content.get("classifier") if isinstance(content, dict) else None
    if not isinstance(described, dict) or not isinstance(content.get("state_dict"), dict):
        raise ValueError(
            f"{printable(path)}: not a checkpoint of train.py: it does not describe a classifier"
        )
    if missing := [key for key in KEYS if key not in described]:
        raise ValueError(
            f"{printable(path)}: written by another version of this program: its classifier lacks "
            f"{missing[0]}"
        )
    return content


def rebuild(checkpoint: Mapping[str, Any]) -> Pipeline:
    """Build preprocessing and model from a checkpoint, with its weights.

    Raises:
        ValueError: a name is unknown, the model cannot be built, or the weights do not fit it.
    """
    described = checkpoint["classifier"]
    settings = dict(described["model"])
    model = MODELS[known("model", settings.pop("name", None), MODELS)]
    preprocess = PREPROCESSINGS[known("preprocess", described["preprocess"], PREPROCESSINGS)]
    layers = formulas_in(described).nn
    try:
        pipeline = Pipeline(preprocess(settings["input_shape"]), model(**settings, layers=layers))
    except Exception as error:  # settings may hold anything
        raise ValueError(f"its model cannot be built: {_first_line(error)}") from None
    state = {
        name: tensor
        for name, tensor in checkpoint["state_dict"].items()
        if str(name).startswith(("preprocess.", "model."))
    }
    try:
        pipeline.load_state_dict(
            state, strict=True, assign=True
        )  # assign keeps the checkpoint's dtype
    except RuntimeError as error:
        reason = str(error).partition("\n")[2] or str(error)  # below torch's headline
        raise ValueError(f"its weights do not fit its model: {_first_line(reason)}") from None
    return pipeline


def formulas_in(described: Mapping[str, Any]) -> formulas.Formulas:
    """The formulas to predict with: torch's for a run with a file's, which is not part of it.

    Raises:
        ValueError: their name is unknown.
    """
    name = known("formulas", described["formulas"], (*formulas.FORMULAS, formulas.FILE))
    return formulas.TORCH if name == formulas.FILE else formulas.FORMULAS[name]


def known(key: str, name: Any, names: Iterable[str]) -> str:
    """Return ``name``, a checkpoint's value of ``key``, if it is one of ``names``.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(name, str) or name not in names:
        raise ValueError(f"its {key} is {name!r:.100}; known are {', '.join(names)}")
    return name


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{printable(lines[0].strip()):.200}"
