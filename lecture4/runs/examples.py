"""Images to look at: files, or test images of a run."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from lecture4.data import PUBLISHED
from lecture4.data.decode import read_image
from lecture4.runs.predictor import Predictor, dataset_of, usual_root
from lecture4.support.console import printable

MOST = 10  # test images


def find_examples(
    predictor: Predictor, paths: Sequence[str] = (), root: str | None = None
) -> list[tuple[str, torch.Tensor]]:
    """Labels and uint8 pixels (C, H, W) of files, or of the first test image of each class.

    Args:
        predictor: of the run.
        paths: of images; labelled with their names.
        root: the dataset's folder, as of ``dataset_of``. None: the run's; if the data are not
            there, nothing is downloaded, a line on stderr says so, and there are no examples.

    Raises:
        ValueError: a file cannot be read, ``root`` has other data, or the model takes no images.
    """
    pixels = predictor.pixels
    if paths:
        return [(Path(path).name, read_image(path, *pixels)) for path in paths]
    try:
        if root is None:
            _check_there(predictor)
        dataset = dataset_of(predictor, root)
    except ValueError as error:
        if root is not None:
            raise
        print(f"no test images: {printable(error)}", file=sys.stderr)
        return []
    labels = dataset.test_labels
    first = [(labels == k).nonzero()[:1] for k in range(len(dataset.class_names))]
    return [
        (dataset.class_names[labels[i]], dataset.test_inputs[i]) for i in torch.cat(first)[:MOST, 0]
    ]


def _check_there(predictor: Predictor) -> None:
    """Raise ValueError where ``dataset_of`` would download a published dataset."""
    name = predictor.source.get("name")
    roots = predictor.source.get("root"), usual_root(str(name))
    if name in PUBLISHED and not any(root and PUBLISHED[name].lies_in(root) for root in roots):
        raise ValueError(f"data={name} is not there; say where it is with data.root=")
