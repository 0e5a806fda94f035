"""Images to look at: files, test images, or none with a reason."""

import pytest
import torch
from PIL import Image

from lecture4.data import SOURCES
from lecture4.data.preprocess import FullScale
from lecture4.models import SoftmaxClassifier
from lecture4.models.pipeline import Pipeline
from lecture4.runs.examples import find_examples
from lecture4.runs.predictor import Predictor

SHAPES = {"name": "shapes", "train_size": 30, "test_size": 60}


def predictor(source, classes=10, shape=(3, 32, 32)):
    model = SoftmaxClassifier(shape, classes)
    names = [f"class {k}" for k in range(classes)]
    return Predictor(Pipeline(FullScale(shape), model), names, source=source)


def test_the_first_test_image_of_each_class(monkeypatch):
    own = predictor(SHAPES)
    dataset = SOURCES["shapes"](**{k: v for k, v in SHAPES.items() if k != "name"})
    own.class_names = dataset.class_names
    found = find_examples(own)
    assert [label for label, _ in found] == dataset.class_names
    for k, (_, pixels) in enumerate(found):
        first = dataset.test_labels.tolist().index(k)
        assert torch.equal(pixels, dataset.test_inputs[first])
    monkeypatch.setattr("lecture4.runs.examples.MOST", 4)
    assert len(find_examples(own)) == 4


def test_files_are_named_and_read_as_in_training(tmp_path):
    Image.new("RGB", (8, 4), "white").save(tmp_path / "a.png")
    own = predictor({"name": "image_folder", "resize": "pad"}, shape=(3, 8, 8))
    ((label, pixels),) = find_examples(own, [str(tmp_path / "a.png")])
    assert label == "a.png"
    assert pixels[:, 2:6].eq(255).all()
    assert pixels[:, :2].eq(0).all()
    with pytest.raises(ValueError, match="cannot be read as an image"):
        find_examples(own, [str(tmp_path)])


@pytest.mark.parametrize("name", ["cifar10", "image_folder"])
def test_nothing_is_downloaded_and_a_line_says_why_there_are_none(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CIFAR10_ROOT", raising=False)
    monkeypatch.setattr("lecture4.data.published.download", None)
    own = predictor({"name": name, "root": str(tmp_path / "gone")})
    assert find_examples(own) == []
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith("no test images: ")
    assert "data.root=" in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_named_must_have_the_data(tmp_path):
    with pytest.raises(ValueError, match="train is not there"):
        find_examples(predictor({"name": "image_folder", "root": "gone"}), root=str(tmp_path))
