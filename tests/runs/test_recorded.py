"""What of a run's recorded configuration is accepted, and what is refused."""

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
from running import CONF, compose

from lecture4.runs import recorded


@pytest.fixture
def as_in_a_job(tmp_path):
    """Hydra as a job finds it."""
    cfg = compose()
    OmegaConf.set_readonly(cfg.hydra, False)
    cfg.hydra.runtime.output_dir = str(tmp_path)
    HydraConfig.instance().set_config(cfg)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        yield
    HydraConfig.instance().cfg = None


def read(tmp_path, *words: str) -> list[str]:
    path = tmp_path / "overrides.yaml"
    path.write_text(yaml.safe_dump(list(words)))
    return recorded.read_overrides(path)


ACCEPTED = [
    ["model=mlp", "model.hidden=[8,8]", "+trainer.gradient_clip_val=1.0"],
    ["logger=wandb", "logger.wandb.offline=true", "+logger.wandb.tags=[a,b]"],
    ["logger=mlflow", "logger.mlflow.experiment_name=mine", "penalty=l2"],
    ["data=rings", "data.source_seed=3", "preprocess=polar", "sweep_resume=true"],
    ["data.root='/a place'", "optim.lr=1e-05", "data.batch_size=null", "++seed=3"],
]


@pytest.mark.parametrize("words", ACCEPTED, ids=lambda words: words[0])
def test_what_hydra_records_of_a_run_is_accepted(as_in_a_job, tmp_path, words):
    composed = recorded.compose(read(tmp_path, *words))
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(composed))  # as Hydra writes it
    recorded.compare(tmp_path / "config.yaml", composed)
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(composed, resolve=True))
    recorded.compare(tmp_path / "config.yaml", composed)
    assert "hydra" not in composed
    if words[0] == "model=mlp":
        assert HydraConfig.get().runtime.choices.model == "mlp"


REFUSED = [
    "label_smoothing=${oc.env:SECRET}",
    r"label_smoothing=$\{oc.env:SECRET\}",
    r"model.init='\${oc.env:SECRET}'",
    "model._target_=torch.hub.load",
    "+augment.more={_target_: torch.hub.load}",
    "model.hidden=[{_target_: torch.hub.load}]",
    "data=../elsewhere",
    "data=/elsewhere",
    "logger=[default,../elsewhere]",
    "model@logger.other=mlp",
    "logger.csv.save_dir=/tmp",
    "logger.csv.name=../elsewhere",
    "+logger.wandb.settings.base_url=http://x",
    "+logger.wandb.name_of_a_host=http://x",
    "logger.mlflow.tracking_uri=http://x",
    "+logger.other={}",
    "+logger={other: 1}",
    "+trainer.default_root_dir=/tmp",
    "hydra.run.dir=/tmp",
    "hydra/launcher=joblib",
    "+hydra.callbacks.other={}",
    "+hydra={}",
    "data.source.root=/etc",
    "+data.source._args_=[1]",
    "+model._partial_=true",
    "+model={_convert_: all}",
]


@pytest.mark.parametrize("word", REFUSED)
def test_what_could_lead_elsewhere_is_refused(tmp_path, word):
    with pytest.raises(ValueError, match="overrides.yaml: .* is not accepted"):
        read(tmp_path, "model=mlp", word)


@pytest.mark.parametrize(
    ("word", "key", "hidden"),
    [
        (r"label_smoothing=$\{oc.env:HOME\}", "label_smoothing", "${oc.env:HOME}"),
        ("augment=PATH/conf", "augment", {"_target_": "torch.hub.load"}),
    ],
)
def test_hydra_itself_would_accept_them(as_in_a_job, tmp_path, word, key, hidden):
    """Without the refusal these would compose to an interpolation and to another's file."""
    (tmp_path / "conf.yaml").write_text("_target_: torch.hub.load\n")
    up = "/".join([".."] * len((CONF / "augment").parts[1:]))
    composed = recorded.compose([word.replace("PATH", f"{up}{tmp_path}")])
    assert OmegaConf.to_container(composed)[key] == hidden


BEGUN = [
    ["logger=wandb", "+logger.wandb.group=a", "++seed=3", "+trainer.log_every_n_steps=5"],
    ["~logger"],
    ["~logger.csv", "++optim.lr=0.5", "experiment=demo"],
    ["model=mlp", "model.hidden=[1, 2]", "data.root='a,b=[c]'"],
    ['data.root="new\nline"'],
    ["data.root='é漢'"],
]


@pytest.mark.parametrize("words", BEGUN, ids=lambda words: words[0])
def test_a_run_that_begins_is_composed_as_it_will_be_resumed(as_in_a_job, words):
    assert recorded.check(words) == recorded.compose(words)


@pytest.mark.parametrize(
    "word", [*REFUSED, "~optim.momentum", "~optim", "~seed", "trainer={max_epochs: 1}"]
)
def test_what_could_not_be_resumed_is_refused_at_the_start(word):
    with pytest.raises(ValueError, match="is not accepted; a run "):
        recorded.check(["model=mlp", word])


@pytest.mark.parametrize("word", ["+foo=1", "++foo.bar=1", "+data.root=x", "++data.train_sise=200",
                                  "+penalty.foo=1", "+checkpoint.every=1"])  # fmt: skip
def test_keys_that_nothing_reads_are_refused_at_the_start(word):
    with pytest.raises(ConfigCompositionException, match="Could not override"):
        recorded.check(["data=shapes", word])


def test_the_command_s_own_hydra_is_left_as_it_was(as_in_a_job):
    before = GlobalHydra.instance().hydra
    recorded.check(["model=mlp"])
    assert GlobalHydra.instance().hydra is before


@pytest.mark.parametrize(
    "text", ["a b", '"', "'", "\\", '\\"', "a\\\\", "${x}", "\\${x}", "$x", "\n", ""]
)
def test_a_quoted_text_is_read_as_it_is(text):
    assert compose(f"data.root={recorded.quoted(text)}").data.root == text


@pytest.mark.parametrize("text", ["", "7", "seed: 1", "- 7", "- '= ='", "- [a]"])
def test_what_is_not_a_list_of_overrides(tmp_path, text):
    (tmp_path / "overrides.yaml").write_text(text)
    with pytest.raises(ValueError, match="overrides.yaml is not a list of overrides"):
        recorded.read_overrides(tmp_path / "overrides.yaml")


def test_overrides_of_another_version_are_refused_in_a_sentence(as_in_a_job):
    with pytest.raises(ValueError, match=r"do not fit conf/ of this version: .*model.gone"):
        recorded.compose(["model.gone=1"])


def test_paths_and_formulas_are_not_compared(as_in_a_job, tmp_path):
    composed = recorded.compose(["data=cifar10"])
    other = OmegaConf.to_container(composed)
    other["data"]["root"] = "/elsewhere"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(other))
    recorded.compare(tmp_path / "config.yaml", composed)
    other["data"]["val_size"] = 1
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(other))
    with pytest.raises(ValueError, match=r"data\.val_size is not what its overrides"):
        recorded.compare(tmp_path / "config.yaml", composed)
