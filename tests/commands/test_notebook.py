"""Training from a notebook: results and errors as Python has them."""

import json
import os
import pickle
import signal
import warnings
from pathlib import Path

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from running import CONF, SMALL, call

from lecture4.commands.train import train
from lecture4.training.classifier import Classifier

SHORT = [*SMALL, "model=softmax", "trainer.max_epochs=1", "trainer.accelerator=cpu"]


def compose(*overrides: str, **options):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("train", [*SHORT, *overrides], **options)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_returns_the_results_and_writes_as_the_command_line_does(here, capsys):
    cfg = compose()
    before = OmegaConf.to_container(cfg)
    with warnings.catch_warnings(action="error"):
        results = train(cfg)
    (folder,) = here.glob("outputs/20*-*-*/*-*-*-*")
    assert results == json.loads((folder / "results.json").read_text())
    assert f"{folder}: checkpoints/best.ckpt" in capsys.readouterr().out
    assert OmegaConf.load(folder / ".hydra" / "config.yaml") == cfg
    assert OmegaConf.to_container(cfg) == before
    assert not HydraConfig.initialized()
    other = call(*SHORT, f"hydra.run.dir={here / 'typed'}")
    assert other.returncode == 0
    typed = json.loads((here / "typed" / "results.json").read_text())
    assert typed["test_loss"] == results["test_loss"]


def test_each_call_has_a_directory_of_its_own(here):
    cfg = compose(return_hydra_config=True)
    for _ in range(2):
        train(cfg)
    assert len(list(here.glob("outputs/*/*/results.json"))) == 2


def test_a_run_whose_overrides_are_known_can_be_resumed(here):
    cfg = compose("hydra.run.dir=a run", return_hydra_config=True)
    train(cfg)
    words = yaml.safe_load((here / "a run" / ".hydra" / "overrides.yaml").read_text())
    assert words == SHORT
    done = call(f"resume={here / 'a run'}", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    assert json.loads((here / "a run" / "results.json").read_text())["epochs"] == 2


def test_a_folder_may_be_given_and_hydra_may_be_initialized(here):
    hydra.initialize_config_dir(str(CONF), version_base="1.3")  # as notebooks do, without with
    try:
        train(hydra.compose("train", SHORT), folder="first")
        assert GlobalHydra.instance().is_initialized()
    finally:
        GlobalHydra.instance().clear()
    assert [path.name for path in here.iterdir()] == ["first"]


@pytest.mark.parametrize(
    ("word", "kind", "said"),
    [
        ("optim.lr=-1", ValueError, "optim.lr=-1 is not accepted; it must be a number > 0"),
        ("model.init=foo", ValueError, "model: init=foo is unknown; choose one of"),
        ("optim.lr=1e38", FloatingPointError, "try a smaller optim.lr than"),
        ("resume=there", ValueError, "use python train.py resume=RUN"),
    ],
)
def test_errors_are_raised(here, word, kind, said):
    with pytest.raises(kind, match=said):
        train(compose(word), "run")
    assert not HydraConfig.initialized()
    assert not (here / "run" / "results.json").exists()


def test_an_error_names_the_choice_that_hydra_recorded():
    with pytest.raises(ValueError, match="model=softmax with data=shapes: init=foo is unknown"):
        train(compose("model.init=foo", return_hydra_config=True), "run")


def test_the_error_of_a_part_is_not_wrapped_in_hydras(here):
    (here / "cifar-10-batches-py").mkdir()
    (here / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"truncated")
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose("train", ["data=cifar10", f"data.root={here}"])
    with pytest.raises(ValueError, match="data_batch_1"):
        train(cfg, "run")


def test_ctrl_c_is_a_keyboard_interrupt_and_works_again(monkeypatch, capsys):
    def interrupt(self, *_):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Classifier, "seed_step", interrupt)
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # off in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            train(compose(), "run")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert "interrupted in epoch 1/1; nothing was saved yet\n" in capsys.readouterr().err


def test_the_results_can_be_pickled():
    results = train(compose(), "run")
    assert pickle.loads(pickle.dumps(results)) == results
