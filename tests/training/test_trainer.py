"""The Trainer of a run."""

import json

import pytest
import torch

from lecture4.training import trainer


@pytest.mark.parametrize(("tiles", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_bfloat16_only_where_the_processor_has_tiles(monkeypatch, tiles, expected):
    monkeypatch.setattr(trainer, "has_amx_tiles", lambda: tiles)
    assert trainer.fastest_precision("cpu") == expected


@pytest.mark.parametrize(("capability", "expected"), [((8, 0), "bf16-mixed"), ((7, 5), "32-true")])
def test_bfloat16_on_gpus_from_ampere_on(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert trainer.fastest_precision("gpu") == expected


def test_double_precision_all_the_way(job):
    _, folder = job("model=mlp", "trainer.max_epochs=1", "trainer.precision=64-true")
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert {t.dtype for t in checkpoint["state_dict"].values()} == {torch.float64}


def test_compiled_model_trains_and_keeps_its_names(job):
    _, folder = job("model=softmax", "trainer.max_epochs=1", "trainer.compile=true")
    checkpoint = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert "model.scores.weight" in checkpoint["state_dict"]
    assert json.loads((folder / "results.json").read_text())["status"] == "completed"
