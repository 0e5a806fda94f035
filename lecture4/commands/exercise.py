"""``exercise.py``: write the lecture's formulas yourself, and have them checked."""

import argparse
import json
import math
from pathlib import Path

from lecture4.commands.errors import Parser, plain_errors
from lecture4.support.files import write_atomically
from lecture4.support.streams import check_written

EXAMPLES = """\
python exercise.py                          # the lecture's formulas, and which are solved
python exercise.py new mine.py              # signatures, formulas and shapes; bodies to fill in
python exercise.py new mine.ipynb           # the same as a notebook
python exercise.py check mine.py            # a row for each function, and what is wrong
python exercise.py check mine.py conv2d     # one of them, case by case
python exercise.py check mine.py --train    # train on it, beside the lecture's own formulas
"""
STYLES = {
    "pairs": "NAME_forward and NAME_backward, on NumPy arrays",
    "torch": "functions of torch.nn.functional, differentiable by autograd",
    "course": "affine_forward, conv_forward_naive, …, as in well-known assignments",
}
SUFFIXES = (".py", ".ipynb")


def main() -> None:
    """Parse the command line, then list, begin or check a file."""
    with plain_errors():
        options = _parser().parse_args()
        match options.command:
            case "new":
                _new(Path(options.file), options.style)
            case "check":
                _check(options)
            case _:
                from lecture4.lesson.exercises import progress

                progress.show()


def _new(file: Path, style: str) -> None:
    _require_suffix(file)
    from lecture4.lesson.exercises import template

    template.write(file, style)
    print(f"{file}: fill in the bodies, then python exercise.py check {file}")


def _check(options: argparse.Namespace) -> None:
    """Check a file; exit with code 1 if something that is begun is not right."""
    gradescope = Path(options.gradescope) if options.gradescope else None
    try:
        code = _checked(options, Path(options.file), gradescope)
    except ValueError as error:
        if gradescope:  # without it the autograder would only say that it failed
            write_atomically(gradescope, json.dumps({"score": 0.0, "output": str(error)}))
        raise
    if options.train:
        from lecture4.lesson.exercises import curves  # imports Lightning
        from lecture4.support.console import make_console

        curves.show(make_console(stderr=options.json), Path(options.file))
    check_written(gone=code)
    raise SystemExit(code)


def _checked(options: argparse.Namespace, file: Path, gradescope: Path | None) -> int:
    _require_suffix(file)
    if not file.is_file():
        absent = f"does not exist; python exercise.py new {file} writes it"
        raise ValueError(f"{file} {'is a folder' if file.is_dir() else absent}")
    if not 0 < options.timeout < math.inf:
        raise ValueError(f"--timeout {options.timeout:g} must be a number of seconds > 0")
    from lecture4.lesson.exercises import processes

    processes.start_server(__name__)  # it imports torch while this process does
    from lecture4.lesson.exercises import check  # imports torch
    from lecture4.lesson.exercises.typeset import formula_of

    names = tuple(dict.fromkeys(formula_of(name) or name for name in options.names))
    return check.run(file, names, options.timeout, options.json, gradescope)


def _require_suffix(file: Path) -> None:
    if file.suffix not in SUFFIXES:
        raise ValueError(f"{file} must be a file named .py or .ipynb")


def _parser() -> argparse.ArgumentParser:
    form = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = Parser(
        prog="exercise.py",
        description="Write the lecture's formulas yourself, and have them checked.",
        epilog=f"examples:\n{EXAMPLES}",
        **form,
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", help="without one: the formulas, and which are solved"
    )
    new = commands.add_parser(
        "new", help="write a file or notebook of functions to fill in", **form
    )
    new.add_argument("file", metavar="FILE", help="a .py or .ipynb that does not exist yet")
    styles = "; ".join(f"{name}: {meaning}" for name, meaning in STYLES.items())
    new.add_argument("--style", choices=STYLES, default="pairs", help=styles)
    check = commands.add_parser("check", help="check a file against the lecture's formulas", **form)
    check.add_argument("file", metavar="FILE", help="a .py or .ipynb; it is run, so read it first")
    check.add_argument("names", metavar="NAME", nargs="*", help="formulas to show case by case")
    check.add_argument(
        "--timeout", type=float, default=10, metavar="S",
        help="seconds of computing for each function (default: 10), and three times as many in all",
    )  # fmt: skip
    check.add_argument("--json", action="store_true", help="print one object")
    check.add_argument("--gradescope", metavar="FILE", help="write Gradescope's results.json")
    check.add_argument(
        "--train", action="store_true",
        help="then train a small net on these formulas and on the lecture's",
    )  # fmt: skip
    return parser
