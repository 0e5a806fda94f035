"""``predict.py``: the command line of prediction."""

import argparse

from lecture4.commands.errors import Parser, plain_errors

EXAMPLES = """\
python predict.py outputs/…/… cat.jpg            # the five most probable classes
python predict.py RUN holiday/ --csv > out.csv   # every image below a folder
python predict.py RUN --evaluate                 # the run's test accuracy and loss once more
python predict.py RUN --export model.onnx        # for programs without PyTorch
"""


def main() -> None:
    """Read the command line, and do what it says."""
    with plain_errors():
        options = read_arguments()
        from lecture4.runs.classify import run

        run(**vars(options))


def read_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = Parser(
        prog="predict.py",
        description="Classify images with a trained run, test it again, or export it.",
        epilog=f"examples:\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="a run's directory (its best epoch), or a .ckpt")
    parser.add_argument(
        "inputs", metavar="IMAGE", nargs="*", help="image files, and folders of them; after -- any"
    )
    form = parser.add_mutually_exclusive_group()
    for name, what in (
        ("json", "a list of {path, label, probabilities}, or with --evaluate an object"),
        ("csv", "path, label, and a column for each class"),
    ):
        form.add_argument(f"--{name}", action="store_const", dest="form", const=name, help=what)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--evaluate", action="store_true", help="measure on the test set; data.root=… says where"
    )
    instead.add_argument("--export", metavar="FILE", help="write the model as .onnx or .pt2")
    return parser.parse_intermixed_args()
