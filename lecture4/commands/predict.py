"""``predict.py``: classify images with a trained run, test it again, or export it."""

import argparse
import sys
from pathlib import Path

from lecture4.commands.errors import Parser, plain_errors

EXAMPLES = """\
python predict.py outputs/…/… cat.jpg            # the five most probable classes
python predict.py RUN holiday/ --csv > out.csv   # every image below a folder
python predict.py RUN --evaluate                 # repeat the test of the run
python predict.py RUN --export model.onnx        # for programs without PyTorch
"""
ROOT = "data.root="


def main() -> None:
    """Parse the command line, then classify, evaluate or export."""
    with plain_errors():
        options = read_arguments()
        find_files(options)
        from lecture4.runs.classify import run  # imports torch

        run(**vars(options))


def read_arguments() -> argparse.Namespace:
    """Parse the command line: run, images, root, form, evaluate, export.

    Raises:
        ValueError: options that exclude each other, or nothing to do.
    """
    options = _parser().parse_intermixed_args()
    inputs = vars(options).pop("inputs")
    roots = [text.removeprefix(ROOT) for text in inputs if text.startswith(ROOT)]
    options.images = [text for text in inputs if not text.startswith(ROOT)]
    options.root = roots[-1] if roots else None
    if roots and not options.evaluate:
        raise ValueError(f"{ROOT} needs --evaluate; write a file of that name as ./{ROOT}")
    if "" in roots:
        raise ValueError(f"{ROOT} needs a folder")
    instead = "--evaluate" if options.evaluate else "--export" if options.export else None
    if options.images and instead:
        raise ValueError(f"{instead} takes no images, such as {options.images[0]!r}")
    if not (options.images or instead):
        raise ValueError("nothing to do; give images or folders, or --evaluate, or --export FILE")
    if (options.evaluate and options.form == "csv") or (options.export and options.form):
        raise ValueError(f"{instead} does not support --{options.form}")
    return options


def find_files(options: argparse.Namespace) -> None:
    """Replace the folders among ``options.images`` by their images, before torch is imported.

    Raises:
        ValueError: the run, an image or the place of an export does not exist.
        OSError: a folder cannot be read.
    """
    from lecture4.runs import locate  # imports rich, which --help does not need
    from lecture4.support.console import printable
    from lecture4.support.image_files import summary

    locate.find_checkpoint(options.run)
    if options.export:
        locate.check_export(Path(options.export))
    options.images, left_out = locate.list_images(options.images)
    if left_out:
        print(f"left out {printable(summary(left_out))}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="predict.py",
        description="Classify images with a trained run, test it again, or export it.",
        epilog=f"examples:\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a run's directory (its best epoch, or its last without validation), or a .ckpt",
    )
    parser.add_argument(
        "inputs", metavar="IMAGE", nargs="*", help="image files and folders; after --, any name"
    )
    form = parser.add_mutually_exclusive_group()
    for name, what in (
        ("json", "a list of {path, label, probabilities}, or with --evaluate an object"),
        ("csv", "path, label, and a column for each class"),
    ):
        form.add_argument(f"--{name}", action="store_const", dest="form", const=name, help=what)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--evaluate",
        action="store_true",
        help="measure on the test set; data.root=DIR if it has moved",
    )
    instead.add_argument("--export", metavar="FILE", help="write the model as .onnx or .pt2")
    return parser
