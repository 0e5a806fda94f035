"""Each interface that another library does not promise is there, and does what is expected."""

import argparse

import pytest
import torch

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


def test_basic_sweeper_has_the_hooks_that_the_grid_overrides():
    from hydra.plugins.sweeper import Sweeper

    sweeper = private.basic_sweeper()
    assert issubclass(sweeper, Sweeper)
    for hook in ("split_arguments", "is_done", "split_overrides_to_chunks"):
        assert callable(getattr(sweeper, hook))
    made = sweeper(max_batch_size=None, params=None)
    assert made.overrides is None


@pytest.mark.parametrize("native", [True, False])
def test_amx_tiles_are_asked_of_torch(monkeypatch, native):
    assert isinstance(private.has_amx_tiles(), bool)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: native)
    assert private.has_amx_tiles() is native
