"""Checks of a run in several processes, and of a sweep of several jobs."""

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lecture4.support.processes import started_by_torchrun


def check_sweep(cfg: DictConfig) -> None:
    """Refuse a sweep whose jobs start several processes.

    Raises:
        ValueError: they do.
    """
    if in_several_processes(cfg):
        raise ValueError(
            "-m with several processes is not supported, because each would start the whole sweep; "
            "start the runs one by one"
        )


def check_processes(cfg: DictConfig) -> None:
    """Check the number of processes, and that torch can synchronize their batch norm.

    Raises:
        ValueError: torchrun started several processes of a run in one process, or
            ``sync_batchnorm`` is set without GPUs or with formulas by hand, or ``cuda_graph``
            without a GPU or with several processes.
    """
    started = started_by_torchrun()
    if started > 1 and not in_several_processes(cfg):
        raise ValueError(
            f"torchrun has started {started} processes, but this run uses one; add trainer=ddp and "
            f"set trainer.devices to the number of processes per machine"
        )
    if cfg.trainer.get("sync_batchnorm"):
        import torch

        if cfg.trainer.accelerator == "cpu" or not torch.cuda.is_available():
            raise ValueError("trainer.sync_batchnorm=true needs GPUs; torch has no CPU version")
        if cfg.formulas != "torch":
            raise ValueError("trainer.sync_batchnorm=true needs formulas=torch")
    if cfg.trainer.cuda_graph:
        import torch

        if cfg.trainer.accelerator == "cpu" or not torch.cuda.is_available():
            raise ValueError("trainer.cuda_graph=true needs a CUDA GPU")
        if in_several_processes(cfg):
            raise ValueError("trainer.cuda_graph=true needs trainer.devices=1, without ddp")


def in_several_processes(cfg: DictConfig) -> bool:
    """Whether a run uses several processes."""
    devices = cfg.trainer.devices
    one = len(devices) == 1 if OmegaConf.is_list(devices) else str(devices) == "1"
    return cfg.trainer.strategy != "auto" or not one


def in_sweep() -> bool:
    """Whether this process runs a job of ``-m``."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
