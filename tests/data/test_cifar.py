import dataclasses
import hashlib
import os
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from lecture4.data import PUBLISHED, cifar, load_cifar10, load_cifar100

LOAD = {"cifar10": load_cifar10, "cifar100": load_cifar100}
KIND = {"cifar10": CIFAR10, "cifar100": CIFAR100}
KEYS = {
    "cifar10": ("labels", "label_names"),
    "cifar100": ("fine_labels", "fine_label_names"),
}
CLASSES = {"cifar10": 10, "cifar100": 100}
FOLDER = "cifar-10-batches-py"
FILES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]
PER_BATCH = 4


class MadeUp:
    """A dataset of a few images in the published form: its files and their archive."""

    def __init__(self, name, folder):
        self.name, self.published = name, PUBLISHED[name]
        labels, names = KEYS[name]
        self.folder = folder / self.published.folder
        self.folder.mkdir()
        *train, test, meta = self.published.files
        draw = np.random.default_rng(0)
        self.class_names = [f"class {k}" for k in range(CLASSES[name])]
        self.train, self.test = [], []
        for file, part in [*((file, self.train) for file in train), (test, self.test)]:
            images = draw.integers(0, 256, (PER_BATCH, 3072), dtype=np.uint8)
            part.append((images, draw.integers(0, CLASSES[name], PER_BATCH).tolist()))
            self.write(file, {"data": images, labels: part[-1][1]})
        self.write(meta, {names: self.class_names})
        self.archive = folder / f"{self.published.archive}.tar.gz"
        with tarfile.open(self.archive, "w:gz") as archive:
            archive.add(self.folder, self.published.folder)
        sums = {file: hashlib.md5((self.folder / file).read_bytes()).hexdigest()
                for file in self.published.files}  # fmt: skip
        self.published = dataclasses.replace(self.published, files=sums)

    def write(self, name, content):
        (self.folder / name).write_bytes(pickle.dumps(content))

    def check(self, dataset):
        assert dataset.class_names == self.class_names
        for part, inputs, labels in (
            (self.train, dataset.train_inputs, dataset.train_labels),
            (self.test, dataset.test_inputs, dataset.test_labels),
        ):
            images = np.concatenate([images for images, _ in part])
            assert inputs.shape == (len(part) * PER_BATCH, 3, 32, 32)
            assert np.array_equal(inputs.flatten(1).numpy(), images)
            assert labels.tolist() == [label for _, labels in part for label in labels]


@pytest.fixture(scope="module", params=["cifar10", "cifar100"])
def either(request, tmp_path_factory):
    return MadeUp(request.param, tmp_path_factory.mktemp("source"))


@pytest.fixture
def source(either, monkeypatch):
    monkeypatch.setitem(cifar.PUBLISHED, either.name, either.published)
    return either


@pytest.fixture(scope="module")
def of_cifar10(tmp_path_factory):
    return MadeUp("cifar10", tmp_path_factory.mktemp("source"))


@pytest.fixture
def complete(of_cifar10, tmp_path, monkeypatch):
    """A root with all of the made-up CIFAR-10."""
    monkeypatch.setitem(cifar.PUBLISHED, "cifar10", of_cifar10.published)
    root = tmp_path / "root"
    shutil.copytree(of_cifar10.folder, root / FOLDER)
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


@pytest.mark.parametrize("name", KIND)
def test_files_and_checksums_are_torchvision_s(name):
    kind, published = KIND[name], PUBLISHED[name]
    meta = kind.meta["filename"], kind.meta["md5"]
    assert list(published.files.items()) == [
        *map(tuple, kind.train_list), *map(tuple, kind.test_list), meta
    ]  # fmt: skip
    assert KEYS[name][1] == kind.meta["key"]
    assert published.folder == kind.base_folder
    assert published.urls[0] == kind.url
    assert all(url.endswith(f"/{kind.filename}") for url in published.urls)
    assert f"{published.archive}.tar.gz" == kind.filename
    assert published.name == name


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


@pytest.mark.parametrize("before", ["nothing", "folders to make", "an empty folder of that name"])
def test_absent_data_is_downloaded_once(before, source, server, tmp_path):
    root = tmp_path / "new" / "root" if before == "folders to make" else tmp_path
    folder = source.published.folder
    if before == "an empty folder of that name":
        (root / folder).mkdir()
    urls = [server.add("x", source.archive.read_bytes())]
    dataset = LOAD[source.name](root, urls)
    source.check(dataset)
    assert dataset.source == {"name": source.name, "root": str(root)}
    assert names_in(root) == [f".{source.name}.lock", folder]
    source.check(LOAD[source.name](root, urls))
    assert server.asked("x") == [None]


def test_an_archive_that_is_there_needs_no_server(source, tmp_path):
    archive = Path(shutil.copy(source.archive, tmp_path))
    source.check(LOAD[source.name](tmp_path))
    assert archive.read_bytes() == source.archive.read_bytes()


def test_complete_data_is_read_and_neither_written_to_nor_asked_for(complete, of_cifar10, server):
    before = snapshot(complete)
    of_cifar10.check(load_cifar10(complete, [server.add("x")]))
    assert snapshot(complete) == before
    assert server.requests == []


def test_home_is_understood(complete, of_cifar10, monkeypatch):
    monkeypatch.setenv("HOME", str(complete.parent))
    of_cifar10.check(load_cifar10("~/root"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied", "deleted"])
def test_a_damaged_or_missing_file_is_named_and_never_replaced(name, damage, complete, server):
    path = complete / FOLDER / name
    content = bytearray(path.read_bytes())
    if damage == "altered":
        content[len(content) // 2] ^= 1
    path.write_bytes(content if damage == "altered" else content[: len(content) // 2])
    if damage == "emptied":
        path.write_bytes(b"")
    if damage == "deleted":
        path.unlink()
    before = snapshot(complete)
    problem = "is missing" if damage == "deleted" else "is damaged"
    with pytest.raises(ValueError, match=f"{path} {problem}") as caught:
        load_cifar10(complete, [server.add("x")])
    assert "\n" not in str(caught.value)
    assert snapshot(complete) == before
    assert server.requests == []


def test_a_failed_download_is_an_error_that_says_what_to_do(source, server, tmp_path):
    urls = [server.add("x", status=503)]
    with pytest.raises(ConnectionError, match="no source served it") as caught:
        LOAD[source.name](tmp_path, urls)
    message = str(caught.value)
    assert f"{source.published.title} is not in data.root={tmp_path}" in message
    assert f"place {source.archive.name} in {tmp_path}" in message
    assert "data=shapes" in message
    assert not source.published.lies_in(tmp_path)
    source.check(LOAD[source.name](tmp_path, [server.add("x", source.archive.read_bytes())]))
