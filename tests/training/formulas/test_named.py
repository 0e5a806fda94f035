"""formulas=byhand and formulas=torch train to the same weights."""

import csv
import os
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from running import weights_of

from lecture4 import byhand
from lecture4.byhand.numerical import relative_error
from lecture4.training.classifier import Classifier
from lecture4.training.formulas import find

BLOCKS = (
    "model.blocks=[{channels: 8, padding: 1, norm: batch, pool: {kernel_size: 3, stride: 2}},"
    "{channels: 8, padding: 1, activation: tanh, pool: {kind: avg}}]"
)
CIFAR10 = Path(os.environ.get("CIFAR10_ROOT", "data"))
needs_cifar10 = pytest.mark.skipif(
    not (CIFAR10 / "cifar-10-batches-py").is_dir(), reason="CIFAR-10 is not there"
)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="formulas=numpy is unknown; choose one of torch, byhand"):
        find("numpy")


def test_an_unknown_setting_lists_the_known():
    told = "optim.momentun is not a setting of SGD; it takes lr, momentum, dampening"
    with pytest.raises(ValueError, match=told):
        find("torch").optimizer("SGD", lr=0.1, momentun=0.9)


@pytest.mark.parametrize("name", ["torch", "byhand"])
def test_formulas_have_the_layers_and_optimizers_of_their_name(name):
    found = find(name)
    nn, optim = (torch.nn, torch.optim) if name == "torch" else (byhand.nn, byhand.optim)
    assert (found.name, found.nn, found.optim) == (name, nn, optim)
    for kind in ("SGD", "Adam", "AdamW"):
        assert found.optimizer(kind, lr=0.1).func is getattr(optim, kind)
    for kind in ("RandomSearch", "RandomLocalSearch"):  # torch has none
        assert found.optimizer(kind, lr=0.1).func is getattr(byhand.optim, kind)
    for kind in ("Optimizer", "lr_scheduler", "_functional", "Foo"):
        with pytest.raises(ValueError, match=f"optim.name={kind} is unknown; .*AdamW.*SGD"):
            found.optimizer(kind, lr=0.1)


def test_the_fused_kernel_is_torchs():
    weights = [torch.zeros(2, requires_grad=True)]
    for given, fused in ((None, True), (True, True), (False, False)):
        optimizer = find("torch").optimizer("SGD", lr=0.1, fused=given)(weights)
        assert optimizer.param_groups[0]["fused"] is fused
    for given in (None, False):
        find("byhand").optimizer("Adam", lr=0.1, fused=given)(weights)
    with pytest.raises(ValueError, match="optim.fused=true needs .* formulas=byhand accepts"):
        find("byhand").optimizer("Adam", lr=0.1, fused=True)


@pytest.mark.parametrize("name", ["torch", "byhand"])
@pytest.mark.parametrize(
    ("kind", "value", "gradient"), [("l1", 6, [1, -1, 1]), ("l2", 14, [2, -4, 6])]
)
def test_a_penalty_has_its_value_and_its_gradient(name, kind, value, gradient):
    w = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    penalty = find(name).penalty(kind)([w])
    penalty.backward()
    assert penalty.item() == value
    assert w.grad.tolist() == gradient
    assert find(name).penalty("none")([w]) == 0
    with pytest.raises(ValueError, match="penalty.kind=l3 is unknown; choose one of none, l1, l2"):
        find(name).penalty("l3")


@pytest.fixture
def both(job, tmp_path, monkeypatch):
    """Train with torch's formulas, and by hand: weights, and losses step by step."""
    losses = []
    objective = Classifier.objective

    def record(self, scores, labels):
        value = objective(self, scores, labels)
        losses[-1].append(value.item())
        return value

    monkeypatch.setattr(Classifier, "objective", record)

    def train(*overrides: str, **options):
        states = []
        for formulas in ("torch", "byhand"):
            losses.append([])
            folder = tmp_path / formulas
            job(*overrides, f"formulas={formulas}", folder=folder, **options)
            states.append(weights_of(folder))
        return states, losses

    return train


MODELS = {
    "softmax": ["model=softmax", "penalty=l2"],
    "mlp": ["model=mlp", "model.hidden=[20,20]", "model.dropout=0.2", "label_smoothing=0.1"],
    "convnet": ["model=convnet", BLOCKS],
}
PAIRS = {("softmax", "adamw"), ("mlp", "adam"), ("convnet", "sgd")}  # each once; the others: slow


@pytest.mark.parametrize(
    ("model", "optim"),
    [
        pytest.param(*pair, marks=[] if pair in PAIRS else pytest.mark.slow)
        for pair in product(MODELS, ["sgd", "adam", "adamw"])
    ],
)
def test_a_run_by_hand_ends_with_the_same_weights(both, model, optim):
    (torchs, by_hand), losses = both(
        f"optim={optim}",
        *MODELS[model],
        "trainer.precision=64-true",
        "trainer.max_epochs=2",
        "data.batch_size=32",
    )
    assert list(torchs) == list(by_hand)
    for name in torchs:
        assert relative_error(by_hand[name], torchs[name]) <= 1e-10, name
    assert losses[1] == pytest.approx(losses[0], rel=1e-10)


@pytest.mark.slow
@needs_cifar10
def test_100_steps_of_the_convnet_on_cifar10_end_with_the_same_weights(both):
    (torchs, by_hand), _ = both(
        "model=convnet",
        "trainer.precision=64-true",
        "trainer.max_epochs=1",
        "data.train_share=0.257",  # of 390 batches
        data=["data=cifar10", "data.val_size=0"],
    )
    for name in torchs:
        assert relative_error(by_hand[name], torchs[name]) <= 1e-10, name


@pytest.mark.slow
@needs_cifar10
def test_the_convnet_in_float32_has_the_same_loss_curve(both):
    _, losses = both(
        "model=convnet",
        "trainer.precision=32-true",
        "trainer.max_epochs=1",
        "data.train_share=0.334",  # of 390 batches
        data=["data=cifar10", "data.val_size=0"],
    )
    torchs, by_hand = map(torch.tensor, losses)
    assert len(torchs) == 130
    assert (by_hand[:20] - torchs[:20]).abs().max() < 0.005  # rounding alone, which grows
    torchs, by_hand = torchs.view(5, 26).mean(1), by_hand.view(5, 26).mean(1)
    assert relative_error(by_hand, torchs) < 0.02


@pytest.mark.parametrize("optim", ["random_search", "random_local_search"])
@pytest.mark.parametrize(
    "model",
    [["model=softmax"], pytest.param(["model=convnet", BLOCKS], marks=pytest.mark.slow)],
    ids=lambda overrides: overrides[0],
)
def test_a_search_goes_downhill_without_a_backward_pass(job, monkeypatch, optim, model):
    def backward(self, *args, **options):
        raise AssertionError("a backward pass")

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    full_batch = ["augment=none", "data.batch_size=null", "trainer.precision=64-true"]
    large = ["model.init=large", "optim.lr=0.1", "trainer.max_epochs=12"]
    _, folder = job(*model, f"optim={optim}", *full_batch, *large)
    losses = losses_of(folder)
    assert len(losses) == 12
    steps = [after - before for before, after in pairwise(losses)]
    assert max(steps) <= 1e-9  # on the full batch what is kept is never worse
    assert losses[-1] < losses[0]


def test_in_a_search_the_loss_on_record_is_that_of_the_weights_kept_so_far(job, monkeypatch):
    seen = []
    objective = Classifier.objective

    def watch(self, scores, labels):
        value = objective(self, scores, labels)
        seen.append((value.item(), labels.clone()))
        return value

    monkeypatch.setattr(Classifier, "objective", watch)
    _, folder = job(
        "model=softmax", "optim=random_search", "trainer.max_epochs=1", "data.batch_size=40"
    )
    kept, candidates = seen[::2], seen[1::2]
    assert len(kept) == len(candidates) == 6
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(kept, candidates, strict=True))
    assert losses_of(folder) == [pytest.approx(sum(loss for loss, _ in kept) / 6)]


def losses_of(folder: Path) -> list[float]:
    """train/loss of each epoch."""
    rows = csv.DictReader((folder / "metrics.csv").read_text().splitlines())
    return [float(row["train/loss"]) for row in rows if row["train/loss"]]
