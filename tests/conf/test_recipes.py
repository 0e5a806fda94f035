"""What each model needs stands beside it, and what is typed wins."""

import pytest
from running import compose

# learning rate and weight decay
RECIPES = {
    ("softmax", "sgd"): (0.003, 0),
    ("softmax", "adam"): (0.001, 0),
    ("softmax", "adamw"): (0.001, 0.01),
    ("mlp", "sgd"): (0.05, 0.0005),
    ("mlp", "adam"): (0.001, 0),
    ("mlp", "adamw"): (0.001, 0.05),
    ("convnet", "sgd"): (0.1, 0.0005),
    ("convnet", "adam"): (0.005, 0),
    ("convnet", "adamw"): (0.005, 0.05),
}
# epochs, precision, schedule, pixels of the crop
LENGTHS = {
    "softmax": (12, "32-true", "cosine", None),
    "mlp": (40, "32-true", "onecycle", 2),
    "convnet": (10, "auto", "onecycle", 2),
}


@pytest.mark.parametrize("formulas", ["torch", "byhand"])
@pytest.mark.parametrize(("model", "optim"), RECIPES)
def test_each_pair_has_the_learning_rate_and_weight_decay_that_were_measured(
    model, optim, formulas
):
    cfg = compose(f"model={model}", f"optim={optim}", f"formulas={formulas}")
    assert (cfg.optim.lr, cfg.optim.weight_decay) == RECIPES[model, optim]


@pytest.mark.parametrize("model", LENGTHS)
def test_each_model_has_its_epochs_precision_schedule_and_augmentation(model):
    cfg = compose(f"model={model}")
    schedule = cfg.schedule._target_.rpartition(".")[2]
    crop = cfg.augment.get("crop")
    found = (cfg.trainer.max_epochs, cfg.trainer.precision, schedule, crop)
    assert found == LENGTHS[model]


def test_without_a_recipe_an_optimizer_has_a_learning_rate_of_its_own():
    for optim, lr, decay in (("sgd", 0.01, 0), ("adam", 0.001, 0), ("adamw", 0.001, 0.01)):
        cfg = compose(f"optim={optim}", "~recipe")
        assert (cfg.optim.lr, cfg.optim.weight_decay) == (lr, decay)


@pytest.mark.parametrize("model", LENGTHS)
def test_random_search_draws_each_w_alike(model):
    cfg = compose(f"model={model}", "optim=random_search")
    assert cfg.schedule._target_ == "lecture4.training.schedule.constant"
    cfg = compose("optim=random_search", f"model={model}", "schedule=step")
    assert cfg.schedule._target_ == "lecture4.training.schedule.step"


def test_what_is_typed_wins_over_everything():
    cfg = compose(
        "optim.lr=0.5",
        "trainer.max_epochs=3",
        "model=convnet",
        "optim=adam",
        "schedule=step",
        "augment=none",
        "preprocess=mean_image",
        "trainer.precision=64-true",
    )
    assert (cfg.optim.lr, cfg.trainer.max_epochs, cfg.trainer.precision) == (0.5, 3, "64-true")
    assert cfg.schedule._target_ == "lecture4.training.schedule.step"
    assert cfg.augment._target_ == "lecture4.data.augment.NoAugment"
    assert cfg.preprocess._target_ == "lecture4.data.preprocess.MeanImage"


def test_what_is_typed_wins_over_an_experiment():
    cfg = compose("experiment=demo", "model=mlp", "trainer.max_epochs=7", "data=rings")
    assert cfg.model._target_ == "lecture4.models.MLP"
    assert cfg.trainer.max_epochs == 7
    assert cfg.data.source._target_ == "lecture4.data.make_rings"
