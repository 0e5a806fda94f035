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


def test_torch_says_whether_the_processor_has_amx_tiles():
    has = private.has_amx_tiles()
    assert isinstance(has, bool)
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        assert has == ("amx_tile" in cpu.read_text())
