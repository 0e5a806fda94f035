"""Predict from a checkpoint alone, in plain PyTorch."""

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from lecture4.data import PUBLISHED, SOURCES, Dataset
from lecture4.data.decode import RESIZES
from lecture4.data.views import TEST_TIMES, check_views, score_views
from lecture4.models.pipeline import Pipeline
from lecture4.runs.locate import find_checkpoint
from lecture4.support.console import printable
from lecture4.support.places import located, named
from lecture4.training.checkpoint import formulas_in, known, read_checkpoint, rebuild
from lecture4.training.formulas import TORCH, Formulas

# Lightning's name: the weights' type, and the type to which autocast rounds factors, or None.
PRECISIONS: dict[str, tuple[torch.dtype, torch.dtype | None]] = {
    "32-true": (torch.float32, None),
    "64-true": (torch.float64, None),
    "16-true": (torch.float16, None),
    "bf16-true": (torch.bfloat16, None),
    "bf16-mixed": (torch.float32, torch.bfloat16),
}


class Predictor:
    """A trained classifier: raw inputs (N, ...) -> scores and probabilities (N, K).

    It computes as the test of its run did: in the same precision, and on the same kind of device
    where there is one.

    Args:
        pipeline: fitted preprocessing and trained model; raw inputs -> scores.
        class_names: of the K classes.
        formulas: torch's or byhand's; ``evaluate`` reports their cross-entropy.
        precision: a key of ``PRECISIONS``.
        device: where to compute.
        eval_batch_size: batch size of the run's test.
        test_time: views of the run's test, see ``lecture4.data.views``.
        source: how to make the run's dataset again, see ``lecture4.data.Dataset``.
        data: the description of that dataset; None if the checkpoint has none.
        formulas_sha256: of the file of formulas that the run trained and tested with; None: it had
            none.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        class_names: Sequence[str],
        formulas: Formulas = TORCH,
        precision: str = "32-true",
        device: str = "cpu",
        eval_batch_size: int = 500,
        test_time: str = "none",
        source: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        formulas_sha256: str | None = None,
    ):
        self.dtype, self.autocast = PRECISIONS[precision]
        self.pipeline = pipeline.to(device, self.dtype).eval()
        self.class_names = list(class_names)
        self.cross_entropy = formulas.nn.CrossEntropyLoss()
        self.input_shape = tuple(pipeline.model.settings["input_shape"])
        self.precision = precision
        self.device = torch.device(device)
        self.eval_batch_size = eval_batch_size
        check_views(test_time, self.input_shape)
        self.test_time = test_time
        self.source = dict(source or {})
        self.data = data
        self.formulas_sha256 = formulas_sha256

    @property
    def pixels(self) -> tuple[int, int, str]:
        """Side, channels and resizing of the images that the model takes, for ``read_image``.

        Raises:
            ValueError: it takes points, or images of another kind.
        """
        if len(self.input_shape) != 3:
            raise ValueError(
                f"this model classifies points of {math.prod(self.input_shape)} coordinates, and "
                f"takes no images"
            )
        channels, height, width = self.input_shape
        if channels not in (1, 3) or height != width:
            raise ValueError(
                f"this model takes images of {channels} channels, {height}×{width} pixels; "
                f"files are read as squares of 1 or 3 channels"
            )
        return height, channels, known("resize", self.source.get("resize", "stretch"), RESIZES)

    @torch.inference_mode()
    def scores(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scores (N, K), on the CPU, of uint8 images (N, C, H, W) or points (N, D)."""
        x = inputs.to(self.device)
        if x.is_floating_point():
            x = x.to(self.dtype)
        autocast = torch.autocast(self.device.type, self.autocast) if self.autocast else None
        with autocast or nullcontext():
            scores = self.pipeline(x)
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
    def evaluate(self, dataset: Dataset) -> dict[str, Any]:
        """``test_accuracy``, ``test_loss`` and ``test_time_accuracy`` on a dataset's test inputs.

        They equal those in ``results.json`` bit for bit on the machine of the run, if it was one
        process and not compiled: the same batches, kernels and order of sums.
        """
        batches = dataset.test_inputs.split(self.eval_batch_size)
        scored = [score_views(self.scores, batch, self.test_time) for batch in batches]
        (scores, mean), labels = map(torch.cat, zip(*scored, strict=True)), dataset.test_labels
        plain, averaged = ((s.argmax(1) == labels).double().mean().item() for s in (scores, mean))
        return {
            "test_accuracy": plain,
            "test_loss": self.cross_entropy(scores, labels).item(),
            "test_time": self.test_time,
            "test_time_accuracy": None if self.test_time == "none" else averaged,
        }


def load(path: str | os.PathLike) -> Predictor:
    """Rebuild the classifier of a checkpoint: preprocessing, model, class names, test settings.

    Args:
        path: a run's directory, or a ``.ckpt`` file; see ``find_checkpoint``.

    Raises:
        ValueError: there is no checkpoint, or it cannot be read or rebuilt; names the file.
        PermissionError: the file cannot be opened.
    """
    path = find_checkpoint(path)
    checkpoint = read_checkpoint(path)
    card = checkpoint["classifier"]
    with located(printable(path)):
        return Predictor(
            rebuild(checkpoint),
            class_names=card["class_names"],
            formulas=formulas_in(card),
            precision=known("precision", card["precision"], PRECISIONS),
            device="cuda" if card["device"] == "cuda" and torch.cuda.is_available() else "cpu",
            eval_batch_size=card["eval_batch_size"],
            test_time=known("test_time", card["test_time"], TEST_TIMES),
            source=card["source"],
            data=card.get("data"),
            formulas_sha256=card.get("formulas_sha256"),
        )


def dataset_of(predictor: Predictor, root: str | os.PathLike | None = None) -> Dataset:
    """Make or read the dataset that the run was tested on, as ``predictor.source`` describes it.

    Args:
        predictor: of the run.
        root: the dataset's folder, to which it may be downloaded. None: where it was in the run, or
            else the folder that conf/data names, such as CIFAR10_ROOT or ``data``.

    Raises:
        ValueError: the source is unknown, there are no files, or their classes or shape differ from
            the model's.
        ConnectionError: the dataset cannot be downloaded.
    """
    settings = dict(predictor.source)
    name = known("source", settings.pop("name", None), SOURCES)
    if settings.get("val_root") and not Path(settings["val_root"]).is_dir():
        settings["val_root"] = None  # the test does not need it
    if "root" in settings:
        settings["root"] = root if root is not None else _root(name, settings["root"])
    elif root is not None:
        raise ValueError(f"data.root={root} does not apply: data={name} is generated, not read")
    dataset = named(f"data={name}", SOURCES[name], settings)
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


def usual_root(name: str) -> str:
    """The folder that conf/data names for a published dataset, such as CIFAR10_ROOT or ``data``."""
    return os.environ.get(f"{name.upper()}_ROOT", "data")


def _root(name: str, recorded: str) -> str:
    """The run's folder, if its files are still there; nothing is downloaded to a recorded path."""
    if name in PUBLISHED:
        return recorded if PUBLISHED[name].lies_in(recorded) else usual_root(name)
    if (Path(recorded) / "train").is_dir():
        return recorded
    raise ValueError(
        f"the run's images are not in {printable(recorded)}; say where they are with data.root="
    )
