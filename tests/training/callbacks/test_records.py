"""What the loggers record of a run, read back from their files."""

import io
import json
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from running import ROOT, SMALL, call, clean_environment, command

FIGURES = ["confusion", "curves", "first_layer", "mistakes"]
RUN = [*SMALL, "model=softmax", "optim.lr=0.01", "trainer.max_epochs=3"]
DIVERGES = [*SMALL, "model=softmax", "optim.lr=1e38"]


def results_of(folder: Path) -> dict[str, float]:
    return json.loads((folder / "results.json").read_text())


def rows_of(folder: Path) -> list[dict[str, float]]:
    """The epochs of metrics.csv."""
    names, *rows = (line.split(",") for line in (folder / "metrics.csv").read_text().splitlines())
    rows = [dict(zip(names, row, strict=True)) for row in rows]
    return [{k: float(v) for k, v in row.items() if v} for row in rows if row["val/accuracy"]]


def tensorboard(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0})
    return events.Reload()


def session(folder: Path, part: str):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = tensorboard(folder).PluginTagToContent("hparams").get(f"_hparams_/{part}")
    return content and getattr(HParamsPluginData.FromString(content), part)


def ended(folder: Path) -> str:
    from tensorboard.plugins.hparams.api_pb2 import Status

    return Status.Name(session(folder, "session_end_info").status)


@pytest.fixture(scope="module")
def of_softmax(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "softmax"
    done = call(*RUN, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


def test_tensorboard_compares_runs_by_what_was_chosen(of_softmax):
    start = session(of_softmax, "session_start_info")
    chosen = dict(start.hparams)
    assert chosen["optim.lr"].number_value == 0.01
    assert chosen["choices.model"].string_value == "softmax"
    assert chosen["optim.nesterov"].string_value == "True"
    assert not any(name.startswith(("logger", "choices.logger")) for name in chosen)
    assert ended(of_softmax) == "STATUS_SUCCESS"


def test_tensorboard_holds_the_metrics_of_the_best_epoch_and_the_test(of_softmax):
    events, results = tensorboard(of_softmax), results_of(of_softmax)
    for tag, name in (
        ("best/val_accuracy", "val_accuracy"),
        ("best/val_loss", "val_loss"),
        ("best/test_accuracy", "test_accuracy"),
        ("test/accuracy", "test_accuracy"),
    ):
        (point,) = events.Scalars(tag)
        assert point.value == pytest.approx(results[name])
    assert [p.value for p in events.Scalars("val/loss")] == pytest.approx(
        [row["val/loss"] for row in rows_of(of_softmax)]
    )


def test_tensorboard_shows_the_figures(of_softmax):
    events = tensorboard(of_softmax)
    assert sorted(events.Tags()["images"]) == [f"figures/{name}" for name in FIGURES]
    (shown,) = events.Images("figures/mistakes")
    with Image.open(of_softmax / "figures" / "mistakes.png") as drawn:
        assert Image.open(io.BytesIO(shown.encoded_image_string)).size == drawn.size


def test_points_have_a_boundary(job):
    _, folder = job("data=rings", "data.train_size=300", "model=softmax", "trainer.max_epochs=1")
    assert "figures/boundary" in tensorboard(folder).Tags()["images"]


def test_a_run_that_diverged_is_not_a_success_in_tensorboard(job, tmp_path):
    with pytest.raises(FloatingPointError):
        job(*DIVERGES)
    folder = tmp_path / "run"
    assert session(folder, "session_start_info").hparams["optim.lr"].number_value == 1e38
    assert session(folder, "session_end_info") is None


def test_the_hparams_tab_has_the_columns_of_every_run(job, of_softmax, tmp_path):
    """Runs of two models differ in their settings; a description of the first would hide some."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams.backend_context import Context

    shutil.copytree(of_softmax, tmp_path / "softmax")
    job("model=mlp", "model.hidden=[4]", "trainer.max_epochs=1", folder=tmp_path / "mlp")
    files = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    provider = MultiplexerDataProvider(files, str(tmp_path))
    context, request = Context(TBContext(data_provider=provider)), RequestContext()
    runs = context.hparams_metadata(request, "")
    experiment = context.experiment_from_metadata(request, "", True, runs, None)
    assert {"model.hidden", "choices.model", "optim.lr"} <= {
        h.name for h in experiment.hparam_infos
    }
    assert "best/val_accuracy" in {metric.name.tag for metric in experiment.metric_infos}


def test_lists_of_blocks_become_single_values(job):
    _, folder = job("model.blocks=[{channels: 4, pool: {kernel_size: 4}}]", "trainer.max_epochs=1")
    chosen = session(folder, "session_start_info").hparams
    assert chosen["model.blocks.0.channels"].number_value == 4
    assert chosen["model.blocks.0.pool.kernel_size"].number_value == 4


@pytest.fixture(scope="module")
def mlflow_runs(tmp_path_factory):
    """A run that ends well, and one that fails, in one file."""
    mlflow = pytest.importorskip("mlflow")
    there = tmp_path_factory.mktemp("a room with spaces")
    good = command(*RUN, "logger=mlflow", f"hydra.run.dir={there / 'good'}", cwd=there)
    bad = call(*DIVERGES, "logger=mlflow", f"hydra.run.dir={there / 'bad'}", cwd=there)
    return good, bad, there, mlflow.MlflowClient(f"sqlite:///{there}/mlruns.db")


def mlflow_run(client: Any, folder: Path) -> Any:
    experiment = client.get_experiment_by_name("lecture4")
    (run,) = client.search_runs([experiment.experiment_id], f"tags.folder = '{folder}'")
    return run


@pytest.mark.slow
def test_mlflow_says_nothing_but_where_to_look(mlflow_runs):
    good, bad, there, _ = mlflow_runs
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.splitlines()[-1] == (
        f"mlflow ui --backend-store-uri 'sqlite:///{there}/mlruns.db'"
    )
    assert bad.returncode == 1
    assert bad.stderr.startswith("error: the ")
    assert len(bad.stderr.splitlines()) == 1


@pytest.mark.slow
def test_mlflow_holds_what_was_chosen_and_each_epoch(mlflow_runs):
    _, _, there, client = mlflow_runs
    run = mlflow_run(client, there / "good")
    assert run.info.status == "FINISHED"
    assert "optim.lr=0.01" in run.info.run_name
    assert run.data.params["optim.lr"] == "0.01"
    assert run.data.params["choices.model"] == "softmax"
    assert not any(name.startswith("logger") for name in run.data.params)
    rows = rows_of(there / "good")
    for name in ("train/loss", "val/loss", "val/accuracy", "lr"):
        history = client.get_metric_history(run.info.run_id, name)
        assert [m.value for m in history] == [row[name] for row in rows]
        assert [m.step for m in history] == [row["step"] for row in rows]
    results = results_of(there / "good")
    assert run.data.metrics["best/val_accuracy"] == results["val_accuracy"]
    assert run.data.metrics["test/accuracy"] == results["test_accuracy"]


@pytest.mark.slow
def test_mlflow_keeps_the_figures(mlflow_runs):
    _, _, there, client = mlflow_runs
    run = mlflow_run(client, there / "good")
    kept = [artifact.path for artifact in client.list_artifacts(run.info.run_id, "figures")]
    assert kept == [f"figures/{name}.png" for name in FIGURES]
    copy = Path(client.download_artifacts(run.info.run_id, kept[0]))
    assert copy.read_bytes() == (there / "good" / kept[0]).read_bytes()


@pytest.mark.slow
def test_mlflow_knows_a_run_that_failed(mlflow_runs):
    _, _, there, client = mlflow_runs
    run = mlflow_run(client, there / "bad")
    assert run.info.status == "FAILED"
    assert run.data.params["optim.lr"] == "1e+38"


@pytest.mark.slow
def test_two_processes_may_begin_to_use_one_file_of_mlflow_at_once(tmp_path):
    mlflow = pytest.importorskip("mlflow")

    def run(name: str) -> subprocess.CompletedProcess:
        return command(*RUN, "logger=mlflow", f"hydra.run.dir={tmp_path / name}", cwd=tmp_path)

    with ThreadPoolExecutor(2) as pool:
        assert [(done.returncode, done.stderr) for done in pool.map(run, "ab")] == [(0, "")] * 2
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlruns.db")
    assert {mlflow_run(client, tmp_path / name).info.status for name in "ab"} == {"FINISHED"}


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_mlflow_knows_a_run_that_was_stopped(tmp_path, by):
    mlflow = pytest.importorskip("mlflow")
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "train.py"), *RUN, "logger=mlflow",
         "trainer.max_epochs=100000", f"hydra.run.dir={tmp_path / 'run'}"],
        cwd=tmp_path, env=clean_environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # off in the background
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("epoch   2/"):
            process.send_signal(by)
            break
    _, err = process.communicate(timeout=200)
    assert err.startswith("interrupted in epoch ")
    assert len(err.splitlines()) == 1
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlruns.db")
    assert mlflow_run(client, tmp_path / "run").info.status == "KILLED"


@pytest.fixture(scope="module")
def wandb_runs(tmp_path_factory):
    """A sweep of two jobs: the first one fails."""
    pytest.importorskip("wandb")
    there = tmp_path_factory.mktemp("sweep")
    done = command("-m", *RUN, "optim.lr=1e38,0.01", "logger=wandb", "logger.wandb.offline=true",
                   f"hydra.sweep.dir={there}", cwd=there)  # fmt: skip
    return done, there


def wandb_records(folder: Path) -> Iterator[Any]:
    """What a run's file holds: a header, then blocks of 32 KiB with the records in pieces."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        size, piece = struct.unpack("<HB", data[at + 4 : at + 7])
        record += data[at + 7 : at + 7 + size]
        at += 7 + size
        if piece in (1, 4):  # whole, or the last piece
            yield Record.FromString(record)
            record = b""


def wandb_values(items: Any) -> dict[str, Any]:
    names = ("/".join(item.nested_key) or item.key for item in items)
    return dict(zip(names, (json.loads(item.value_json) for item in items), strict=True))


@pytest.mark.slow
@pytest.mark.slow
def test_wandb_says_nothing_but_what_sends_it(wandb_runs):
    done, there = wandb_runs
    assert "wandb: " not in done.stdout + done.stderr
    assert done.stderr.startswith("error: the ")
    assert f"\nwandb sync {there}/1/wandb/offline-run-" in done.stdout


@pytest.mark.slow
@pytest.mark.slow
def test_wandb_holds_what_was_chosen_and_each_epoch(wandb_runs):
    _, there = wandb_runs
    records = list(wandb_records(there / "1"))
    config = {}
    for record in records:
        config |= wandb_values(record.config.update)
    assert config["optim"]["lr"] == 0.01
    assert config["choices"]["model"] == "softmax"
    assert "logger" not in config
    history = [wandb_values(record.history.item) for record in records if record.history.item]
    rows = rows_of(there / "1")
    of_epochs = [line for line in history if "val/loss" in line]
    for name in ("train/loss", "val/loss", "val/accuracy", "lr"):
        assert [line[name] for line in of_epochs] == [row[name] for row in rows]
    assert [line["trainer/global_step"] for line in of_epochs] == [row["step"] for row in rows]
    (best,) = (line for line in history if "best/val_accuracy" in line)
    assert best["best/val_accuracy"] == results_of(there / "1")["val_accuracy"]
    pictures = [k for line in history for k in line if k.endswith("/filenames")]
    assert pictures == [f"figures/{name}/filenames" for name in FIGURES]
    images = there.glob("1/wandb/offline-run-*/files/media/images/figures/*.png")
    assert len(list(images)) == len(FIGURES)


@pytest.mark.slow
def test_each_job_of_a_sweep_is_a_run_of_its_own_and_ends_as_it_did(wandb_runs):
    _, there = wandb_runs
    codes = [
        record.exit.exit_code
        for job in "01"
        for record in wandb_records(there / job)
        if record.HasField("exit")
    ]
    assert codes == [1, 0]
