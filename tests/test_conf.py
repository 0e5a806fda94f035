"""Every file in conf/ composes, and trains for a step."""

import json

import pytest
from omegaconf import OmegaConf
from running import CONF, compose

ONE_STEP = ["trainer.max_epochs=1", "+trainer.limit_train_batches=1", "data.batch_size=32"]
TINY_CONVNET = "model.blocks=[{channels: 4, padding: 1, norm: batch, pool: {kernel_size: 4}}]"


def choices(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


GROUPS = sorted(
    path.name for path in CONF.iterdir() if path.is_dir() and path.name not in ("recipe", "data")
)
NEEDS = {
    ("preprocess", "polar"): ["data=rings", "data.train_size=300"],
    ("model", "convnet"): [TINY_CONVNET],
    ("experiment", "demo"): [TINY_CONVNET, "experiment=demo"],
}
ELSEWHERE = {("trainer", "gpu"), ("trainer", "ddp"), ("logger", "wandb"), ("logger", "mlflow")}


@pytest.mark.parametrize(
    ("group", "choice"),
    [(g, c) for g in GROUPS for c in choices(g) if (g, c) not in ELSEWHERE],
    ids=lambda value: value,
)
def test_every_choice_trains_for_one_step(job, group, choice):
    own = group in ("model", "experiment") or choice == "init_activation"  # it brings a model
    model = [] if own else ["model=softmax"]
    _, folder = job(*model, f"{group}={choice}", *ONE_STEP, *NEEDS.get((group, choice), []))
    assert json.loads((folder / "results.json").read_text())["status"] == "completed"


def test_every_data_choice_composes_with_its_defaults():
    defaults = {name: compose(f"data={name}") for name in choices("data")}
    target = {name: cfg.preprocess._target_ for name, cfg in defaults.items()}
    assert target.pop("rings") == "lecture4.data.preprocess.Preprocess"
    assert set(target.values()) == {"lecture4.data.preprocess.ChannelStandardize"}
    assert defaults["rings"].augment._target_ == "lecture4.data.augment.NoAugment"
    assert defaults["cifar10"].data.val_size == 5000
    assert all(cfg.data.batch_size == 128 for cfg in defaults.values())


def test_rings_train_for_one_step(job):
    _, folder = job("data=rings", "data.train_size=300", "model=mlp", *ONE_STEP)
    assert (folder / "figures" / "boundary.png").exists()


@pytest.mark.parametrize("model", choices("model"))
@pytest.mark.parametrize("optim", ["sgd", "adam", "adamw"])
def test_every_pair_has_its_own_learning_rate(model, optim):
    pair = OmegaConf.load(CONF / "recipe" / "pair" / f"{model}_{optim}.yaml")
    assert compose(f"model={model}", f"optim={optim}").optim.lr == pair.optim.lr


@pytest.mark.parametrize("model", choices("model"))
@pytest.mark.parametrize("optim", ["sgd", "adam", "adamw"])
def test_by_hand_the_settings_are_those_of_torchs(model, optim):
    torchs = compose(f"model={model}", f"optim={optim}").optim
    by_hand = compose(f"model={model}", f"optim=byhand_{optim}").optim
    assert by_hand._target_ == torchs._target_.replace("torch", "lecture4")
    different = {"_target_", "fused"}
    assert {k: v for k, v in torchs.items() if k not in different} == {
        k: v for k, v in by_hand.items() if k not in different
    }


@pytest.mark.parametrize("model", choices("model"))
def test_random_search_draws_each_w_alike(model):
    assert compose(f"model={model}", "optim=random_search").schedule._target_.endswith(".constant")


def test_the_command_line_beats_every_recipe():
    cfg = compose(
        "model=convnet",
        "optim=adam",
        "optim.lr=0.5",
        "trainer.max_epochs=3",
        "schedule=step",
        "augment=none",
        "preprocess=mean_image",
        "trainer.precision=64-true",
    )
    assert (cfg.optim.lr, cfg.trainer.max_epochs, cfg.trainer.precision) == (0.5, 3, "64-true")
    assert cfg.schedule._target_ == "lecture4.training.schedule.step"
    assert cfg.augment._target_ == "lecture4.data.augment.NoAugment"
    assert cfg.preprocess._target_ == "lecture4.data.preprocess.MeanImage"


def test_cifar10_lies_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("CIFAR10_ROOT", "/datasets")
    assert compose().data.source.root == "/datasets"
    monkeypatch.delenv("CIFAR10_ROOT")
    assert compose().data.source.root == "data"
    assert compose("data.root=/elsewhere").data.source.root == "/elsewhere"
