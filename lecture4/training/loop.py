"""Lightning's epoch loop, without the hooks that nobody listens to.

For each batch Lightning offers some thirty hooks to every callback, module and strategy; for a
small model that takes longer than the model's own arithmetic (``benchmarks/overhead.py``).
"""

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities import move_data_to_device
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.plugins import DoublePrecision, MixedPrecision, Precision
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy

HEARD = ("on_train_batch_start", "on_train_batch_end")  # these are always called
UNHEARD = (
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
    "on_before_zero_grad",
    "optimizer_zero_grad",
    "on_before_backward",
    "backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "optimizer_step",
    "lr_scheduler_step",
    "configure_gradient_clipping",
)


class EpochLoop(_TrainingEpochLoop):
    """Takes the short way through a batch where that is the same, and Lightning's otherwise.

    It is the same with one step for each batch, no gradient clipping, no loss scaling, and no
    override of an ``UNHEARD`` hook. Progress counters, and so checkpoints, are kept as Lightning
    keeps them. What ``training_step`` gives to ``self.log`` is not: log when an epoch ends.
    """

    @classmethod
    def install(cls, trainer: pl.Trainer) -> None:
        """Give ``trainer`` this loop in place of Lightning's."""
        given = trainer.fit_loop.epoch_loop
        trainer.fit_loop.epoch_loop = cls(trainer, given.min_steps, given.max_steps)

    def on_run_start(self, data_fetcher) -> None:
        """Find out who listens, and go on within an epoch that a checkpoint ended in."""
        super().on_run_start(data_fetcher)
        trainer = self.trainer
        # Lightning does this as it makes the loader; a schedule that asks for the number of steps
        # has it made before the checkpoint is read
        trainer.fit_loop._load_combined_loader_states()
        self._heard = {
            hook: [getattr(c, hook) for c in trainer.callbacks if _overrides(c, hook, pl.Callback)]
            for hook in HEARD
        }
        self._short = (
            trainer.lightning_module.automatic_optimization
            and trainer.accumulate_grad_batches == 1
            and not trainer.gradient_clip_val
            and type(trainer.strategy) in (SingleDeviceStrategy, DDPStrategy)
            and type(trainer.precision_plugin) in (Precision, DoublePrecision, MixedPrecision)
            and getattr(trainer.precision_plugin, "scaler", None) is None
            and trainer.val_check_batch == trainer.num_training_batches
            and all(
                c.interval == "step" and c.frequency == 1 and not c.reduce_on_plateau
                for c in trainer.lr_scheduler_configs
            )
            and not any(
                _overrides(listener, hook, kind)
                for hook in UNHEARD
                for listener, kind in [
                    *((c, pl.Callback) for c in trainer.callbacks),
                    (trainer.lightning_module, pl.LightningModule),
                    (trainer.datamodule, pl.LightningDataModule),
                ]
            )
        )

        frozen = not any(p.requires_grad for p in trainer.lightning_module.parameters())
        if frozen and not self._short:  # Lightning's own way calls backward
            raise ValueError(
                "a search without gradients needs the short loop; leave out gradient clipping, "
                "gradient accumulation and precision 16-mixed"
            )

    def advance(self, data_fetcher) -> None:
        """One batch: fetch, forward, backward, update."""
        if not self._short or (self.restarting and self._should_check_val_fx(data_fetcher)):
            super().advance(data_fetcher)
            return
        self.val_loop.restarting = False  # a run resumed within an epoch trains first
        trainer, module, strategy = (
            self.trainer,
            self.trainer.lightning_module,
            self.trainer.strategy,
        )
        batch, _, _ = next(data_fetcher)
        batch_idx = self.batch_idx + 1
        self.batch_progress.is_last_batch = data_fetcher.done
        if strategy.root_device.type != "cpu":
            batch = move_data_to_device(batch, strategy.root_device)
        self.batch_progress.increment_ready()
        for hook in self._heard["on_train_batch_start"]:
            hook(trainer, module, batch, batch_idx)
        module.on_train_batch_start(batch, batch_idx)
        self.batch_progress.increment_started()

        optimizer = strategy.optimizers[0]
        steps = self.automatic_optimization.optim_progress.optimizer
        outputs = {}

        def closure() -> torch.Tensor:
            outputs["loss"] = loss = strategy.training_step(batch)
            optimizer.zero_grad()
            steps.zero_grad.increment_ready()
            steps.zero_grad.increment_started()
            steps.zero_grad.increment_completed()
            if loss.requires_grad:  # random search has no use for a gradient
                loss.backward()
            return loss

        steps.step.increment_ready()
        optimizer.step(closure)
        steps.step.increment_completed()
        self.batch_progress.increment_processed()
        for config in trainer.lr_scheduler_configs:
            self.scheduler_progress.increment_ready()
            config.scheduler.step()
            self.scheduler_progress.increment_completed()
        for hook in self._heard["on_train_batch_end"]:
            hook(trainer, module, outputs, batch, batch_idx)
        module.on_train_batch_end(outputs, batch, batch_idx)
        self.batch_progress.increment_completed()

    def on_advance_end(self, data_fetcher) -> None:
        """Between batches there is nothing to do; after the last of an epoch, validate."""
        if not self._short or self.batch_progress.is_last_batch or self.trainer.received_sigterm:
            super().on_advance_end(data_fetcher)
            return
        self._batches_that_stepped += 1


def _overrides(listener: object, hook: str, kind: type) -> bool:
    own = getattr(type(listener), hook, None)
    return own is not None and own is not getattr(kind, hook, None)
