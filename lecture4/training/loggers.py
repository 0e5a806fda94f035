"""Lightning's loggers, completed: what was chosen, the figures, and how the run ended.

``callbacks.Records`` gives them all of this. Each has, besides Lightning's methods,

- ``log_figure(path, step)``, which takes a picture;
- ``outcome``, how the run ended, by which ``finalize`` closes it; None while it goes on;
- ``look``, the command or address that shows what was logged, where it is not the usual one.
"""

import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock
from PIL import Image
from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

Outcome = Literal["finished", "failed", "killed"]


class TensorBoard(TensorBoardLogger):
    """TensorBoard's files, with hyperparameters in its HParams tab and figures in its Images.

    Lightning would describe the columns of the HParams tab in each run, and TensorBoard would take
    the first run's for all; left to itself it finds those of every run, and shows what differs.
    """

    outcome: Outcome | None = None
    look = ""

    def log_hyperparams(self, params: Mapping, metrics: None = None, step: None = None) -> None:
        """Begin a session of the HParams tab, in which each scalar is a metric."""
        from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
        from tensorboard.plugins.hparams.plugin_data_pb2 import SessionStartInfo

        self.hparams = flatten(params)  # for Lightning's hparams.yaml
        session = SessionStartInfo(start_time_secs=time.time())
        for name, value in self.hparams.items():
            if isinstance(value, bool):
                session.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                session.hparams[name].number_value = value
            else:
                session.hparams[name].string_value = str(value)
        self._add(SESSION_START_INFO_TAG, session_start_info=session)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log an epoch."""
        with _undisturbed():
            super().log_metrics(metrics, step)

    def save(self) -> None:
        """Write what is still in the queue."""
        with _undisturbed():
            super().save()

    def log_figure(self, path: Path, step: int) -> None:
        """Add a picture."""
        image = np.asarray(Image.open(path).convert("RGB"))
        self.experiment.add_image(f"figures/{path.stem}", image, step, dataformats="HWC")

    def finalize(self, status: str) -> None:
        """Close the files, and the session, unless a run that was stopped may go on with it."""
        from tensorboard.plugins.hparams.api_pb2 import Status
        from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG
        from tensorboard.plugins.hparams.plugin_data_pb2 import SessionEndInfo

        codes = {"finished": Status.STATUS_SUCCESS, "failed": Status.STATUS_FAILURE}
        if self.outcome in codes:
            end = SessionEndInfo(status=codes[self.outcome], end_time_secs=time.time())
            self._add(SESSION_END_INFO_TAG, session_end_info=end)
        super().finalize(status)

    def _add(self, tag: str, **content: Any) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams.metadata import NULL_TENSOR, create_summary_metadata
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        metadata = create_summary_metadata(HParamsPluginData(**content))
        value = Summary.Value(tag=tag, metadata=metadata, tensor=NULL_TENSOR)
        self.experiment._get_file_writer().add_summary(Summary(value=[value]))


class Wandb(WandbLogger):
    """Weights & Biases, with a run for each job of a sweep.

    Args:
        options: arguments of Lightning's ``WandbLogger``.
    """

    outcome: Outcome | None = None
    EXIT_CODES = {"finished": 0, "failed": 1, "killed": 130}

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._wandb_init.pop("anonymous")  # Lightning's own, of which wandb complains

    @property
    def look(self) -> str:
        """The run's page or, without a network, what puts it there."""
        run = self.experiment
        return shlex.join(["wandb", "sync", str(Path(run.dir).parent)]) if run.offline else run.url

    def log_figure(self, path: Path, step: int) -> None:
        """Log a picture."""
        self.log_image(f"figures/{path.stem}", [str(path)], step)

    def finalize(self, status: str) -> None:
        """Upload checkpoints, where they were asked for, and end the run if all is over."""
        super().finalize(status)
        if self.outcome and self._experiment is not None:
            self._experiment.finish(self.EXIT_CODES[self.outcome])


class MLflow(MLFlowLogger):
    """MLflow, which several processes may begin to use at once.

    Args:
        tracking_uri: a server, or ``sqlite:///`` and the path of a file.
        experiment_name: below which the runs are listed.
        options: further arguments of Lightning's ``MLFlowLogger``.
    """

    outcome: Outcome | None = None

    def __init__(self, tracking_uri: str, experiment_name: str, **options: Any):
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # read when it is imported
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # no git is no reason to complain
        with _alone(tracking_uri):
            super().__init__(experiment_name, tracking_uri=tracking_uri, **options)
            client = self._mlflow_client
            if client.get_experiment_by_name(experiment_name) is None:
                client.create_experiment(experiment_name, self._artifact_location)

    @property
    def look(self) -> str:
        """The server's address, or what starts one."""
        uri = self._tracking_uri
        local = shlex.join(["mlflow", "ui", "--backend-store-uri", uri])
        return uri if uri.startswith("http") else local

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log an epoch."""
        with _undisturbed():
            super().log_metrics(metrics, step)

    def log_hyperparams(self, params: Mapping) -> None:
        """Log them by the names that they have on the command line."""
        with _undisturbed():
            super().log_hyperparams(flatten(params))

    def log_figure(self, path: Path, step: int) -> None:
        """Keep a picture among the run's artifacts."""
        self.experiment.log_artifact(self.run_id, str(path), "figures")

    def finalize(self, status: str) -> None:
        """End the run if all is over, which is not after the training but after the test."""
        if self.outcome:
            super().finalize(self.outcome.upper())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let Ctrl-C wait until a record is written.

    Else it can break a transaction, or the queue to the thread that writes TensorBoard's file; then
    closing the logger waits for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Ctrl-C never comes here
        return
    held = []
    before = signal.signal(signal.SIGINT, lambda *_: held.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _alone(tracking_uri: str) -> Iterator[None]:
    """Let one process at a time look for an SQLite file and, if there is none, fill it."""
    kind, _, path = tracking_uri.partition(":///")
    if kind == "sqlite":
        with FileLock(f"{path}.lock"):
            yield
    else:
        yield


def flatten(tree: Mapping | Sequence, prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}, "c": [{"d": 2}]}`` -> ``{"a.b": 1, "c.0.d": 2}``."""
    flat = {}
    for name, value in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
        if isinstance(value, Mapping) or (isinstance(value, list) and _holds_trees(value)):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _holds_trees(values: list) -> bool:
    return any(isinstance(value, Mapping) for value in values)
