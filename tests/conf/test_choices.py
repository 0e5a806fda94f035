"""Every file in conf/ composes, and trains for a step, with either formulas."""

import json

import pytest
from running import CONF, compose

from lecture4.data import PUBLISHED

ONE_STEP = ["trainer.max_epochs=1", "data.batch_size=200"]  # of 240 images
TINY_CONVNET = "model.blocks=[{channels: 4, padding: 1, norm: batch, pool: {kernel_size: 4}}]"
POINTS = ["data=rings", "data.train_size=300", "data.test_size=60", "data.val_size=60"]
NEED_BLOCKS = {"model=convnet", "experiment=convnet88", "experiment=demo", "sweep=architecture"}
# Any choice of one goes with any of another: one run tries a choice of each.
TOGETHER = ["augment", "logger", "model", "optim", "penalty", "preprocess", "schedule", "trainer"]
ALONE = ["average", "experiment", "sweep"]
# These need a GPU, several processes, or a server; polar needs points.
ELSEWHERE = {
    "trainer": {"gpu", "ddp"},
    "logger": {"wandb", "mlflow"},
    "preprocess": {"polar"},
}


def choices(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def together() -> list[list[str]]:
    """The n-th choice of each group, until each has been in a run."""
    of = {group: sorted(set(choices(group)) - ELSEWHERE.get(group, set())) for group in TOGETHER}
    rows = range(max(map(len, of.values())))
    return [[f"{group}={names[n % len(names)]}" for group, names in of.items()] for n in rows]


def alone() -> list[list[str]]:
    of_model = {"sweep=architecture", "sweep=init_activation"}
    words = [f"{group}={choice}" for group in ALONE for choice in choices(group)]
    own = [word for word in words if word in of_model or word.startswith("experiment=")]
    return [[word] if word in own else [word, "model=softmax"] for word in words]


def test_every_group_is_trained_with():
    folders = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert folders == {*TOGETHER, *ALONE, "data", "hydra", "schema"}


@pytest.mark.parametrize(
    ("words", "formulas"),
    [
        *((row, f) for row in together() for f in ("torch", "byhand")),
        *((w, "torch") for w in alone()),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_every_choice_trains_for_one_step(job, words, formulas):
    blocks = [TINY_CONVNET] if set(words) & NEED_BLOCKS else []
    if any(word.startswith("experiment=fast") for word in words):
        blocks = ["model.blocks=[{channels: 24, kernel_size: 2, init: whiten, frozen: true}]"]
    _, folder = job(*words, f"formulas={formulas}", *ONE_STEP, *blocks)
    assert json.loads((folder / "results.json").read_text())["status"] == "completed"


def test_polar_trains_for_one_step(job):
    _, folder = job(*POINTS, "model=softmax", "preprocess=polar", *ONE_STEP, data=[])
    assert json.loads((folder / "results.json").read_text())["status"] == "completed"


@pytest.mark.parametrize("formulas", ["torch", "byhand"])
def test_rings_train_for_one_step(job, formulas):
    _, folder = job(*POINTS, "model=mlp", f"formulas={formulas}", *ONE_STEP, data=[])
    assert (folder / "figures" / "boundary.png").exists()


def test_every_data_choice_composes_with_its_defaults():
    assert choices("data") == [
        "cifar10",
        "cifar100",
        "fashion_mnist",
        "image_folder",
        "mnist",
        "rings",
        "shapes",
    ]
    of = {name: compose(f"data={name}") for name in choices("data")}
    assert of["rings"].augment._target_ == "lecture4.data.augment.NoAugment"
    points = of.pop("rings")
    assert points.preprocess._target_ == compose("preprocess=none").preprocess._target_
    assert points.data.batch_size == 128
    for cfg in of.values():
        assert cfg.preprocess._target_ == "lecture4.data.preprocess.ChannelStandardize"
        assert cfg.data.batch_size == 128
        if cfg is not of["mnist"]:  # a mirrored digit is no digit
            assert cfg.augment._target_ == "lecture4.data.augment.Flip"
    assert of["mnist"].augment._target_ == "lecture4.data.augment.NoAugment"
    assert compose("data=mnist", "augment=flip_crop").augment.crop == 2
    assert of["cifar10"].data.val_size == 5000


@pytest.mark.parametrize("name", PUBLISHED)
def test_downloaded_data_lies_where_the_environment_says_and_comes_from_urls(name, monkeypatch):
    monkeypatch.setenv(f"{name.upper()}_ROOT", "/datasets")
    urls = "data.urls=[https://example.org/a-b.tar.gz,'http://localhost:80/b.zip?download=1']"
    source = compose(f"data={name}", urls).data.source
    assert source.root == "/datasets"
    assert source.urls == ["https://example.org/a-b.tar.gz", "http://localhost:80/b.zip?download=1"]
    monkeypatch.delenv(f"{name.upper()}_ROOT")
    source = compose(f"data={name}").data.source
    assert source == {"_target_": f"lecture4.data.load_{name}", "root": "data", "urls": None}
