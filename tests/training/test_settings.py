"""Settings are checked before anything slow begins."""

import pytest
import torch
from running import compose

from lecture4.data import SOURCES
from lecture4.support.conf import choices
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
    "+trainer.limit_test_batches=0": "ends with a test",
    "optim.weight_decay=-1": "≥ 0",
    "data.batch_size=0": "null for the full batch",
    "data.batch_size=-5": "whole number ≥ 1",
    "data.batch_size=1.5": "whole number ≥ 1",
    "data.batch_size=many": "whole number ≥ 1",
    "data.eval_batch_size=null": "whole number ≥ 1",
    "data.val_size=-1": "or 0 for none",
    "test_time=flip": "none, mirror or crops",
    "augment.alternate=2": "true or false",
    "augment.cutout=-1": "whole number ≥ 0",
    "trainer.max_epochs=0": "whole number ≥ 1",
    "trainer.max_epochs=-1": "whole number ≥ 1",
    "trainer.max_epochs=ten": "whole number ≥ 1",
    "trainer.max_epochs=2.5": "whole number ≥ 1",
    "sanity=perhaps": "true or false",
    "formulas=[torch]": "a name",
    "penalty.kind=3": "a name",
    "optim.nesterov=1": "true or false",
    "model.blocks=3": "a list",
    "model.strict_sizes=1": "true or false",
    "recipe=3": "by its parts",
    "recipe.sgd.lr=fast": "a number",
    "checkpoint.every_n_steps=0": "null for the end of each epoch only",
    "data.train_share=0": "a fraction in (0, 1]",
    "data.train_share=1.5": "a fraction in (0, 1]",
    "data.device=cuda": "auto or cpu",
    "trainer.gradient_clip_val=0": "null for no limit",
    "trainer.gradient_clip_val=true": "a number > 0",
    "trainer.precision=16-mixed": "bf16-mixed",
    "trainer.precision=16": "bf16-mixed",
    "+trainer.limit_train_batches=0.5": "use data.train_share",
    "+trainer.accumulate_grad_batches=2": "use a larger data.batch_size",
    "+trainer.gradient_clip_algorithm=value": "trainer.gradient_clip_val",
    "seed=-1": "4294967295",
    "seed=4294967296": "4294967295",
    "seed=null": "4294967295",
    "label_smoothing=1": "in [0, 1)",
    "penalty.strength=-1": "≥ 0",
    "data.urls=https://example.org/a.zip": "a list of URLs, such as [https://HOST/FILE]",
    "data.urls=[]": "a list of URLs, such as [https://HOST/FILE]",
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


@pytest.mark.parametrize(
    "overrides",
    [
        *([f"data={name}", "model=mlp"] for name in SOURCES),
        ["data.urls=[https://example.org/a.zip]"],
        *([f"optim={name}"] for name in ("adam", "adamw", "random_search")),
        *([f"schedule={name}"] for name in ("constant", "cosine", "onecycle", "step")),
        *([f"trainer={name}"] for name in ("cpu", "ddp")),
        ["penalty=l1"],
        ["logger=mlflow"],
        ["seed=0"],
    ],
    ids=" ".join,
)
def test_what_conf_holds_is_accepted(overrides):
    settings.check(compose(*overrides))


@pytest.mark.parametrize(
    "override",
    [
        "data.batch_size=null",
        "data.val_size=0.1",
        "data.val_size=0",
        "test_time=mirror",
        "data.train_share=0.01",
        "optim.lr=1",  # a whole number is a number
        "optim.weight_decay=0",
        "optim.fused=false",
        "trainer.devices=[0]",
        "trainer.devices='0,'",
        "trainer.precision=64",
        "trainer.precision=bf16-mixed",
        "trainer.gradient_clip_val=1",
        "checkpoint.every_n_steps=10",
        "+trainer.log_every_n_steps=5",
    ],
)
def test_what_makes_sense_is_accepted(override):
    cfg = compose("trainer.strategy=ddp" if "'0,'" in override else "seed=0", override)
    settings.check(cfg)


@pytest.mark.parametrize(
    ("default", "kind"),
    [
        (True, bool),
        (3, int),
        (0.5, float),
        ("relu", str),
        ([1], list),
        ("${oc.select:recipe.sgd.lr,0.01}", float),
        ("${oc.env:NOWHERE_SET,data}", str),
        ("${data.root}", type(None)),
        (None, type(None)),
    ],
)
def test_the_type_of_a_default(default, kind):
    assert settings.type_of(default) is kind


def test_types_follow_the_defaults_of_all_files_of_a_group():
    rules = settings.types()
    assert rules["model.strict_sizes"] is settings.FLAG
    assert rules["trainer.num_nodes"] is settings.WHOLE
    assert rules["data.val_size"] is settings.NUMBER  # 5000 here, 0.1 there
    assert rules["optim.name"] is settings.NAME
    assert rules["model.hidden"] is settings.LIST
    assert "trainer.devices" not in rules  # 1 here, auto there
    assert "resume" not in rules  # null
    assert "budget" not in rules  # lecture.py's


def test_every_checked_setting_exists_in_conf():
    known = {key.path for choice in choices() for key in choice.keys}
    assert [key for key in settings.ACCEPTED if key not in known] == []


def test_nothing_that_conf_offers_is_called_unsupported():
    known = {key.path for choice in choices() for key in choice.keys}
    assert [key for key in settings.NOT_SUPPORTED if f"trainer.{key}" in known] == []


def test_nesterov_needs_momentum():
    with pytest.raises(ValueError, match="optim.nesterov=false"):
        settings.check(compose("optim.momentum=0"))
    settings.check(compose("optim.momentum=0", "optim.nesterov=false"))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer=cpu", "trainer.devices=2"], "optim=random_search runs in one process"),
        (["trainer.gradient_clip_val=1"], "optim=random_search has no gradient to clip"),
    ],
)
def test_a_search_has_one_process_and_no_gradient(overrides, expected):
    with pytest.raises(ValueError, match=expected):
        settings.check(compose("optim=random_search", *overrides))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="trainer.accelerator=gpu needs a GPU.*trainer=cpu"):
        settings.check(compose("trainer=gpu"))
