"""A configuration becomes a classifier and its data."""

import pytest
import torch
from running import SMALL, compose
from torch import nn

from lecture4 import byhand
from lecture4.byhand.init import whiten_
from lecture4.data import make_shapes, preprocess
from lecture4.training.assemble import assemble, build, hyperparameters

MLP = [*SMALL, "model=mlp", "model.hidden=[8]", "model.dropout=0.5"]


def test_formulas_choose_layers_loss_optimizer_and_penalty_together():
    for name, layers, optim in (
        ("torch", nn, torch.optim),
        ("byhand", byhand.nn, byhand.optim),
    ):
        classifier, _ = assemble(compose(*MLP, f"formulas={name}", "penalty=l2"))
        kinds = {type(m) for m in classifier.model.modules() if not any(m.children())}
        assert {layers.Linear, layers.ReLU, layers.Flatten, layers.Dropout} <= kinds
        assert type(classifier.cross_entropy) is layers.CrossEntropyLoss
        assert classifier.optimizer.func is optim.SGD
        assert classifier.penalty([torch.tensor([3.0, 4.0])]) == 25


def test_settings_reach_what_they_are_for():
    classifier, data = assemble(
        compose(
            *MLP,
            "optim=adam",
            "optim.lr=0.5",
            "penalty=l1",
            "penalty.strength=0.25",
            "label_smoothing=0.1",
            "seed=7",
            "data.batch_size=10",
            "data.eval_batch_size=20",
            "data.train_share=0.5",
        )
    )
    group = classifier.optimizer(classifier.parameters()).param_groups[0]
    assert (group["lr"], group["betas"], group["fused"]) == (0.5, (0.9, 0.999), True)
    assert classifier.penalty([torch.tensor([-3.0, 4.0])]) == 7
    assert (classifier.penalty_strength, classifier.seed) == (0.25, 7)
    assert (data.batch_size, data.eval_batch_size, data.train_share, data.seed) == (10, 20, 0.5, 7)
    assert len(data.val_index) == 60
    assert len(classifier.class_names) == 10


def test_a_dataset_and_a_preprocessing_that_are_there_are_taken():
    dataset = make_shapes(train_size=100, test_size=10)
    fitted = preprocess.ChannelMean((3, 32, 32))
    fitted.mean.fill_(0.25)
    cfg = compose("data=cifar10", "data.root=/nowhere", "data.val_size=20", "model=softmax")
    classifier, data = assemble(cfg, dataset, fitted)
    assert data.dataset is dataset
    assert classifier.preprocess is fitted
    assert (fitted.mean == 0.25).all()


def test_preprocessing_is_fitted_on_the_training_split():
    classifier, data = assemble(compose(*MLP, "preprocess=mean_image"))
    mean = data.train_inputs().double().mean(0) / 255
    torch.testing.assert_close(classifier.preprocess.mean, mean.float())


WHITE = "model.blocks=[{channels: 24, kernel_size: 2, init: whiten}, {channels: 4}]"


@pytest.mark.parametrize("formulas", ["torch", "byhand"])
def test_a_first_layer_is_whitened_on_the_training_split_alone(formulas):
    cfg = compose(*SMALL, "model=convnet", WHITE, f"formulas={formulas}")
    dataset = make_shapes(train_size=300, test_size=60, seed=4)
    classifier, data = assemble(cfg, dataset)
    dataset.train_inputs[data.val_index] = 0
    dataset.test_inputs.zero_()
    again, _ = assemble(cfg, dataset)
    conv, twin = (c.model.blocks[0].conv for c in (classifier, again))
    assert torch.equal(conv.weight, twin.weight)
    x = classifier.preprocess(data.train_inputs())  # fewer than WHITENED: all of them
    whiten_(twin, [x])
    torch.testing.assert_close(conv.weight, twin.weight, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("formulas", ["torch", "byhand"])
def test_an_mlp_sees_the_principal_components_of_the_training_split(formulas):
    rings = ["data=rings", "model=mlp", "model.hidden=[8]", "model.whiten=2"]
    classifier, data = assemble(compose(*rings, f"formulas={formulas}"))
    x, first = data.train_inputs(), classifier.model.hidden[0]  # fewer than WHITENED: all of them
    variances = torch.linalg.eigvalsh(torch.cov(x.T)).flip(0)
    z = first(classifier.preprocess(x)).detach()
    torch.testing.assert_close(z.mean(0), torch.zeros(2), rtol=0, atol=1e-5)
    expected = (variances / (variances + 1)).diag()
    torch.testing.assert_close(torch.cov(z.T), expected, rtol=1e-3, atol=1e-3)
    assert not any(p.requires_grad for p in first.parameters())


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("formulas=mine", "formulas=mine is unknown; choose one of torch, byhand"),
        ("optim.name=SDG", "optim.name=SDG is unknown"),
        ("penalty.kind=l3", "penalty.kind=l3 is unknown; choose one of none, l1, l2"),
    ],
)
def test_names_are_looked_up_before_the_data_are_read(override, expected):
    with pytest.raises(ValueError, match=expected):
        assemble(compose("data=image_folder", "data.root=/nowhere", override))


def test_what_changes_nothing_in_the_net_is_no_hyperparameter():
    cfg = compose(*MLP)
    del cfg.hydra  # Hydra keeps it from a job
    found = hyperparameters(cfg)
    assert found["model"] == {
        "hidden": [8],
        "activation": "relu",
        "dropout": 0.5,
        "init": "he",
        "whiten": 0,
    }
    assert (found["formulas"], found["optim"]["lr"]) == ("torch", 0.05)
    assert not {"logger", "resume", "sweep_resume", "checkpoint", "recipe"} & set(found)


def test_a_setting_that_a_model_lacks_is_named():
    with pytest.raises(Exception, match="model: MLP has no setting depth"):
        build("model", compose(*MLP, "+model.depth=3").model, (3, 32, 32), 10)


@pytest.mark.parametrize("preprocess", ["none", "channel_standardize", "mean_image"])
def test_a_cut_square_is_zero_after_preprocessing(preprocess):
    cut = [f"preprocess={preprocess}", "augment=flip_crop", "augment.cutout=32"]
    classifier, data = assemble(compose(*SMALL, "model=softmax", *cut))
    images = data.dataset.train_inputs[:5]
    x = classifier.preprocess(classifier.augment(images, 0, 0, torch.arange(5)))
    assert x.abs().max() < 0.01  # a byte's rounding is 0.5/255 of the full scale
