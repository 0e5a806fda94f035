"""Runs with the formulas of a file."""

import copy
import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from running import SMALL, call, compose, weights_of

from lecture4.byhand import nn as byhand_nn
from lecture4.byhand.init import initialize_
from lecture4.byhand.numerical import relative_error
from lecture4.models import MLP
from lecture4.runs.predictor import load
from lecture4.training.assemble import assemble
from lecture4.training.formulas import find, formulas_of, layers, read, whose

SOLVED = Path(__file__).parent / "solved"
CONVNET = [
    "model=convnet",
    "model.blocks=[{channels: 4, stride: 2, padding: 1, norm: batch, pool: {kernel_size: 2}},"
    "{channels: 6, kernel_size: [3, 3], padding: 1, norm: batch}]",
    "trainer.max_epochs=2",
    "data.batch_size=48",
]
MLP8 = ["model=mlp", "model.hidden=[8]", "trainer.max_epochs=1", "trainer.accelerator=cpu"]


@pytest.fixture(scope="module")
def by_hand():
    """Weights of formulas=byhand, measured once."""
    return {}


@pytest.mark.parametrize("style", ["torch_style", "pairs", "course"])
def test_a_convnet_ends_with_the_weights_of_byhand(style, job, by_hand, capsys):
    if not by_hand:
        _, folder = job(*CONVNET, "formulas=byhand", "trainer.precision=64-true")
        by_hand |= weights_of(folder)
        assert "formula" not in capsys.readouterr().out
    _, folder = job(*CONVNET, f"formulas={SOLVED / style}.py", "trainer.precision=64-true")
    found = weights_of(folder)
    assert found.keys() == by_hand.keys()
    for name, wanted in by_hand.items():
        assert relative_error(found[name], wanted) <= 1e-10, name
    out = capsys.readouterr().out
    assert re.search(rf"blocks.0.conv .* {style}.py", out)
    assert re.search(r"\n pool .* torch +\n", out)
    assert f"loss: {style}.py, SGD: {'torch' if style == 'pairs' else f'{style}.py'}" in out


def test_every_layer_by_hand_names_its_function():
    kinds = {
        name
        for name, kind in vars(byhand_nn).items()
        if kind.__class__ is type and issubclass(kind, torch.nn.Module)
    }
    assert layers.LAYERS.keys() == kinds


def test_the_layers_of_a_file_are_its_own_and_the_others_torchs(written):
    found = find(str(written("def relu(x):\n    return x.clamp(min=0)\n")))
    assert whose(found.nn.ReLU, found) == "mine.py"
    assert issubclass(found.nn.ReLU, torch.nn.ReLU)
    assert found.nn.Linear is torch.nn.Linear
    assert found.optim.SGD is torch.optim.SGD
    assert whose(torch.optim.SGD, found) == whose(found.nn.Linear, found) == "torch"
    assert find("byhand").nn.ReLU is byhand_nn.ReLU
    assert not hasattr(byhand_nn.ReLU, "of_a_file")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_computes_in_float32_at_least_and_keeps_its_dtype(written, dtype):
    text = "import numpy as np\ndef relu_forward(x):\n    assert x.dtype == np.float32\n"
    text += "    return np.maximum(x, 0).astype(np.float64), x\n"
    found = find(str(written(text + "def relu_backward(d, x):\n    return d * (x > 0.0)\n")))
    x = torch.tensor([-1.0, 2.0], dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", enabled=dtype == torch.bfloat16):
        y = found.nn.ReLU()(x)
    assert (y.dtype, y.tolist()) == (torch.float32, [0, 2])
    y.sum().backward()
    assert x.grad.tolist() == [0, 1]


def test_a_layer_passes_one_number_for_equal_sides_and_zeros_for_no_bias(written):
    text = (
        "def conv2d(x, w, b, stride, padding):\n    return x * 0 + (b.sum() + stride + padding)\n"
    )
    conv = find(str(written(text))).nn.Conv2d(2, 3, (3, 3), (2, 2), (1, 1), bias=False)
    assert conv(torch.zeros(1, 2, 5, 5)).unique().item() == 3


def test_a_function_that_returns_nothing_is_named(written):
    found = find(str(written("def relu(x):\n    x.clamp(min=0)\n")))
    with pytest.raises(TypeError, match="relu returned NoneType, not a tensor"):
        found.nn.ReLU()(torch.ones(1))


def test_initialisers_and_penalties_of_a_file(written):
    text = "def he(weight, gain):\n    return weight * 0 + gain\ndef xavier(weight):\n"
    text += (
        "    return weight * 0 + 3\ndef l2_penalty(weights):\n    return 7 * sum(weights).sum()\n"
    )
    found = find(str(written(text)))
    layer = found.nn.Linear(3, 2)
    assert whose(type(layer), found) == "torch"
    for scheme, gain, wanted in (("he", 1.5, 1.5), ("xavier", 2.0, 6.0)):
        initialize_(layer, scheme, gain)
        assert layer.weight.unique().item() == wanted
        assert not layer.bias.any()
    initialize_(layer, "small")
    assert layer.weight.abs().max() < 0.01
    model = MLP((5,), 3, [4], init="xavier", layers=found.nn)
    assert model.scores.weight.unique().item() == 3
    assert found.penalty("l2")([torch.ones(2)]) == 14
    assert found.penalty("l1")([torch.ones(2)]) == 2  # torch's


def test_an_unknown_name():
    with pytest.raises(ValueError, match="choose one of torch, byhand, or a file such as mine.py"):
        find("mine.txt")


def test_optimizers_of_a_file_leave_out_torchs_defaults(written):
    text = "class SGD:\n    def __init__(self, params, lr): self.lr = lr\n"
    text += "    def step(self): self.t = 1\n"
    found = formulas_of(read(written(text)))
    given = {"lr": 0.1, "momentum": 0.0, "nesterov": False, "fused": None, "dampening": 0.0}
    assert found.optimizer("SGD", **given).keywords == {"lr": 0.1}
    error = "SGD in mine.py has no optim.momentum=0.9 optim.nesterov=true; use optim.momentum=0 "
    error += "optim.nesterov=false"
    with pytest.raises(ValueError, match=re.escape(error)):
        found.optimizer("SGD", **given | {"momentum": 0.9, "nesterov": True})
    assert found.optimizer("Adam", lr=0.1, fused=None).keywords["fused"]  # torch's own
    text = text.replace("SGD", "Adam").replace("lr)", "lr, beta1=0.9, beta2=0.999)")
    found = formulas_of(read(written(text)))
    assert found.optimizer("Adam", lr=0.1, betas=[0.9, 0.999]).keywords == {"lr": 0.1}
    error = r"has no optim.betas=\[0.5,0.9\]; use optim.betas=\[0.9,0.999\]"
    with pytest.raises(ValueError, match=error):
        found.optimizer("Adam", lr=0.1, betas=[0.5, 0.9])
    with pytest.raises(ValueError, match="optim.name=Foo is unknown; formulas=mine.py has"):
        found.optimizer("Foo")


def test_smoothing_that_the_loss_lacks_is_refused_before_data_are_read():
    cfg = compose(*SMALL, *CONVNET, f"formulas={SOLVED}/course.py", "label_smoothing=0.1")
    cfg.data.source = {"_target_": "not.there"}
    with pytest.raises(ValueError, match="label_smoothing=0.1 .* softmax_loss in course.py does"):
        assemble(cfg)


ERRORS = {
    "syntax": ("x = 1\ndef f(:\n", [], "mine.py: line 2: SyntaxError: invalid syntax"),
    "import": ("import not_there", [], "mine.py: line 1: ModuleNotFoundError: No module named 'no"),
    "in a forward": ("def relu(x):\n    return x[5, 5]['a']\n", [], "mine.py: line 2: IndexError"),
    "in a backward": (
        "def relu_forward(x): return x, x\ndef relu_backward(d, c): return d.nothing\n",
        [],
        "mine.py: line 2: AttributeError: 'numpy.ndarray' object has no attribute 'nothing'",
    ),
    "in a step": (
        "class SGD:\n    def __init__(self, params, lr, momentum, nesterov, weight_decay):\n"
        "        self.lr = lr\n    def step(self):\n        self.count += 1",
        [],
        "mine.py: line 5: AttributeError: 'SGD' object has no attribute 'count'",
    ),
    "a gradient of another shape": (
        "def relu_forward(x): return x, x\ndef relu_backward(d, c): return d[:, :1][:1]\n",
        [],
        "the gradient of input has the shape (1, 1)",
    ),
    "no such setting": (
        "class SGD:\n    def __init__(self, params, lr, momentum, weight_decay): pass\n"
        "    def step(self): x = 1",
        [],
        "SGD in mine.py has no optim.nesterov=true; use optim.nesterov=false",
    ),
    "NaN": ("def relu(x):\n    return x * float('nan')\n", [], "loss became nan at step 0"),
    "half": ("", ["trainer.precision=bf16-true"], "precision=bf16-true needs formulas=torch or by"),
    "compiled": ("", ["trainer.compile=true"], "trainer.compile=true needs formulas=torch or by"),
}


@pytest.mark.parametrize(("text", "more", "error"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_one_sentence(written, tmp_path, text, more, error):
    written(text)
    done = call(*SMALL, *MLP8, "formulas=mine.py", *more, cwd=tmp_path)
    assert done.returncode == 1
    (told,) = done.stderr.splitlines()
    assert told.startswith("error: ")
    assert error in told


def test_a_file_that_is_not_there(tmp_path):
    done = call(*SMALL, *MLP8, "formulas=mine.py", cwd=tmp_path)
    assert done.stderr == f"error: {tmp_path}/mine.py cannot be read: No such file or directory\n"
    assert done.returncode == 1


def test_a_run_is_reproducible_and_can_be_predicted_with_without_its_file(tmp_path, capsys):
    (tmp_path / "mine.py").write_text((SOLVED / "course.py").read_text())
    given = [*SMALL, *MLP8, "model.dropout=0.5", "formulas=mine.py"]
    for name in "ab":
        assert call(*given, f"hydra.run.dir={name}", cwd=tmp_path).returncode == 0
    states = [weights_of(tmp_path / name) for name in "ab"]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    (tmp_path / "mine.py").unlink()
    checkpoint = torch.load(tmp_path / "a/checkpoints/best.ckpt", weights_only=True)["classifier"]
    sha256 = json.loads((tmp_path / "a/formulas.json").read_text())["sha256"]
    assert (checkpoint["formulas"], checkpoint["formulas_sha256"]) == ("file", sha256)
    predictor = load(tmp_path / "a")
    assert type(predictor.pipeline.model.scores) is torch.nn.Linear
    done = call("a", "--evaluate", "--json", cwd=tmp_path, script="predict.py")
    results = json.loads((tmp_path / "a/results.json").read_text())
    assert json.loads(done.stdout)["test_loss"] == pytest.approx(results["test_loss"], rel=1e-5)
    assert f"sha256 {sha256[:12]}…" in done.stderr
    assert "results.json" in done.stderr
    assert call("a", "--export", "m.pt2", cwd=tmp_path, script="predict.py").returncode == 0


def test_formulas_of_a_file_are_copied_but_not_pickled(written):
    found = find(str(written("def relu(input):\n    return input.clamp(min=0)\n")))
    assert copy.deepcopy(found) is found
    with pytest.raises(TypeError, match="formulas=mine.py cannot be pickled"):
        pickle.dumps(found)
    assert pickle.loads(pickle.dumps(find("byhand"))) is find("byhand")
