"""Read the command line, and print errors as one plain sentence."""

import argparse
import logging
import os
import re
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Any, NoReturn

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)

from lecture4.commands.hints import FORMER, unknown_key
from lecture4.runs import resume, sweep
from lecture4.runs.recorded import quoted
from lecture4.support import private
from lecture4.support.outputs import Outputs
from lecture4.support.processes import forget_stray_ranks, print_once, rank
from lecture4.support.streams import tolerate_errors
from lecture4.training.processes import in_sweep

# choices that need an optional package, and the extra that installs it
EXTRAS = {
    "wandb": "wandb",
    "mlflow": "mlflow",
    "optuna": "sweep",
    "joblib": "sweep",
    "ray": "ray",
    "submitit_local": "slurm",
    "submitit_slurm": "slurm",
}


class plain_errors(ContextDecorator):  # noqa: N801, like contextlib's own
    """Print an error as a line on stderr; exit with code 1, or 130 after Ctrl-C.

    It wraps the job, and Hydra, which raises its own errors. A job of a sweep writes its error to
    results.json and returns None, so that the sweep continues. If the user sets
    HYDRA_FULL_ERROR=1, the traceback is printed.

    It has no state, so that launchers can pickle the function that it decorates.
    """

    def __enter__(self) -> None:
        # With HYDRA_FULL_ERROR=1, Hydra raises errors instead of printing them.
        os.environ.setdefault("LECTURE4_FULL_ERROR", os.environ.get("HYDRA_FULL_ERROR", "0"))
        os.environ["HYDRA_FULL_ERROR"] = "1"
        if threading.excepthook is threading.__excepthook__:
            threading.excepthook = _print_unless_raised
        if sys.unraisablehook is sys.__unraisablehook__ and hasattr(signal, "pthread_kill"):
            sys.unraisablehook = _interrupt_again
        tolerate_errors()
        silence_libraries()

    def __exit__(self, kind, error: BaseException | None, trace) -> bool:
        if isinstance(error, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
            sys.exit(130)
        if isinstance(error, SystemExit):
            if isinstance(error.__cause__, Exception):  # raised so where Hydra would hide it
                _report(error.__cause__)
            # Lightning exits so after signals; its callbacks have printed a message
            if isinstance(error.__context__, KeyboardInterrupt):
                sys.exit(130)
            sys.exit(143 if type(error).__name__ == "SIGTERMException" else error.code)
        if not isinstance(error, Exception):
            return False
        _report(error)
        if not in_sweep():
            sys.exit(1)
        outputs, told = Outputs(), sentence(error)
        outputs.write("results.json", lambda: sweep.record(run_directory(), "failed", told))
        outputs.report(run_directory())
        return True


def _report(error: Exception) -> None:
    """Print an error, once for all processes that raise it before they have met."""
    if os.environ["LECTURE4_FULL_ERROR"] == "1":
        traceback.print_exception(error)
    else:
        print_once(f"error: {sentence(error)}")


class Parser(argparse.ArgumentParser):
    """Raises errors, where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        """Raise ValueError."""
        raise ValueError(f"{message}; see {self.prog} --help")


def check_flags() -> None:
    """Refuse flags that Hydra does not know, before Hydra prints its usage text.

    Raises:
        ValueError: a flag is unknown, or follows a setting.
    """

    def refuse(message: str) -> NoReturn:
        advice = f"see {parser.prog} --help"
        if "=" in message and " -" not in message:  # settings after a flag after settings
            advice = "put flags such as -m before every setting"
        raise ValueError(f"{message}; {advice}")

    parser = private.hydra_parser()
    parser.error = refuse
    parser.parse_args()


def read_arguments() -> None:
    """Check flags, translate ``resume=RUN`` for Hydra, and let only rank 0 record the run."""
    check_flags()
    forget_stray_ranks()
    arguments = resume.hydra_arguments(sys.argv[1:])
    if rank() and not any(word.startswith("hydra.run.dir=") for word in arguments):
        # or Hydra would create a second run directory; rank 0 broadcasts its own
        arguments.append(f"hydra.run.dir={tempfile.gettempdir()}")
    sys.argv[1:] = arguments


def sentence(error: BaseException) -> str:
    """The message for an error, in at most two lines; long lines lose their middle."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    for kind, pattern, answer in KNOWN:
        if isinstance(error, kind) and (match := re.search(pattern, text)):
            text = answer(error, match)
            break
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    from lecture4.support.console import printable, shortened

    return "\n".join(printable(shortened(line)) for line in lines[:2])


def _unknown_choice(error: MissingConfigException, match: re.Match) -> str:
    group, choice = match.groups()
    if choice in EXTRAS:
        return f"{group}={choice} needs an extra package: {_install(choice)}"
    if f"{group}={choice}" in FORMER:
        return f"{group}={choice} is no longer a choice; {FORMER[f'{group}={choice}']}"
    return f"{group}={choice} is unknown; choose one of {', '.join(sorted(error.options))}"


def _in_quotes(word: str) -> str:
    key, equals, value = word.partition("=")
    if not equals:
        return ""
    from lecture4.support.console import command_line

    return (
        f"; a text with other characters is quoted twice: {command_line(f'{key}={quoted(value)}')}"
    )


def _install(package: str) -> str:
    return f"pip install -e '.[{EXTRAS[package]}]'"


WITHOUT_CONF = (
    "conf/ is not installed with the package; clone the repository, and run train.py or "
    "pip install -e . there"
)
# Errors that need another text: type, pattern in the text, sentence.
KNOWN: list[tuple[Any, str, Callable[[Any, re.Match], str]]] = [
    (MissingConfigException, "^Primary config", lambda e, m: WITHOUT_CONF),
    (FileNotFoundError, "conf/(train|lecture).yaml", lambda e, m: WITHOUT_CONF),
    (MissingConfigException, r"Could not find '(.+)/([^/']+)'\s+Available", _unknown_choice),
    (ConfigCompositionException, r"Could not override '([^']+)'", lambda e, m: unknown_key(m[1])),
    (
        ValueError,
        "^Config group override",
        lambda e, m: "a group takes the name of a choice, as in model=mlp; --help lists them",
    ),
    (
        OverrideParseException,
        "",
        lambda e, m: (
            f"{e.override} cannot be read as a setting, such as optim.lr=0.1"
            f"{_in_quotes(e.override)}"
        ),
    ),
    (
        HydraException,
        r"Ambiguous value for argument '([^']+)'",
        lambda e, m: (
            f"{m[1]}: a list is written [a,b]; to try several values, put -m before the first "
            f"setting"
        ),
    ),
    (
        ModuleNotFoundError,
        "wandb|mlflow",
        lambda e, m: f"logger={m[0]} needs an extra package: {_install(m[0])}",
    ),
    (
        ModuleNotFoundError,
        "optuna",
        lambda e, m: f"sweep=optuna needs an extra package: {_install('optuna')}",
    ),
    (
        TypeError,
        r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'",
        lambda e, m: f"{m[1]} has no setting {m[2]}; --help lists the settings",
    ),
    (OSError, r"^\[Errno", lambda e, m: f"{e.filename}: {e.strerror}" if e.filename else str(e)),
    (
        LookupError | TypeError | AttributeError | AssertionError,
        "(?s).+",
        lambda e, m: f"{type(e).__name__}: {m[0]}",
    ),
]


def run_directory() -> str:
    """The run's directory, from Hydra."""
    from hydra.core.hydra_config import HydraConfig

    return HydraConfig.get().runtime.output_dir


def silence_libraries() -> None:
    """Silence library messages about deliberate choices."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # ⌊ and − as ? in other encodings
    for name in (
        "pytorch_lightning.utilities.rank_zero",
        "lightning_fabric.utilities.rank_zero",
        "pytorch_lightning.accelerators.cuda",  # which GPUs are visible
    ):
        logging.getLogger(name).addFilter(_is_warning)
    for message in (
        "(?s)Experiment logs directory .* exists",  # metrics.csv is in the run's directory
        "(?s)Checkpoint directory .* exists",
        "The .*dataloader.* does not have many workers",  # batches from memory need none
        "The number of training batches .* is smaller than the logging interval",
        ".*LeafSpec.* is deprecated",  # Lightning's use of torch
        "Glyph .* missing from font",  # in class names
    ):
        warnings.filterwarnings("ignore", message=message)


def _print_unless_raised(thread: Any) -> None:
    """Print a thread's error, unless it is of a file: TensorBoard's writer raises it once more."""
    if not issubclass(thread.exc_type, OSError):
        threading.__excepthook__(thread)


def _interrupt_again(unraisable: Any) -> None:
    """Repeat a Ctrl-C that Python dropped because it arrived within a ``__del__``."""
    if unraisable.exc_type is KeyboardInterrupt:
        main = threading.main_thread().ident
        threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(unraisable)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
