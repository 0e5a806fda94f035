"""Runs in several processes, and sweeps of several jobs."""

import pytest
import torch
from running import compose

from lecture4.training import processes

DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]


@pytest.mark.parametrize(
    ("overrides", "several"),
    [
        ([], False),
        (["trainer.devices=[1]"], False),
        (["trainer.devices=2"], True),
        (["trainer.devices=[0,1]"], True),
        (["trainer.devices=auto"], True),
        (["trainer=ddp"], True),
    ],
)
def test_whether_a_run_is_shared_out(overrides, several):
    assert processes.in_several_processes(compose(*overrides)) is several


def test_a_sweep_of_runs_in_several_processes_is_refused():
    processes.check_sweep(compose())
    with pytest.raises(ValueError, match="start the runs one by one"):
        processes.check_sweep(compose(*DDP))


def test_processes_of_torchrun_that_would_train_alone_are_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    processes.check_processes(compose(*DDP))
    with pytest.raises(ValueError, match="torchrun has started 4 processes.*trainer=ddp"):
        processes.check_processes(compose())


def test_batch_norm_over_processes_needs_gpus_and_torchs_formulas(monkeypatch):
    sync = ["trainer=ddp", "trainer.sync_batchnorm=true"]
    with pytest.raises(ValueError, match="needs GPUs"):
        processes.check_processes(compose(*sync, "trainer.accelerator=cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    processes.check_processes(compose(*sync))
    with pytest.raises(ValueError, match="needs formulas=torch"):
        processes.check_processes(compose(*sync, "formulas=byhand"))
