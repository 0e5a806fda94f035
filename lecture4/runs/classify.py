"""What ``predict.py`` prints: classes of images, results of a test, a line about an export."""

import csv
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from rich.table import Table

from lecture4.data.decode import try_image
from lecture4.runs.predictor import Predictor, dataset_of, load
from lecture4.support.console import image_bar, make_console, make_table, printable
from lecture4.support.places import located
from lecture4.support.streams import check_written

SHOWN = 5  # classes in a row of the table
BATCH = 100  # images; no more are read before the first is classified


def run(
    run: str,
    images: Sequence[str],
    root: str | None,
    form: str | None,
    evaluate: bool,
    export: str | None,
) -> None:
    """Print the classes of images, or the test's results, or the exported file's description.

    Args:
        run: a run's directory, or a ``.ckpt`` file.
        images: files to classify, see ``lecture4.runs.locate.list_images``.
        root: the dataset's folder for ``evaluate``; None for the run's.
        form: output format, ``json`` or ``csv``; None for a table.
        evaluate: measure on the test set instead.
        export: a file to write the model to instead, ``.onnx`` or ``.pt2``.

    Raises:
        SystemExit: with code 1, if a file could not be read or the reader closed the pipe.
        ValueError: the run or its data cannot be read, or the model takes no images.
    """
    _compute_as_in_training()
    predictor = load_run(run)
    complete = True
    if evaluate:
        with located(printable(run)):
            dataset = dataset_of(predictor, root)
            other = predictor.data and dataset.difference(predictor.data, "test")
        if other:
            text = f"{run}: the test set is not the one of the run: {other}"
            print(printable(text), file=sys.stderr)
        with located(printable(run)):
            results = predictor.evaluate(dataset)
        _print_results({"test_size": len(dataset.test_labels), **results}, form)
    elif export:
        from lecture4.runs.export import write_model

        print(write_model(predictor, export))
    else:
        complete = _classify(predictor, images, form)
    check_written()
    if not complete:
        sys.exit(1)


def load_run(run: str) -> Predictor:
    """The result of ``load``; a line on stderr if the run trained with the formulas of a file."""
    predictor = load(run)
    if predictor.formulas_sha256:
        print(
            printable(
                f"{run}: trained and tested with the formulas of a file, sha256 "
                f"{predictor.formulas_sha256:.12}…, from which the accuracy in results.json comes; "
                f"this is computed with torch's"
            ),
            file=sys.stderr,
        )
    return predictor


def _compute_as_in_training() -> None:
    """Choose deterministic kernels, as ``lecture4.training.trainer`` does."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False


def _print_results(results: dict[str, Any], form: str | None) -> None:
    if form == "json":
        print(json.dumps(results, indent=2))
        return
    table = make_table()
    table.add_column("test")
    table.add_column(f"{results['test_size']:,} inputs", justify="right")
    table.add_row("accuracy", f"{results['test_accuracy']:.2%}")
    if (accuracy := results["test_time_accuracy"]) is not None:
        table.add_row(f"accuracy, {results['test_time']}", f"{accuracy:.2%}")
    table.add_row("loss", f"{results['test_loss']:.4f}")
    make_console().print(table)


def _classify(predictor: Predictor, paths: Sequence[str], form: str | None) -> bool:
    """Classify images and print the classes; return whether every file could be read."""
    pixels = predictor.pixels
    terminal = make_console(stderr=True)
    broken: list[str] = []

    def report(error: ValueError) -> None:
        broken.append(str(error))
        terminal.print(f"error: {printable(error)}", soft_wrap=True)

    with image_bar(terminal, len(paths)) as step:
        found = [
            (path, p)
            for read, images in read_batches(paths, pixels, report, step)
            for path, p in zip(read, predictor.probabilities(images), strict=True)
        ]
    if form == "json":
        _print_json(found, predictor.class_names)
    elif form == "csv":
        _print_csv(found, predictor.class_names)
    elif found:
        make_console().print(render(found, predictor.class_names))
    return not broken


def read_batches(
    paths: Sequence[str],
    pixels: tuple[int, int, str],
    report: Callable[[ValueError], None],
    step: Callable[[], None],
) -> Iterator[tuple[list[str], torch.Tensor]]:
    """Read images in parallel; yield paths and uint8 (N, C, S, S), up to ``BATCH`` at once.

    Args:
        paths: of the images.
        pixels: see ``Predictor.pixels``.
        report: called with the error of each file that cannot be read.
        step: called after each file.
    """
    read = partial(try_image, pixels=pixels)
    warnings.filterwarnings("ignore", module="PIL")  # it warns of odd files that it reads
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(paths), BATCH):
            batch = paths[first : first + BATCH]
            images = {}
            for i, image in enumerate(pool.map(read, batch)):  # Ctrl-C cancels the rest
                if isinstance(image, ValueError):
                    report(image)
                else:
                    images[i] = image
                step()
            if images:
                yield [batch[i] for i in images], torch.stack(list(images.values()))


def render(found: Sequence[tuple[str, torch.Tensor]], class_names: Sequence[str]) -> Table:
    """Make a table with a row for each image: its path and the most probable classes."""
    k = min(SHOWN, len(class_names))
    table = make_table()
    table.add_column("image", overflow="fold")
    for title in ("most probable", "2nd", "3rd", "4th", "5th")[:k]:
        table.add_column(title)
    for path, p in found:
        cells = (
            f"{printable(class_names[i])} {value:.1%}"
            for value, i in zip(*(part.tolist() for part in p.topk(k)), strict=True)
        )
        table.add_row(printable(path), *cells)
    return table


def _print_json(found: Sequence[tuple[str, torch.Tensor]], class_names: Sequence[str]) -> None:
    lines = []
    for path, p in found:
        values, order = (part.tolist() for part in p.sort(descending=True, stable=True))
        probabilities = {class_names[i]: value for i, value in zip(order, values, strict=True)}
        row = {"path": path, "label": class_names[order[0]], "probabilities": probabilities}
        lines.append(json.dumps(row))
    print("[\n" + ",\n".join(lines) + "\n]" if lines else "[]")


def _print_csv(found: Sequence[tuple[str, torch.Tensor]], class_names: Sequence[str]) -> None:
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # keep the bytes of a path
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["path", "label", *class_names])
    for path, p in found:
        rows.writerow([path, class_names[p.argmax()], *p.tolist()])
