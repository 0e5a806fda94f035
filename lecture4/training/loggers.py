"""Lightning's loggers, extended by hyperparameters, figures and the run's outcome.

``callbacks.Records`` calls them. In addition to Lightning's methods, each logger has

- ``log_figure(path, step)``;
- ``outcome``: how the run ended, which ``finalize`` records; None while it runs;
- ``viewer``: the command or address that shows the records, or "".
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
from filelock import FileLock
from PIL import Image
from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from torch.utils.tensorboard.summary import hparams

from lecture4.support import private

Outcome = Literal["finished", "failed", "killed"]


class TensorBoard(TensorBoardLogger):
    """TensorBoard's files, with hyperparameters in its HParams tab and figures in its Images.

    Lightning writes a description of the HParams columns into each run, and TensorBoard applies the
    first run's to all. Without a description it shows the hyperparameters of every run.
    """

    outcome: Outcome | None = None
    viewer = ""

    def log_hyperparams(self, params: Mapping, metrics: None = None, step: None = None) -> None:
        """Write hparams.yaml and the run's row of the HParams tab."""
        flat = flatten(params)
        super().log_hyperparams(flat)
        plain = {k: v if type(v) in (int, float) else str(v) for k, v in flat.items()}
        _columns, row, _end = hparams(plain, {})
        self.experiment.file_writer.add_summary(row)

    def log_figure(self, path: Path, step: int) -> None:
        """Add a figure."""
        image = np.asarray(Image.open(path).convert("RGB"))
        self.experiment.add_image(f"figures/{path.stem}", image, step, dataformats="HWC")

    def finalize(self, status: str) -> None:
        """Mark a finished run as a success, and close the files."""
        if self.outcome == "finished":
            _columns, _row, end = hparams({}, {})
            self.experiment.file_writer.add_summary(end)
        super().finalize(status)


class Wandb(WandbLogger):
    """Weights & Biases, with a run for each job of a sweep."""

    outcome: Outcome | None = None
    EXIT_CODES = {"finished": 0, "failed": 1, "killed": 130}

    def __init__(self, **options: Any):
        super().__init__(**options)
        private.drop_anonymous(self)

    @property
    def viewer(self) -> str:
        """The run's page; offline, the command that uploads it."""
        run = self.experiment
        return shlex.join(["wandb", "sync", str(Path(run.dir).parent)]) if run.offline else run.url

    def log_figure(self, path: Path, step: int) -> None:
        """Log a figure."""
        self.log_image(f"figures/{path.stem}", [str(path)], step)

    def finalize(self, status: str) -> None:
        """End the run with an exit code."""
        super().finalize(status)
        if self.outcome:
            self.experiment.finish(self.EXIT_CODES[self.outcome])


class MLflow(MLFlowLogger):
    """MLflow; several processes may create its database at the same time.

    Args:
        tracking_uri: of a server or database; None: ``mlruns.db`` in ``folder``.
        folder: of ``mlruns.db``, and of ``mlruns/`` for the figures.
        experiment_name: the experiment that lists the runs.
        artifact_location: URI of the figures; None: MLflow's default with a ``tracking_uri``.
        options: further arguments of Lightning's ``MLFlowLogger``.
    """

    outcome: Outcome | None = None

    def __init__(
        self,
        tracking_uri: str | None,
        folder: str | os.PathLike,
        experiment_name: str,
        artifact_location: str | None = None,
        **options: Any,
    ):
        # read when mlflow is imported; its errors are raised, too
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # no warning if git is missing
        if tracking_uri is None:
            tracking_uri = sqlite_uri(Path(folder, "mlruns.db"))
            artifact_location = artifact_location or Path(folder, "mlruns").absolute().as_uri()
        with _creation(tracking_uri):
            super().__init__(
                experiment_name,
                tracking_uri=tracking_uri,
                artifact_location=artifact_location,
                **options,
            )
            from mlflow import MlflowClient

            client = MlflowClient(tracking_uri)
            if client.get_experiment_by_name(experiment_name) is None:
                client.create_experiment(experiment_name, artifact_location)
        local = shlex.join(["mlflow", "ui", "--backend-store-uri", tracking_uri])
        self.viewer = tracking_uri if tracking_uri.startswith("http") else local

    def log_hyperparams(self, params: Mapping) -> None:
        """Log hyperparameters under their names on the command line."""
        super().log_hyperparams(flatten(params))

    def log_figure(self, path: Path, step: int) -> None:
        """Save a figure as an artifact of the run."""
        self.experiment.log_artifact(self.run_id, str(path), "figures")

    def finalize(self, status: str) -> None:
        """End the run after its test or an error; Lightning would end it after training."""
        if self.outcome:
            super().finalize(self.outcome.upper())


def sqlite_uri(path: Path) -> str:
    """The address of an SQLite file, as SQLAlchemy reads it.

    MLflow takes the text after sqlite:/// as a path, and creates its folders. A path that
    SQLAlchemy escapes or reads otherwise, such as one with a question mark, becomes a URI that
    SQLite decodes.
    """
    from sqlalchemy.engine import URL, make_url

    path = path.absolute()
    plain = URL.create("sqlite", database=str(path))
    if str(plain) == f"sqlite:///{path}" and make_url(str(plain)) == plain:
        return str(plain)
    return str(URL.create("sqlite+pysqlite", database=path.as_uri(), query={"uri": "true"}))


def _creation(tracking_uri: str) -> AbstractContextManager:
    """The lock under which an SQLite database is created; nothing for other addresses."""
    if not tracking_uri.startswith("sqlite"):
        return nullcontext()
    from sqlalchemy.engine import make_url

    database = make_url(tracking_uri).database or ""
    path = url2pathname(urlsplit(database).path) if database.startswith("file:") else database
    return FileLock(f"{path}.lock") if path not in ("", ":memory:") else nullcontext()


def flatten(tree: Mapping | Sequence, prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}, "c": [{"d": 2}]}`` -> ``{"a.b": 1, "c.0.d": 2}``."""
    flat = {}
    for name, value in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
        trees = isinstance(value, list) and any(isinstance(v, Mapping) for v in value)
        if isinstance(value, Mapping) or trees:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
