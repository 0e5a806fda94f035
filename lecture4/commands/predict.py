"""``predict.py``: classify images with a trained run, test or export it, or look inside."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lecture4.commands.errors import Parser, plain_errors
from lecture4.support.streams import check_written

EXAMPLES = """\
python predict.py outputs/…/… cat.jpg            # the five most probable classes
python predict.py RUN holiday/ --csv > out.csv   # every image below a folder
python predict.py RUN --evaluate                 # repeat the test of the run
python predict.py RUN --export model.onnx        # for programs without PyTorch
python predict.py RUN --page inside.html         # look inside it in a browser
"""
ROOT = "data.root="


def main() -> None:
    """Parse the command line, then classify, evaluate, export or write a page."""
    with plain_errors():
        options = read_arguments()
        find_files(options)
        page = vars(options).pop("page")
        if page:
            write_page(options.run, options.images, options.root, Path(page))
            return
        from lecture4.runs.classify import run  # imports torch

        run(**vars(options))


def read_arguments() -> argparse.Namespace:
    """Parse the command line: run, images, root, form, evaluate, export, page.

    Raises:
        ValueError: options that exclude each other, or nothing to do.
    """
    options = _parser().parse_intermixed_args()
    inputs = vars(options).pop("inputs")
    roots = [text.removeprefix(ROOT) for text in inputs if text.startswith(ROOT)]
    options.images = [text for text in inputs if not text.startswith(ROOT)]
    options.root = roots[-1] if roots else None
    if roots and not (options.evaluate or options.page):
        raise ValueError(
            f"{ROOT} needs --evaluate or --page; write a file of that name as ./{ROOT}"
        )
    if "" in roots:
        raise ValueError(f"{ROOT} needs a folder")
    given = {"--evaluate": options.evaluate, "--export": options.export, "--page": options.page}
    instead = next((name for name, value in given.items() if value), None)
    if options.images and instead and not options.page:
        raise ValueError(f"{instead} takes no images, such as {options.images[0]!r}")
    if not (options.images or instead):
        raise ValueError(
            "nothing to do; give images or folders, or --evaluate, --export FILE or --page FILE"
        )
    if instead and options.form and not (options.evaluate and options.form == "json"):
        raise ValueError(f"{instead} does not support --{options.form}")
    return options


def find_files(options: argparse.Namespace) -> None:
    """Replace the folders among ``options.images`` by their images, before torch is imported.

    Raises:
        ValueError: the run, an image or the place of an export or page does not exist.
        OSError: a folder cannot be read.
    """
    from lecture4.runs import locate  # imports rich, which --help does not need
    from lecture4.support.console import printable
    from lecture4.support.image_files import summary

    locate.find_checkpoint(options.run)
    if options.export:
        locate.check_export(Path(options.export))
    if options.page:
        locate.check_page(Path(options.page))
    options.images, left_out = locate.list_images(options.images)
    if left_out:
        print(f"left out {printable(summary(left_out))}", file=sys.stderr)


def write_page(run: str, images: Sequence[str], root: str | None, path: Path) -> None:
    """Write a page that looks inside the model of a run, and print a line about it.

    Args:
        run: a run's directory, or a ``.ckpt`` file.
        images: files to show; without, test images of the run.
        root: see ``find_examples``.
        path: of the page.

    Raises:
        ValueError: the run or an image cannot be read, or the model cannot be shown.
        OSError: the page cannot be written.
    """
    from lecture4.lesson.page.look_inside import describe, render_inside
    from lecture4.runs.classify import load_run
    from lecture4.runs.examples import find_examples
    from lecture4.support.console import printable
    from lecture4.support.files import write_atomically

    predictor = load_run(run)
    examples = find_examples(predictor, images, root)
    resize = predictor.pixels[2]
    net = describe(predictor.pipeline, predictor.class_names, examples, resize)
    content = render_inside(net)
    write_atomically(path, content)
    size = len(content.encode()) / 1e6
    images_word = "image" if len(examples) == 1 else "images"
    print(f"{printable(path)}: {net['model']}, {len(examples)} {images_word}, {size:.1f} MB")
    check_written()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="predict.py",
        description="Classify images with a trained run, test it again, export it, or look inside.",
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
    instead.add_argument(
        "--page",
        metavar="FILE",
        help="write an .html page that looks inside the model: at the images given, or at a test "
        "image of each class; data.root=DIR if they have moved",
    )
    return parser
