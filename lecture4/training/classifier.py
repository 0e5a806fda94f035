"""The LightningModule: preprocess, model, loss (+ penalty), gradient, update."""

import math
from collections.abc import Callable, Iterable

import pytorch_lightning as pl
import torch
from torch import distributed, nn
from torch.optim.lr_scheduler import LambdaLR

from lecture4.data import randomness
from lecture4.training.formulas import Formulas, find


class Classifier(pl.LightningModule):
    """Trains a model by the lecture's objective, (1/N) Σᵢ Lᵢ + λ R(W).

    Lᵢ = −log P(Y = yᵢ | xᵢ) is softmax cross-entropy. Every reported loss is its mean, without
    penalty or smoothing.

    Args:
        model: inputs (N, ...) -> scores (N, K); its ``settings`` rebuild it, see lecture4.models,
            and say from which family of layers the loss is, torch's or that by hand.
        preprocess: fitted; batch of the dataset -> inputs of the model.
        augment: applied to training batches before preprocessing.
        class_names: of the K classes.
        optimizer: parameter groups -> optimizer.
        schedule: (optimizer, total number of steps) -> scheduler, stepped after each batch.
        formulas: where the loss is found.
        penalty: R, of the weights, not biases or norms.
        penalty_strength: λ.
        label_smoothing: α; the target becomes (1 − α) · one-hot + α/K.
        gradient_clip_val: the largest norm of the gradient.
        seed: of augmentation and dropout.

    Raises:
        FloatingPointError: in training, when the objective is NaN or infinite, before the update.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        preprocess: nn.Module,
        augment: nn.Module,
        class_names: list[str],
        optimizer: Callable[[Iterable], torch.optim.Optimizer],
        schedule: Callable,
        formulas: Formulas = find("torch"),  # noqa: B008
        penalty: Callable[[list[nn.Parameter]], torch.Tensor] | None = None,
        penalty_strength: float = 0.0,
        label_smoothing: float = 0.0,
        gradient_clip_val: float | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.model, self.preprocess, self.augment = model, preprocess, augment
        self.class_names = class_names
        self.optimizer, self.schedule = optimizer, schedule
        self.penalty, self.penalty_strength = penalty, penalty_strength
        layers = formulas.nn
        self.cross_entropy = layers.CrossEntropyLoss()
        self.smoothed = layers.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.seed = seed
        self.outcomes: dict[str, list] = {"train": [], "val": [], "test": []}  # of each batch
        self.metrics: dict[str, float] = {}  # of the newest epoch, or of the loaded checkpoint
        self._recorded = False  # whether the training batch at hand is in the outcomes
        self.test_scores: torch.Tensor | None = None  # (N, K), in the order of the test set

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scores (N, K) of raw inputs (N, ...)."""
        return self.model(self.preprocess(inputs))

    def step(self, batch: tuple[torch.Tensor, ...], split: str) -> torch.Tensor | None:
        """One batch (inputs, labels, index) of ``split``; in training, the objective."""
        inputs, labels, index = batch
        if split != "train":
            scores = self(inputs)
            scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
            self.outcomes[split].append((index, labels, scores))
            return None
        scores = self(self.augment(inputs, self.seed, self.current_epoch, index))
        objective = self.objective(scores, labels)
        loss = objective.item()
        if self.smoothed.label_smoothing or self.penalty_strength:
            self._stop_unless_finite(loss, "penalised loss")
            loss = self.cross_entropy(scores.detach(), labels).item()
        self._stop_unless_finite(loss, "loss")
        self.outcomes[split].append((loss, scores.detach().argmax(1), labels))
        return objective

    def objective(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """What training makes small: (1/N) Σᵢ Lᵢ + λ R(W)."""
        objective = self.smoothed(scores, labels)
        if self.penalty_strength:
            objective = objective + self.penalty_strength * self.penalty(weights(self.model))
        return objective

    def training_step(self, batch):
        """The objective of a training batch.

        An optimizer may ask again, with other weights (random search scores a candidate so). That
        leaves no trace in the records or in batch norm's statistics.
        """
        if not self._recorded:
            self._recorded = True
            return self.step(batch, "train")
        self._seed_batch()
        inputs, labels, index = batch
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        scores = self(self.augment(inputs, self.seed, self.current_epoch, index))
        objective = self.objective(scores, labels)
        for buffer, before in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(before)
        return objective

    def validation_step(self, batch):
        """Keep the scores of a validation batch."""
        self.step(batch, "val")

    def test_step(self, batch):
        """Keep the scores of a test batch."""
        self.step(batch, "test")

    def on_train_start(self):
        """Prepare for the first epoch, which a resumed run may be in the middle of.

        A run that is resumed to become longer follows the schedule of the longer one from here on.
        """
        self._epoch_key = randomness.mix(self.seed, self.current_epoch)
        for scheduler in (config.scheduler for config in self.trainer.lr_scheduler_configs):
            if isinstance(scheduler, LambdaLR):
                for group, lr, factor in zip(
                    scheduler.optimizer.param_groups,
                    scheduler.base_lrs,
                    scheduler.lr_lambdas,
                    strict=True,
                ):
                    group["lr"] = lr * factor(scheduler.last_epoch)

    def on_train_epoch_start(self):
        """Forget the last epoch."""
        self.metrics = {"lr": self.optimizers().param_groups[0]["lr"]}
        self._epoch_key = randomness.mix(self.seed, self.current_epoch)

    def on_train_batch_start(self, batch, batch_idx):
        """Expect a batch."""
        self._batch_key = (self._epoch_key + batch_idx) % 2**63
        self._seed_batch()
        self._recorded = False

    def _seed_batch(self) -> None:
        """Let what is drawn for a batch, in dropout or a search, depend on seed, epoch and step."""
        torch.default_generator.manual_seed(self._batch_key)  # torch.manual_seed: ten times as long
        if self.device.type != "cpu":
            torch.manual_seed(self._batch_key)

    def on_validation_start(self):
        """Let every process validate the model that the checkpoint will hold, the first one's."""
        if self.trainer.world_size > 1:
            for buffer in self.buffers():  # batch norm's, which follow each process's own images
                distributed.broadcast(buffer, src=0)

    def on_validation_epoch_end(self):
        """Measure the validation split, and sum up the training batches before it."""
        self._evaluate("val")
        if not self.outcomes["train"]:
            return  # a validation by itself
        self._stop_unless_finite(self.metrics["val/loss"], "validation loss")
        losses, predicted, labels = zip(*self.outcomes["train"], strict=True)
        self.outcomes["train"].clear()
        correct = (torch.cat(predicted) == torch.cat(labels)).sum().item()
        n = sum(map(len, labels))
        means = torch.tensor(
            [sum(losses) / len(losses), correct / n], dtype=torch.float64, device=self.device
        )
        if self.trainer.world_size > 1:  # each process saw as many examples
            distributed.all_reduce(means)
            means /= self.trainer.world_size
        self.metrics["train/loss"], self.metrics["train/accuracy"] = means.tolist()

    def on_train_epoch_end(self):
        """Log the epoch as one row, and offer its accuracy to the choice of the best."""
        self.log("val/accuracy", self.metrics["val/accuracy"], logger=False, sync_dist=True)
        self._write({"epoch": self.current_epoch, **self.metrics})

    def on_test_epoch_end(self):
        """Measure the test set and keep its scores."""
        self.test_scores = self._evaluate("test")
        self._write({name: self.metrics[name] for name in ("test/loss", "test/accuracy")})

    def _stop_unless_finite(self, value: float, name: str) -> None:
        if not math.isfinite(value):
            group = self.optimizers().param_groups[0]
            raise FloatingPointError(
                f"the {name} became {value} at step {self.global_step} (epoch "
                f"{self.current_epoch + 1}); try a smaller optim.lr than "
                f"{group.get('initial_lr', group['lr']):.3g}"
            )

    def _evaluate(self, split: str) -> torch.Tensor:
        """Add loss and accuracy of ``split`` to the metrics; return its scores, in order."""
        parts = [torch.cat(parts).cpu() for parts in zip(*self.outcomes[split], strict=True)]
        self.outcomes[split].clear()
        parts = [torch.cat(parts) for parts in zip(*self._of_ranks(parts), strict=True)]
        index, labels, scores = parts
        self.metrics[f"{split}/loss"] = self.cross_entropy(scores, labels).item()
        self.metrics[f"{split}/accuracy"] = (scores.argmax(1) == labels).double().mean().item()
        return scores[index.argsort()]

    def _of_ranks(self, parts: list[torch.Tensor]) -> list[list[torch.Tensor]]:
        """What each process has, in every process."""
        of_ranks = [parts]
        if self.trainer.world_size > 1:
            of_ranks = [None] * self.trainer.world_size
            distributed.all_gather_object(of_ranks, parts)
        return of_ranks

    def _write(self, row: dict[str, float]) -> None:
        for logger in self.loggers:  # not self.log: it rounds to float32
            logger.log_metrics(row, step=self.global_step)
            logger.save()  # a run that is killed keeps its rows

    def configure_optimizers(self):
        """The optimizer and the schedule of its learning rate."""
        optimizer = self.optimizer(parameter_groups(self.model))
        schedule = self.schedule(optimizer, self.trainer.estimated_stepping_batches)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint):
        """Add plain values: enough to predict from the file alone."""
        checkpoint["classifier"] = {
            "model": {"name": type(self.model).__name__, **self.model.settings},
            "preprocess": type(self.preprocess).__name__,
            "class_names": list(self.class_names),
            "metrics": dict(self.metrics),
            "precision": self.trainer.precision,
            "device": self.device.type,
            "eval_batch_size": self.trainer.datamodule.eval_batch_size,
            "source": dict(self.trainer.datamodule.dataset.source),
        }
        checkpoint["train_outcomes"] = self._of_ranks(_stack(self.outcomes["train"]))

    def on_load_checkpoint(self, checkpoint):
        """Take over the metrics of the epoch that was saved, or the batches of one that began."""
        self.metrics = dict(checkpoint["classifier"]["metrics"])
        self.to(
            next(iter(checkpoint["state_dict"].values())).dtype
        )  # Lightning would after loading
        if any(of_ranks := checkpoint.get("train_outcomes", [])):
            if len(of_ranks) != self.trainer.world_size:
                raise ValueError(
                    f"the checkpoint was saved within an epoch by {len(of_ranks)} processes, and "
                    f"cannot be resumed by {self.trainer.world_size}; start as many"
                )
            device = self.trainer.strategy.root_device
            losses, *rows = of_ranks[self.trainer.global_rank]
            self.outcomes["train"] = _unstack(losses, *(part.to(device) for part in rows))


def _stack(batches: list[tuple]) -> list[torch.Tensor]:
    """Losses, predicted classes and labels of training batches, which are all of one size."""
    if not batches:
        return []
    losses, predicted, labels = zip(*batches, strict=True)
    as_they_are = torch.tensor(losses, dtype=torch.float64)
    return [as_they_are, torch.cat(predicted).cpu(), torch.cat(labels).cpu()]


def _unstack(losses: torch.Tensor, predicted: torch.Tensor, labels: torch.Tensor) -> list[tuple]:
    """Undo ``_stack``."""
    each = len(labels) // len(losses)
    return list(zip(losses.tolist(), predicted.split(each), labels.split(each), strict=True))


def parameter_groups(model: nn.Module) -> list[dict]:
    """For an optimizer: its own weight decay, like the penalty, spares biases and norms."""
    groups = [{"params": weights(model)}]
    if others := [p for p in model.parameters() if p.ndim <= 1]:
        groups.append({"params": others, "weight_decay": 0.0})
    return groups


def weights(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are weights: matrices and kernels, not biases or norm parameters."""
    return [p for p in model.parameters() if p.ndim > 1]
