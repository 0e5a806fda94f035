"""The LightningModule: the objective, the metrics, what a checkpoint holds."""

from functools import partial

import pytest
import torch
from torch import nn

from lecture4.data.augment import NoAugment
from lecture4.data.preprocess import Preprocess
from lecture4.models import ConvNet, SoftmaxClassifier
from lecture4.training.classifier import Classifier, weights
from lecture4.training.schedule import constant


def classifier(model: nn.Module | None = None, **settings) -> Classifier:
    torch.manual_seed(0)
    model = model or SoftmaxClassifier((4,), 3, init="he")
    made = Classifier(
        model,
        Preprocess((4,)),
        NoAugment((4,)),
        ["a", "b", "c"],
        partial(torch.optim.SGD, lr=0.1),
        constant,
        **settings,
    )
    made._trainer = type("NoTrainer", (), {"current_epoch": 0, "global_step": 7})()
    return made


def batch(n: int = 8):
    draw = torch.Generator().manual_seed(1)
    return (
        torch.randn(n, 4, generator=draw),
        torch.arange(n) % 3,
        torch.arange(n),
    )


def by_definition(module: Classifier, smoothing: float = 0.0) -> torch.Tensor:
    inputs, labels, _ = batch()
    p = torch.softmax(module(inputs), 1)
    target = (1 - smoothing) * torch.eye(3)[labels] + smoothing / 3
    return -(target * p.log()).sum(1).mean()


def test_objective_is_mean_cross_entropy():
    module = classifier()
    torch.testing.assert_close(module.step(batch(), "train"), by_definition(module))


def test_label_smoothing_changes_the_objective_and_not_the_reported_loss():
    module = classifier(label_smoothing=0.2)
    torch.testing.assert_close(module.step(batch(), "train"), by_definition(module, 0.2))
    assert module.outcomes["train"][0][0] == pytest.approx(by_definition(module).item(), rel=1e-5)


def test_a_second_look_at_a_batch_leaves_no_trace():
    norm = nn.BatchNorm1d(4)
    model = nn.Sequential(norm, nn.Dropout(0.5), nn.Linear(4, 3))
    model.settings = {"layers": "torch"}
    module = classifier(model)
    module._epoch_key = 3
    module.on_train_batch_start(batch(), 0)
    first = module.training_step(batch())
    after_first = [buffer.clone() for buffer in module.model.buffers()]
    assert norm.num_batches_tracked == 1
    second = module.training_step(batch())
    assert torch.equal(first, second)  # dropout left out the same units
    assert len(module.outcomes["train"]) == 1
    assert all(map(torch.equal, module.model.buffers(), after_first))
    module.on_train_batch_start(batch(), 1)
    module.training_step(batch())
    assert len(module.outcomes["train"]) == 2
    assert norm.num_batches_tracked == 2


@pytest.mark.parametrize(("kind", "power"), [("l2", 2), ("l1", 1)])
def test_penalty_is_over_weights_and_not_reported(kind, power):
    module = classifier(penalty=kind, penalty_strength=0.5)
    with torch.no_grad():
        module.model.scores.bias.fill_(100.0)
    expected = by_definition(module) + 0.5 * module.model.scores.weight.abs().pow(power).sum()
    torch.testing.assert_close(module.step(batch(), "train"), expected)
    assert module.outcomes["train"][0][0] == pytest.approx(by_definition(module).item(), rel=1e-5)


def test_penalty_gradient_of_the_lecture():
    """∇ of λ Σ w² is 2 λ w, on top of the data's gradient."""
    plain, penalised = classifier(), classifier(penalty="l2", penalty_strength=0.5)
    plain.step(batch(), "train").backward()
    penalised.step(batch(), "train").backward()
    w = plain.model.scores.weight
    torch.testing.assert_close(penalised.model.scores.weight.grad, w.grad + 2 * 0.5 * w)
    torch.testing.assert_close(penalised.model.scores.bias.grad, plain.model.scores.bias.grad)


def test_unknown_penalty_lists_the_choices():
    with pytest.raises(ValueError, match="penalty.kind=l3.*none, l2, l1"):
        classifier(penalty="l3")


def test_weights_are_neither_biases_nor_norm_parameters():
    model = ConvNet((3, 8, 8), 2, [{"channels": 4, "norm": "batch"}, {"channels": 5}])
    shapes = [tuple(w.shape) for w in weights(model)]
    assert shapes == [(4, 3, 3, 3), (5, 4, 3, 3), (2, 5)]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_before_the_update(value):
    module = classifier()
    module.optimizers = lambda: torch.optim.SGD(module.parameters(), lr=0.25)
    with torch.no_grad():
        module.model.scores.bias[0] = value
    with pytest.raises(FloatingPointError, match=r"step 7 \(epoch 1\).*0\.25"):
        module.step(batch(), "train")


def test_test_metrics_do_not_depend_on_the_batches(job):
    accuracy = {}
    for size in (7, 60):
        _, folder = job("model=softmax", "trainer.max_epochs=1", f"data.eval_batch_size={size}")
        accuracy[size] = (folder / "results.json").read_text()
    results = [__import__("json").loads(text) for text in accuracy.values()]
    for name in ("test_accuracy", "val_accuracy"):
        assert results[0][name] == results[1][name]
    assert results[0]["test_loss"] == pytest.approx(results[1]["test_loss"], rel=1e-6)


def test_biases_and_norms_are_not_decayed():
    model = ConvNet((3, 8, 8), 3, [{"channels": 4, "norm": "batch"}])
    module = classifier(model)
    module.optimizer = partial(torch.optim.SGD, lr=0.1, weight_decay=0.5)
    module._trainer.estimated_stepping_batches = 10
    groups = module.configure_optimizers()["optimizer"].param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
