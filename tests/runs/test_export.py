"""Exported files: the same probabilities in other programs; whole, checked, silent."""

import builtins
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from running import ROOT

from lecture4 import models
from lecture4.byhand import nn
from lecture4.data import preprocess
from lecture4.models.pipeline import Pipeline
from lecture4.runs import export as exporting
from lecture4.runs.export import write_model
from lecture4.runs.predictor import Predictor

NAMES = ["cat", "chien", "猫"]
BLOCKS = [{"channels": 4, "padding": 1, "norm": "batch", "pool": {}}, {"channels": 4}]


def convnet(layers=torch.nn, **more):
    return models.ConvNet((3, 12, 12), 3, BLOCKS, dropout=0.3, layers=layers, **more)


def predictor(model=None, precision="32-true"):
    torch.manual_seed(0)
    model = model or convnet()
    for buffer in model.buffers():  # batch norm's statistics, as if trained
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    images = torch.randint(0, 256, (50, 3, 12, 12), dtype=torch.uint8)
    prepare = preprocess.ChannelStandardize((3, 12, 12)).fit(images)
    return Predictor(Pipeline(prepare, model), NAMES, precision=precision)


def run_onnx(path, images):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(["probabilities"], {"images": images.numpy()})
    return torch.from_numpy(output)


def run_pt2(path, images):
    with warnings.catch_warnings(action="ignore"):
        return torch.export.load(path).module()(images)


FORMATS = {"model.onnx": run_onnx, "model.pt2": run_pt2}
MODELS = {
    "convnet": convnet,
    "convnet by hand": lambda: convnet(nn, head="flatten", activation="gelu"),
    "mlp": lambda: models.MLP((3, 12, 12), 3, [8], activation="leaky_relu", dropout=0.5),
    "softmax by hand": lambda: models.SoftmaxClassifier((3, 12, 12), 3, "he", layers=nn),
}


@pytest.fixture(autouse=True)
def _packages(request):
    if "onnx" in request.node.name:
        for name in ("onnx", "onnxruntime", "onnxscript"):
            pytest.importorskip(name)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_another_program_gets_the_same_probabilities(tmp_path, name, model):
    path, own = tmp_path / name, predictor(MODELS[model]())
    said = write_model(own, path)
    assert "uint8 images (N, 3, 12, 12) -> probabilities (N, 3)" in said
    for n in (1, 2, 11):
        images = torch.randint(0, 256, (n, 3, 12, 12), dtype=torch.uint8)
        given = FORMATS[name](path, images)
        assert given.dtype == torch.float32
        torch.testing.assert_close(given.double(), own.probabilities(images), atol=1e-5, rtol=0)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_it_is_exported_in_float32_whatever_the_run_had(tmp_path, name, precision):
    own = predictor(precision=precision)
    before = {key: value.clone() for key, value in own.pipeline.model.state_dict().items()}
    write_model(own, tmp_path / name)
    assert own.pipeline.model.state_dict().keys() == before.keys()
    for key, value in own.pipeline.model.state_dict().items():
        assert value.dtype == before[key].dtype
        assert torch.equal(value, before[key])
    images = torch.randint(0, 256, (3, 3, 12, 12), dtype=torch.uint8)
    in_float32 = Predictor(own.pipeline, NAMES).probabilities(images)
    given = FORMATS[name](tmp_path / name, images)
    torch.testing.assert_close(given.double(), in_float32, atol=1e-5, rtol=0)


def test_it_is_exported_with_torch_s_layers(tmp_path):
    write_model(predictor(convnet(nn)), tmp_path / "model.pt2")
    with warnings.catch_warnings(action="ignore"):
        graph = str(torch.export.load(tmp_path / "model.pt2").graph)
    for op in ("conv2d", "max_pool2d", "batch_norm", "linear"):
        assert f"aten.{op}" in graph


@pytest.mark.parametrize("name", FORMATS)
def test_a_model_of_points_takes_points(tmp_path, name):
    model = models.SoftmaxClassifier((2,), 2, "he")
    own = Predictor(Pipeline(preprocess.Polar((2,)), model), ["inside", "around"])
    assert "float32 points (N, 2)" in write_model(own, tmp_path / name)
    points = torch.randn(5, 2)
    given = FORMATS[name](tmp_path / name, points)
    torch.testing.assert_close(given.double(), own.probabilities(points), atol=1e-5, rtol=0)


def test_onnx_carries_names_and_a_free_batch(tmp_path):
    import onnxruntime

    write_model(predictor(), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (given,), (gives,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [3, 12, 12])
    assert isinstance(given.shape[0], str)
    assert (gives.name, gives.type, gives.shape[1:]) == ("probabilities", "tensor(float)", [3])
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == NAMES


def test_pt2_carries_names(tmp_path):
    write_model(predictor(), tmp_path / "model.pt2")
    extra = {"class_names.json": ""}
    with warnings.catch_warnings(action="ignore"):
        torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    assert json.loads(extra["class_names.json"]) == NAMES


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_differs_is_not_written(tmp_path, name, monkeypatch):
    path = tmp_path / name
    path.write_text("the one before")
    with_layers = exporting.with_layers

    def another(module, layers):
        twin = with_layers(module, layers)
        twin[0].model.scores.bias.data[0] += 1e-3
        return twin

    monkeypatch.setattr(exporting, "with_layers", another)
    with pytest.raises(ValueError, match="is not written: its probabilities would differ by"):
        write_model(predictor(), path)
    assert path.read_text() == "the one before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", FORMATS)
def test_a_failed_export_leaves_nothing(tmp_path, name):
    own = predictor()
    own.pipeline.model.forward = lambda x: (
        own.pipeline.model.scores(x) if x.sum() > 0 else x
    )  # no graph can say this
    with pytest.raises(ValueError, match=f"{name} is not written: "):
        write_model(own, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_packages_are_named(tmp_path, monkeypatch, missing):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == missing:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[export\]'"):
        write_model(predictor(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.pt", "as .onnx or .pt2"),
        ("model", "as .onnx or .pt2"),
        ("no/model.onnx", "is in a folder that does not exist"),
        ("folder.pt2", "is a folder"),
    ],
)
def test_another_place_or_suffix_is_refused_at_once(tmp_path, name, part):
    (tmp_path / "folder.pt2").mkdir()
    with pytest.raises(ValueError, match=part):
        write_model(predictor(), tmp_path / name)


@pytest.mark.slow
def test_onnx_and_pt2_say_nothing_of_their_own(tmp_path):
    places = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]
    code = (
        f"import sys; sys.path[:0] = {places}\n"
        "from test_export import FORMATS, predictor, write_model\n"
        f"for name in FORMATS: write_model(predictor(), f'{tmp_path}/{{name}}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert [line for line in done.stderr.splitlines() if "test_export" not in line] == []


def test_an_export_that_is_interrupted_gives_the_streams_back(tmp_path, monkeypatch, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "_pt2", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_model(predictor(), tmp_path / "model.pt2")
    print("heard")
    assert capsys.readouterr().out == "heard\n"
