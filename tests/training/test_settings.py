"""Settings are checked before anything slow begins."""

import pytest
from running import compose

from lecture4.training import settings

BAD_SETTINGS = {
    "optim.lr=0": "optim.lr=0 ",
    "optim.lr=-0.1": "a number > 0",
    "optim.lr=fast": "optim.lr=fast ",
    "optim.lr=.inf": "a number > 0",
    "optim.lr=.nan": "a number > 0",
    "optim.lr=true": "a number > 0",
    "optim.momentum=1": "in [0, 1)",
    "schedule.milestones=abc": "fractions of the run",
    "schedule.milestones=[30,60]": "fractions of the run",
    "optim.betas=3": "two numbers",
    "optim.fused=foo": "true or false",
    "model.activation=[relu]": "a name",
    "data.root=null": "a name",
    "data.val_size=2.5": "fraction",
    "trainer.accelerator=mps": "auto, cpu or gpu",
    "+trainer.limit_test_batches=0": "test at the end",
    "optim.weight_decay=-1": "≥ 0",
    "data.batch_size=0": "null for the full batch",
    "data.batch_size=-5": "whole number ≥ 1",
    "data.batch_size=1.5": "whole number ≥ 1",
    "data.batch_size=many": "whole number ≥ 1",
    "data.eval_batch_size=null": "whole number ≥ 1",
    "data.val_size=0": "fraction",
    "trainer.max_epochs=0": "whole number ≥ 1",
    "trainer.max_epochs=-1": "whole number ≥ 1",
    "trainer.max_epochs=ten": "whole number ≥ 1",
    "trainer.max_epochs=2.5": "whole number ≥ 1",
    "sanity=perhaps": "true or false",
    "model.layers=[torch]": "a name",
    "seed=-1": "4294967295",
    "seed=4294967296": "4294967295",
    "seed=null": "4294967295",
    "label_smoothing=1": "in [0, 1)",
    "penalty.strength=-1": "≥ 0",
    "trainer.deterministic=perhaps": "true or false",
    "+trainer.max_steps=5": "whole epochs",
    "+trainer.limit_val_batches=0": "whole epochs",
}


NEEDED = {"schedule.milestones": ["schedule=step"], "optim.betas": ["optim=adam"]}


@pytest.mark.parametrize(("override", "expected"), BAD_SETTINGS.items())
def test_a_bad_setting_is_restated_with_what_would_be_accepted(override, expected):
    with pytest.raises(
        ValueError, match=r"(is not accepted; it must be|is not supported)"
    ) as error:
        settings.check(compose(*NEEDED.get(override.split("=")[0], []), override))
    assert expected in str(error.value)
    assert override.lstrip("+").split("=")[0] in str(error.value)


def test_the_defaults_of_every_choice_are_accepted():
    for data in ("cifar10", "shapes", "rings", "image_folder"):
        settings.check(compose(f"data={data}", "model=mlp"))
    for group, name in [("optim", "adam"), ("optim", "adamw"), ("penalty", "l1"), ("seed", "0")]:
        settings.check(compose(f"{group}={name}"))
    settings.check(compose("data.batch_size=null"))


def test_every_checked_setting_exists_somewhere():
    known = settings.known_keys()
    missing = [key for key in settings.ACCEPTED if key not in known]
    assert missing == ["trainer.limit_train_batches"]  # Lightning's own, by +


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("optim.lrr", "optim.lr"),
        ("modle", "model"),
        ("trainer.epochs", "trainer.max_epochs"),
        ("data.batchsize", "data.batch_size"),
        ("lr", "optim.lr"),
    ],
)
def test_an_unknown_key_brings_the_nearest_to_mind(given, meant):
    assert f"did you mean {meant}?" in settings.unknown_key(given)


def test_plain_gradient_descent_is_told_of_nesterov():
    with pytest.raises(ValueError, match="optim.nesterov=false"):
        settings.check(compose("optim.momentum=0"))
    settings.check(compose("optim.momentum=0", "optim.nesterov=false"))
