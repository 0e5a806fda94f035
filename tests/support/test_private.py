"""Each interface that another library does not promise is there, and does what is expected."""

import argparse
from pathlib import Path

import pytest

from lecture4.support import private


def test_hydra_parser_is_the_one_of_hydra_main(monkeypatch):
    import hydra
    from hydra._internal import utils

    parser = private.hydra_parser()
    assert isinstance(parser, argparse.ArgumentParser)
    made = []
    original = utils.get_args_parser
    monkeypatch.setitem(
        hydra.main.__globals__, "get_args_parser", lambda: made.append(1) or original()
    )
    monkeypatch.setattr("sys.argv", ["train.py", "--version"])
    with pytest.raises(SystemExit):
        hydra.main(version_base="1.3", config_path=None)(lambda cfg: None)()
    assert made == [1]
    parsed = parser.parse_args(["-m", "model=mlp"])
    assert (parsed.multirun, parsed.overrides) == (True, ["model=mlp"])


def test_lightning_still_passes_anonymous_to_wandb():
    pytest.importorskip("wandb")
    from pytorch_lightning.loggers import WandbLogger

    logger = WandbLogger(offline=True)
    private.drop_anonymous(logger)
    assert "anonymous" not in logger._wandb_init
    assert logger._wandb_init["project"] == "lightning_logs"


def test_a_trial_of_optunas_is_found_by_its_number():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    drawn = [study.ask().suggest_float("x", 0, 1) for _ in range(3)]
    trial = private.running_trial(study, 1)
    assert (trial.number, trial.params) == (1, {"x": drawn[1]})
    trial.report(0.5, 0)
    assert study.trials[1].intermediate_values == {0: 0.5}


def test_torch_says_whether_the_processor_has_amx_tiles():
    has = private.has_amx_tiles()
    assert isinstance(has, bool)
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        assert has == ("amx_tile" in cpu.read_text())
