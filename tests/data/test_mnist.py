import dataclasses
import gzip
import hashlib
import json

import pytest
import torch
from torchvision.datasets import MNIST, FashionMNIST

from lecture4.data import PUBLISHED, load_fashion_mnist, load_mnist, mnist
from lecture4.runs.predictor import dataset_of, load

LOAD = {"mnist": load_mnist, "fashion_mnist": load_fashion_mnist}
KIND = {"mnist": MNIST, "fashion_mnist": FashionMNIST}


def idx(values: torch.Tensor) -> bytes:
    """The format of the files: zero, zero, type, dimensions, sizes, values."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.numpy().tobytes()


@pytest.fixture(params=KIND)
def made_up(request, monkeypatch):
    """Name, tensors and compressed files of a dataset of a few images."""
    name, draw = request.param, torch.Generator().manual_seed(0)
    tensors = [
        tensor
        for n in (60, 20)
        for tensor in (
            torch.randint(256, (n, 28, 28), dtype=torch.uint8, generator=draw),
            torch.randint(10, (n,), dtype=torch.uint8, generator=draw),
        )
    ]
    files = {
        file: gzip.compress(idx(values))
        for file, values in zip(PUBLISHED[name].files, tensors, strict=True)
    }
    sums = {file: hashlib.md5(content).hexdigest() for file, content in files.items()}
    published = dataclasses.replace(PUBLISHED[name], files=sums)
    monkeypatch.setitem(mnist.PUBLISHED, name, published)
    return name, tensors, files


@pytest.mark.parametrize("name", KIND)
def test_files_and_checksums_are_torchvision_s(name):
    kind, published = KIND[name], PUBLISHED[name]
    assert list(published.files.items()) == kind.resources
    assert published.folder == f"{kind.__name__}/raw"
    assert list(published.urls[:-1]) == kind.mirrors
    assert all(url.endswith("/") for url in published.urls)
    assert published.name == name


def test_files_are_downloaded_and_read_as_torchvision_reads_them(
    made_up, server, tmp_path, monkeypatch
):
    name, tensors, files = made_up
    for file, content in files.items():
        server.add(f"folder/{file}", content)
    dataset = LOAD[name](tmp_path, [f"http://{server.host}/folder/"])
    assert dataset.class_names == KIND[name].classes
    assert dataset.source == {"name": name, "root": str(tmp_path)}
    read = dataset.train_inputs, dataset.train_labels, dataset.test_inputs, dataset.test_labels
    for values, expected in zip(read, tensors, strict=True):
        images = expected.ndim == 3
        assert torch.equal(values, expected[:, None] if images else expected.long())
    monkeypatch.setattr(KIND[name], "resources", [(file, None) for file in files])
    for file, content in files.items():
        (tmp_path / KIND[name].__name__ / "raw" / file[:-3]).write_bytes(gzip.decompress(content))
    assert torch.equal(KIND[name](tmp_path, train=True).data, dataset.train_inputs[:, 0])
    assert torch.equal(LOAD[name](tmp_path).test_labels, dataset.test_labels)


def test_without_source_the_files_are_named(made_up, tmp_path):
    name, _, files = made_up
    with pytest.raises(ConnectionError, match="no source served it") as error:
        LOAD[name](tmp_path, ["http://127.0.0.1:9/"])
    assert all(file in str(error.value) for file in files)
    assert "/raw, name another source" in str(error.value)


@pytest.mark.parametrize("made_up", ["mnist"], indirect=True)
@pytest.mark.parametrize("model", ["softmax", "mlp", "convnet"])
def test_every_model_trains_on_grey_images(made_up, model, job, tmp_path):
    name, _, files = made_up
    folder = tmp_path / KIND[name].__name__ / "raw"
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    data = [f"data={name}", f"data.root={tmp_path}", "data.val_size=20", "data.batch_size=20"]
    _, run = job(f"model={model}", "trainer.max_epochs=1", data=data)
    predictor = load(run)
    assert predictor.input_shape == (1, 28, 28)
    results = json.loads((run / "results.json").read_text())
    assert predictor.evaluate(dataset_of(predictor))["test_loss"] == results["test_loss"]
    drawn = {path.stem for path in (run / "figures").iterdir()}
    assert drawn == {"curves", "confusion", "first_layer", "mistakes"}
