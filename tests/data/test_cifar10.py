import contextlib
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from lecture4.data import load_cifar10

FOLDER = "cifar-10-batches-py"
BATCHES = [f"data_batch_{i}" for i in range(1, 6)]
FILES = [*BATCHES, "test_batch", "batches.meta"]
NAMES = [f"class {k}" for k in range(10)]
PER_BATCH = 4
LOCK = ".cifar10.lock"


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


class Source:
    """A made-up CIFAR-10 of a few images: its files, its archive and what torchvision expects."""

    def __init__(self, folder):
        self.folder = folder / FOLDER
        self.folder.mkdir()
        rng = np.random.default_rng(0)
        self.images, self.labels = {}, {}
        for name in [*BATCHES, "test_batch"]:
            self.images[name] = rng.integers(0, 256, (PER_BATCH, 3072), dtype=np.uint8)
            self.labels[name] = rng.integers(0, 10, PER_BATCH).tolist()
            self.write(name, {"data": self.images[name], "labels": self.labels[name]})
        self.write("batches.meta", {"label_names": NAMES})
        self.archive = folder / CIFAR10.filename
        with tarfile.open(self.archive, "w:gz") as archive:
            archive.add(self.folder, FOLDER)
        self.attributes = {
            "train_list": [[name, md5(self.folder / name)] for name in BATCHES],
            "test_list": [["test_batch", md5(self.folder / "test_batch")]],
            "meta": {
                "filename": "batches.meta",
                "key": "label_names",
                "md5": md5(self.folder / "batches.meta"),
            },
            "tgz_md5": md5(self.archive),
        }

    def write(self, name, content):
        (self.folder / name).write_bytes(pickle.dumps(content))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Source(tmp_path_factory.mktemp("source"))


class Server:
    """Serves one archive and counts the requests; ``behaviour`` makes it misbehave."""

    def __init__(self, content):
        self.content, self.behaviour, self.delay = content, "serve", 0.0
        self.downloads = 0
        self.started, self.released = threading.Event(), threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if self.headers.get("Method") == "HEAD":  # torchvision asks for redirections
                    return self.answer(b"")
                outer.downloads += 1
                outer.started.set()
                time.sleep(outer.delay)
                half = len(outer.content) // 2
                if outer.behaviour == "stall":
                    self.answer(outer.content[:half], len(outer.content))
                    self.wfile.flush()
                    outer.released.wait(20)
                elif outer.behaviour == "truncate":
                    self.answer(outer.content[:half], len(outer.content))
                elif outer.behaviour == "alter":
                    self.answer(outer.content[:half] + b"?" + outer.content[half + 1 :])
                elif outer.behaviour == "refuse":
                    self.send_error(503)
                else:
                    self.answer(outer.content)

            def answer(self, body, length=None):
                self.send_response(200)
                self.send_header("Content-Length", str(length or len(outer.content)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(body)
                self.close_connection = True

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *args: None
        self.url = f"http://127.0.0.1:{self.http.server_port}/{CIFAR10.filename}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self):
        self.released.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(source, monkeypatch):
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    server = Server(source.archive.read_bytes())
    for name, value in source.attributes.items():
        monkeypatch.setattr(CIFAR10, name, value)
    monkeypatch.setattr(CIFAR10, "url", server.url)
    yield server
    server.stop()


@pytest.fixture
def complete(source, server, tmp_path):
    """A root with all of the made-up data."""
    root = tmp_path / "root"
    shutil.copytree(source.folder, root / FOLDER)
    return root


def snapshot(root):
    """Every path below root with its time of change and content."""
    return {
        str(path.relative_to(root)): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in [root, *sorted(root.rglob("*"))]
    }


def names_in(root):
    return sorted(path.name for path in root.iterdir())


def close(error):
    """Close the answer of a server that refused: urllib keeps it in its exception."""
    if isinstance(error.__cause__, urllib.error.HTTPError):
        error.__cause__.close()


def check_content(dataset, source):
    assert dataset.class_names == NAMES
    expected = np.concatenate([source.images[name] for name in BATCHES])
    assert dataset.train_inputs.shape == (5 * PER_BATCH, 3, 32, 32)
    assert np.array_equal(dataset.train_inputs.flatten(1).numpy(), expected)
    assert dataset.train_labels.tolist() == sum((source.labels[name] for name in BATCHES), [])
    assert np.array_equal(dataset.test_inputs.flatten(1).numpy(), source.images["test_batch"])
    assert dataset.test_labels.tolist() == source.labels["test_batch"]


real_data = pytest.mark.skipif(
    "CIFAR10_ROOT" not in os.environ, reason="CIFAR10_ROOT names no real data"
)


@real_data
def test_real_data_is_read_as_torchvision_reads_it():
    root = os.environ["CIFAR10_ROOT"]
    dataset = load_cifar10(root)
    for part, inputs, labels in (
        (CIFAR10(root, train=True), dataset.train_inputs, dataset.train_labels),
        (CIFAR10(root, train=False), dataset.test_inputs, dataset.test_labels),
    ):
        assert inputs.dtype == torch.uint8
        assert inputs.is_contiguous()
        assert labels.dtype == torch.int64
        assert torch.equal(inputs.permute(0, 2, 3, 1), torch.from_numpy(part.data))
        assert labels.tolist() == part.targets
        assert dataset.class_names == part.classes
    assert len(dataset.train_labels) == 50_000
    assert len(dataset.test_labels) == 10_000


@real_data
def test_real_data_is_read_through_a_link_and_not_written_to(tmp_path):
    folder = Path(os.environ["CIFAR10_ROOT"]) / FOLDER
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]}
    (tmp_path / FOLDER).symlink_to(folder.resolve())
    assert load_cifar10(tmp_path).test_labels[:4].tolist() == [3, 8, 8, 0]
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]} == before
    assert names_in(tmp_path) == [FOLDER]


def test_complete_data_is_read_and_neither_written_to_nor_asked_for(complete, source, server):
    before = snapshot(complete)
    check_content(load_cifar10(complete), source)
    assert snapshot(complete) == before
    assert server.downloads == 0


def test_home_is_understood(complete, source, monkeypatch):
    monkeypatch.setenv("HOME", str(complete.parent))
    check_content(load_cifar10("~/root"), source)


@pytest.mark.parametrize("before", ["nothing", "folders to make", "an empty folder of that name"])
def test_absent_data_is_downloaded_once(before, source, server, tmp_path):
    root = tmp_path / "new" / "root" if before == "folders to make" else tmp_path
    if before == "an empty folder of that name":
        (root / FOLDER).mkdir()
    check_content(load_cifar10(root), source)
    assert server.downloads == 1
    assert names_in(root) == [LOCK, FOLDER]
    assert names_in(root / FOLDER) == sorted(FILES)
    check_content(load_cifar10(root), source)
    assert server.downloads == 1


def test_an_archive_that_is_there_is_unpacked_and_kept(source, server, tmp_path):
    archive = shutil.copy(source.archive, tmp_path)
    check_content(load_cifar10(tmp_path), source)
    assert server.downloads == 0
    assert Path(archive).read_bytes() == source.archive.read_bytes()


def test_an_archive_that_is_there_needs_no_server(source, server, tmp_path, monkeypatch):
    shutil.copy(source.archive, tmp_path)
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/nothing")
    check_content(load_cifar10(tmp_path), source)


@pytest.mark.parametrize("behaviour", ["serve", "refuse", "truncate"])
def test_a_damaged_archive_is_not_replaced(behaviour, source, server, tmp_path):
    server.behaviour = behaviour
    archive = tmp_path / source.archive.name
    archive.write_bytes(b"half an archive")
    try:
        load_cifar10(tmp_path)
    except (ConnectionError, ValueError) as error:
        close(error)
    assert archive.read_bytes() == b"half an archive"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied"])
def test_a_damaged_file_is_named_and_never_replaced(name, damage, complete, server):
    path = complete / FOLDER / name
    content = bytearray(path.read_bytes())
    if damage == "altered":
        content[len(content) // 2] ^= 1
    path.write_bytes(content if damage == "altered" else content[: len(content) // 2])
    if damage == "emptied":
        path.write_bytes(b"")
    before = snapshot(complete)
    with pytest.raises(ValueError, match="is damaged") as caught:
        load_cifar10(complete)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert snapshot(complete) == before
    assert server.downloads == 0


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_and_not_fetched(name, complete, server):
    path = complete / FOLDER / name
    path.unlink()
    before = snapshot(complete)
    with pytest.raises(ValueError, match=f"{name} is missing"):
        load_cifar10(complete)
    assert snapshot(complete) == before
    assert server.downloads == 0


@pytest.mark.parametrize("behaviour", ["truncate", "alter", "refuse"])
def test_a_failed_download_is_an_error_and_leaves_nothing(behaviour, server, source, tmp_path):
    server.behaviour = behaviour
    with pytest.raises(ConnectionError, match="its download failed") as caught:
        load_cifar10(tmp_path)
    close(caught.value)
    message = str(caught.value)
    assert f"data.root={tmp_path}" in message
    assert "data=shapes" in message
    assert "\n" not in message
    assert set(names_in(tmp_path)) <= {LOCK}
    server.behaviour = "serve"
    check_content(load_cifar10(tmp_path), source)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://no-such-host.invalid/x"])
def test_no_network_is_an_error(url, server, tmp_path, monkeypatch):
    monkeypatch.setattr(CIFAR10, "url", url)
    with pytest.raises(ConnectionError, match="data=shapes"):
        load_cifar10(tmp_path)
    assert set(names_in(tmp_path)) <= {LOCK}


def test_a_root_that_is_a_file_is_an_error(server, tmp_path):
    (tmp_path / "root").write_text("not a folder")
    with pytest.raises(ValueError, match="data.root=") as caught:
        load_cifar10(tmp_path / "root")
    assert "data=shapes" in str(caught.value)
    assert server.downloads == 0


SCRIPT = """
import json, sys
from torchvision.datasets import CIFAR10
from lecture4.data import load_cifar10

for name, value in json.loads(sys.argv[2]).items():
    setattr(CIFAR10, name, value)
print("ready", flush=True)
sys.stdin.readline()
dataset = load_cifar10(sys.argv[1])
print(int(dataset.train_inputs.sum()), int(dataset.test_inputs.sum()), flush=True)
"""


def start_process(root, source, server):
    attributes = json.dumps(source.attributes | {"url": server.url})
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(root), attributes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(load_cifar10.__code__.co_filename).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_processes_that_start_at_once_download_once(source, server, tmp_path):
    server.delay = 0.5
    processes = [start_process(tmp_path, source, server) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    sums = (
        f"{sum(int(source.images[n].sum()) for n in BATCHES)} {source.images['test_batch'].sum()}"
    )
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.strip() == sums
    assert server.downloads == 1
    assert names_in(tmp_path) == [LOCK, FOLDER]


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_a_download_that_is_killed_does_no_harm(signal_, source, server, tmp_path):
    server.behaviour = "stall"
    process = start_process(tmp_path, source, server)
    process.stdout.readline()
    process.stdin.write("go\n")
    process.stdin.flush()
    assert server.started.wait(30)
    time.sleep(0.3)
    process.send_signal(signal_)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert not (tmp_path / FOLDER).exists()
    if signal_ == signal.SIGINT:
        assert set(names_in(tmp_path)) <= {LOCK}
    server.behaviour = "serve"
    check_content(load_cifar10(tmp_path), source)
    assert names_in(tmp_path) == [LOCK, FOLDER]
