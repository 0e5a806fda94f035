"""Training by hand: the same weights as with torch's layers and optimizers."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from running import weights_of

from lecture4.byhand.numerical import relative_error
from lecture4.training.classifier import Classifier

BLOCKS = (
    "model.blocks=[{channels: 8, padding: 1, norm: batch, pool: {kernel_size: 3, stride: 2}},"
    "{channels: 8, padding: 1, activation: tanh, pool: {kind: avg}}]"
)
CIFAR10 = Path(os.environ.get("CIFAR10_ROOT", "data"))
needs_cifar10 = pytest.mark.skipif(
    not (CIFAR10 / "cifar-10-batches-py").is_dir(), reason="CIFAR-10 is not there"
)


@pytest.fixture
def both(job, tmp_path, monkeypatch):
    """Train with torch's layers and optimizer, and by hand: weights, and losses step by step."""
    losses = []
    end = Classifier.on_validation_epoch_end

    def record(self):
        losses[-1] += [outcome[0] for outcome in self.outcomes["train"]]
        end(self)

    monkeypatch.setattr(Classifier, "on_validation_epoch_end", record)

    def train(optim: str, *overrides: str, **options):
        states = []
        for layers, prefix in (("torch", ""), ("byhand", "byhand_")):
            losses.append([])
            _, folder = job(
                *overrides,
                f"model.layers={layers}",
                f"optim={prefix}{optim}",
                folder=tmp_path / layers,
                **options,
            )
            states.append(weights_of(folder))
        return states, losses

    return train


@pytest.mark.parametrize("optim", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(
    "model",
    [
        ["model=softmax", "penalty=l2"],
        ["model=mlp", "model.hidden=[20,20]", "model.dropout=0.2", "label_smoothing=0.1"],
        ["model=convnet", BLOCKS],
    ],
    ids=lambda overrides: overrides[0],
)
def test_a_run_by_hand_ends_with_the_same_weights(both, model, optim):
    (torchs, by_hand), losses = both(
        optim, *model, "trainer.precision=64-true", "trainer.max_epochs=2", "data.batch_size=32"
    )
    assert list(torchs) == list(by_hand)
    for name in torchs:
        assert relative_error(by_hand[name], torchs[name]) <= 1e-10, name
    assert losses[1] == pytest.approx(losses[0], rel=1e-10)


@pytest.mark.slow
@needs_cifar10
def test_100_steps_of_the_convnet_on_cifar10_end_with_the_same_weights(both):
    (torchs, by_hand), _ = both(
        "sgd",
        "model=convnet",
        "trainer.precision=64-true",
        "trainer.max_epochs=1",
        "+trainer.limit_train_batches=100",
        data=["data=cifar10"],
    )
    for name in torchs:
        assert relative_error(by_hand[name], torchs[name]) <= 1e-10, name


@pytest.mark.slow
@needs_cifar10
def test_an_epoch_of_the_convnet_in_float32_has_the_same_loss_curve(both):
    _, losses = both(
        "sgd",
        "model=convnet",
        "trainer.precision=32-true",
        "trainer.max_epochs=1",
        data=["data=cifar10"],
    )
    torchs, by_hand = map(torch.tensor, losses)
    assert len(torchs) == 351
    assert (by_hand[:20] - torchs[:20]).abs().max() < 0.005  # rounding alone, which grows
    torchs, by_hand = torchs.view(13, 27).mean(1), by_hand.view(13, 27).mean(1)
    assert relative_error(by_hand, torchs) < 0.02


@pytest.mark.parametrize("optim", ["random_search", "random_local_search"])
@pytest.mark.parametrize(
    "model", [["model=softmax"], ["model=convnet", BLOCKS]], ids=lambda overrides: overrides[0]
)
def test_a_search_goes_downhill_without_a_backward_pass(job, monkeypatch, optim, model):
    def backward(self, *args, **options):
        raise AssertionError("a backward pass")

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    full_batch = ["augment=none", "data.batch_size=null", "trainer.precision=64-true"]
    large = ["model.init=large", "optim.lr=0.1", "trainer.max_epochs=30"]
    _, folder = job(*model, f"optim={optim}", *full_batch, *large)
    rows = (folder / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("train/loss")
    losses = [float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]]
    assert len(losses) == 30
    steps = [after - before for before, after in pairwise(losses)]
    assert max(steps) <= 1e-9  # on the full batch what is kept is never worse
    assert losses[-1] < losses[0]


def test_in_a_search_the_loss_on_record_is_that_of_the_weights_kept_so_far(job, monkeypatch):
    seen, recorded = [], []
    objective, end = Classifier.objective, Classifier.on_validation_epoch_end

    def watch(self, scores, labels):
        value = objective(self, scores, labels)
        seen.append((value.item(), labels.clone()))
        return value

    def record(self):
        recorded.extend(outcome[0] for outcome in self.outcomes["train"])
        end(self)

    monkeypatch.setattr(Classifier, "objective", watch)
    monkeypatch.setattr(Classifier, "on_validation_epoch_end", record)
    job("model=softmax", "optim=random_search", "trainer.max_epochs=2", "data.batch_size=40")
    kept, candidates = seen[::2], seen[1::2]
    assert len(kept) == len(candidates) == len(recorded) == 12
    assert recorded == [loss for loss, _ in kept]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(kept, candidates, strict=True))
