"""A run in several processes, and a process that runs several jobs: what goes together."""

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lecture4.support.processes import started_by_torchrun


def check_sweep(cfg: DictConfig) -> None:
    """Refuse a sweep whose jobs would start processes of their own.

    Raises:
        ValueError: they would, or ``sweep_resume`` is neither true nor false.
    """
    if not isinstance(cfg.sweep_resume, bool):
        raise ValueError(
            f"sweep_resume={cfg.sweep_resume} is not accepted; it must be true or false"
        )
    if in_several_processes(cfg):
        raise ValueError(
            "-m with several processes is not supported, because each would start the whole sweep; "
            "start the runs one by one"
        )


def check_processes(cfg: DictConfig) -> None:
    """Refuse processes that would train alone, and a batch norm that they cannot share.

    Raises:
        ValueError: torchrun has started several processes of a run that has one, or
            ``sync_batchnorm`` has no GPUs or is not torch's.
    """
    started = started_by_torchrun()
    if started > 1 and not in_several_processes(cfg):
        raise ValueError(
            f"torchrun has started {started} processes, each of which would train alone; add "
            f"trainer=ddp, and trainer.devices= as many as on this machine"
        )
    if cfg.trainer.get("sync_batchnorm"):
        import torch

        if cfg.trainer.accelerator == "cpu" or not torch.cuda.is_available():
            raise ValueError("trainer.sync_batchnorm=true needs GPUs; torch has it for no CPU")
        if cfg.formulas != "torch":
            raise ValueError("trainer.sync_batchnorm=true is torch's; it needs formulas=torch")


def in_several_processes(cfg: DictConfig) -> bool:
    """Is one run shared out among processes?"""
    devices = cfg.trainer.devices
    one = len(devices) == 1 if OmegaConf.is_list(devices) else str(devices) == "1"
    return cfg.trainer.strategy != "auto" or not one


def in_sweep() -> bool:
    """Is this one of the jobs of ``-m``?"""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
