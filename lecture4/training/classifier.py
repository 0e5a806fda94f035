"""The LightningModule: preprocessing, model, loss, penalty, gradient, update."""

import functools
import math
import statistics
from collections.abc import Callable, Iterable

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from torch import distributed, nn

from lecture4.byhand.optim import NoAverage
from lecture4.data import randomness
from lecture4.data.batches import Batch
from lecture4.data.views import score_views
from lecture4.support.outputs import Outputs
from lecture4.training.checkpoint import card
from lecture4.training.dropout import convert_dropout
from lecture4.training.epoch_record import EvaluationRecord, TrainingRecord, gather_from_ranks
from lecture4.training.formulas import Formulas, Penalty
from lecture4.training.parameter_groups import parameter_groups, weights
from lecture4.training.schedule import restore_rates


class Classifier(pl.LightningModule):
    """Minimises the lecture's objective, (1/N) Σᵢ Lᵢ + λ R(W).

    Lᵢ = −log P(Y = yᵢ | xᵢ) is softmax cross-entropy. Reported losses are its mean, without
    penalty or smoothing.

    Args:
        model: inputs (N, ...) -> scores (N, K); its ``settings`` rebuild it, see lecture4.models.
        preprocess: fitted; batch of the dataset -> inputs of the model.
        augment: applied to training batches before preprocessing.
        class_names: of the K classes.
        optimizer: parameter groups -> optimizer.
        schedule: (optimizer, total number of steps) -> scheduler, stepped after each batch.
        groups: model -> parameter groups.
        average: of the weights along the run; the mean is what is validated, tested and saved to
            predict. None for the weights themselves.
        formulas: torch's or byhand's; its cross-entropy is used.
        penalty: R, from the weights (not biases or norms) to a scalar; None for no penalty.
        penalty_strength: λ.
        label_smoothing: α; the target becomes (1 − α) · one-hot + α/K.
        gradient_clip_val: largest norm of the whole gradient, which is scaled down to it; None for
            no limit.
        test_time: views over which the test also averages scores, see lecture4.data.views.
        seed: of augmentation and dropout.

    Raises:
        FloatingPointError: in training, if the objective is NaN or infinite.
    """

    automatic_optimization = False  # training_step calls the optimizer itself
    passes = 3  # arithmetic of a step, in forward passes; a backward pass is counted as two

    def __init__(
        self,
        *,
        model: nn.Module,
        preprocess: nn.Module,
        augment: nn.Module,
        class_names: list[str],
        optimizer: Callable[[Iterable], torch.optim.Optimizer],
        schedule: Callable,
        formulas: Formulas,
        penalty: Penalty | None = None,
        penalty_strength: float = 0.0,
        label_smoothing: float = 0.0,
        gradient_clip_val: float | None = None,
        groups: Callable[[nn.Module], list[dict]] = parameter_groups,
        average: NoAverage | None = None,
        test_time: str = "none",
        seed: int = 0,
    ):
        super().__init__()
        self.model, self.preprocess, self.augment = model, preprocess, augment
        self.class_names = class_names
        self.optimizer, self.groups, self.schedule = optimizer, groups, schedule
        self.formulas = formulas
        self.penalty, self.penalty_strength = penalty, penalty_strength
        self.cross_entropy = formulas.nn.CrossEntropyLoss()
        self.smoothed = formulas.nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.gradient_clip_val = gradient_clip_val
        self.average = average or NoAverage(model)
        self.test_time = test_time
        self.seed = seed
        self.record = TrainingRecord()
        self.evaluation = EvaluationRecord()
        self.views = EvaluationRecord()  # mean scores over the views of ``test_time``
        self.metrics: dict[str, float] = {}  # of the latest epoch, or of the loaded checkpoint
        self.test_scores: torch.Tensor | None = None  # (N, K), in the order of the test set
        self.fits = False

    def setup(self, stage: str) -> None:
        """Note whether a Trainer fits, or only evaluates."""
        self.fits = stage == "fit"

    def training_step(self, batches: list[Batch]) -> None:
        """Gradient descent, batch by batch: w ← w − η ∂L/∂w."""
        optimizer, schedule, average = self.optimizers(), self.lr_schedulers(), self.average
        epoch, model = self.current_epoch, self.model
        for inputs, labels, index in batches:
            self.seed_step(epoch)
            scores = self(self.augment(inputs, self.seed, epoch, index))
            loss = self.objective(scores, labels)  # (1/N) Σ Lᵢ + λ R(W)
            optimizer.zero_grad()
            self.backpropagate(loss)  # ∂L/∂w
            if self.gradient_clip_val is not None:
                nn.utils.clip_grad_norm_(self.parameters(), self.gradient_clip_val)
            optimizer.step()  # w ← w − η ∂L/∂w
            schedule.step()  # η of the next step
            average.step(model, schedule.last_epoch)  # w̄ ← d w̄ + (1 − d) w
            self.keep(loss, scores, labels)
        self.end_chunk()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scores (N, K) of raw inputs (N, ...)."""
        return self.model(self.preprocess(inputs))

    def objective(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(1/N) Σᵢ Lᵢ + λ R(W)."""
        loss = self.smoothed(scores, labels)
        if self.penalty is not None and self.penalty_strength:
            loss = loss + self.penalty_strength * self.penalty(weights(self.model))
        return loss

    def backpropagate(self, loss: torch.Tensor) -> None:
        """Compute ∂loss/∂w of every parameter, averaged over processes.

        In one process Lightning's ``on_before_backward`` and ``on_after_backward`` are not called:
        no callback here has them, and asking each one takes 50 µs of every step.
        """
        if self.trainer.world_size > 1:
            self.manual_backward(loss)
        else:
            self.backward(loss)

    def backward(self, loss: torch.Tensor) -> None:
        """Compute ∂loss/∂w outside autocast, which applies to the forward only."""
        if torch.is_autocast_enabled(self.device.type):
            with torch.autocast(self.device.type, enabled=False):
                loss.backward()
        else:
            loss.backward()

    def seed_step(self, epoch: int) -> None:
        """Seed the random draws of a step (dropout, search) by (seed, epoch, step)."""
        key = (_epoch_key(self.seed, epoch) + self.record.steps) % 2**63
        # torch.manual_seed takes ten times as long, and on a GPU a hundred times
        torch.default_generator.manual_seed(key)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index].manual_seed(key)

    def keep(self, loss: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor) -> None:
        """Record a step: its objective, its cross-entropy, and the predicted classes."""
        loss, scores = loss.detach(), scores.detach()
        reported = loss if self._is_plain() else self.cross_entropy(scores, labels)
        self.record.add(loss, reported, scores.argmax(1), labels)

    def end_chunk(self) -> None:
        """Stop training if the objective was NaN or infinite in a step of the chunk."""
        if (broken := self.record.end_chunk()) is not None:
            step, value = broken
            earlier = self.global_step - self.record.steps  # steps of earlier epochs
            self._stop("loss" if self._is_plain() else "penalised loss", value, earlier + step)

    def _is_plain(self) -> bool:
        """Whether the objective is the reported loss: no smoothing, no penalty."""
        penalised = self.penalty is not None and self.penalty_strength
        return not (self.smoothed.label_smoothing or penalised)

    def validation_step(self, batch: Batch) -> None:
        """Record the scores of a validation batch."""
        inputs, labels, index = batch
        self.evaluation.add(index, labels, self(inputs))

    def test_step(self, batch: Batch) -> None:
        """Record the scores of a test batch, and their mean over the views of ``test_time``."""
        inputs, labels, index = batch
        plain, mean = score_views(self, inputs, self.test_time)
        self.evaluation.add(index, labels, plain)
        self.views.add(index, labels, mean)

    def predict_step(self, batch: torch.Tensor | Batch | list[torch.Tensor]) -> torch.Tensor:
        """Scores (N, K) of inputs, or of a batch whose first part are inputs."""
        return self(batch if isinstance(batch, torch.Tensor) else batch[0])

    def on_train_start(self) -> None:
        """Draw dropout masks over the global batch; set the rates by this run's schedule."""
        if self.trainer.world_size > 1:
            convert_dropout(self.model)
        restore_rates(self.lr_schedulers())
        self.average.show(self.model, mean=False)

    def on_train_epoch_start(self) -> None:
        """Start the epoch's metrics with its learning rate."""
        self.metrics = {"lr": self.optimizers().param_groups[0]["lr"]}

    def on_validation_start(self) -> None:
        """Evaluate the mean of the weights, on all ranks with rank 0's buffers, which are saved."""
        self.average.show(self.model, mean=True)
        if self.trainer.world_size > 1:
            for buffer in self.buffers():  # batch norm's statistics differ between processes
                distributed.broadcast(buffer, src=0)

    def on_validation_end(self) -> None:
        """Train on from the weights."""
        self.average.show(self.model, mean=not self.fits)

    def on_train_end(self) -> None:
        """Leave the mean of the weights in the model."""
        self.average.show(self.model, mean=True)

    def on_train_batch_end(self, *ignored) -> None:
        """After an epoch's last batch, compute the metrics of its training batches."""
        if not self.trainer.is_last_batch:
            return
        # ranks have equal numbers of examples
        losses, accuracies = zip(*gather_from_ranks(self.record.means()), strict=True)
        loss, accuracy = statistics.fmean(losses), statistics.fmean(accuracies)
        self.metrics |= {"train/loss": loss, "train/accuracy": accuracy}
        self.record = TrainingRecord()

    def on_validation_epoch_end(self) -> None:
        """Compute the metrics of the validation split; stop if its loss is NaN or infinite."""
        self._measure("val", self.evaluation)
        self.evaluation = EvaluationRecord()
        loss = self.metrics["val/loss"]
        if self.fits and not math.isfinite(loss):
            self._stop("validation loss", loss, self.global_step)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's row, and the validation accuracy that chooses the best checkpoint."""
        if (accuracy := self.metrics.get("val/accuracy")) is not None:
            self.log("val/accuracy", accuracy, logger=False, sync_dist=True)
        self._write({"epoch": self.current_epoch, **self.metrics})

    def on_test_epoch_end(self) -> None:
        """Compute the metrics of the test set and keep its scores."""
        self.test_scores = self._measure("test", self.evaluation)
        if not math.isfinite(loss := self.metrics["test/loss"]):
            raise FloatingPointError(f"the test loss became {loss}; try a smaller optim.lr")
        names = ["test/loss", "test/accuracy"]
        if self.test_time != "none":
            self._measure("test_time", self.views)
            names.append("test_time/accuracy")
        self.evaluation, self.views = EvaluationRecord(), EvaluationRecord()
        row, outputs = {name: self.metrics[name] for name in names}, Outputs()
        for logger in self.loggers:  # the results do not depend on them
            name = f"the test's row of {type(logger).__name__}"
            outputs.write(name, functools.partial(self._log, logger, row))
        outputs.report()

    def _measure(self, split: str, record: EvaluationRecord) -> torch.Tensor:
        """Add loss and accuracy of ``split`` to the metrics; return its scores (N, K), in order."""
        index, labels, scores = record.gather()
        self.metrics[f"{split}/loss"] = self.cross_entropy(scores, labels).item()
        self.metrics[f"{split}/accuracy"] = (scores.argmax(1) == labels).double().mean().item()
        return scores[index.argsort()]

    def _stop(self, name: str, value: float, step: int) -> None:
        group = self.optimizers().param_groups[0]
        lr = group.get("initial_lr", group["lr"])
        others = {g.get("initial_lr", g["lr"]) for g in self.optimizers().param_groups} - {lr}
        raise FloatingPointError(
            f"the {name} became {value} at step {step} (epoch {self.current_epoch + 1}); try a "
            f"smaller optim.lr than {lr:.3g}"
            + (f", or smaller rates of head and biases than {max(others):.3g}" if others else "")
        )

    def _write(self, row: dict[str, float]) -> None:
        for logger in self.loggers:
            self._log(logger, row)

    def _log(self, logger: Logger, row: dict[str, float]) -> None:
        logger.log_metrics(row, step=self.global_step)  # not self.log: it rounds to float32
        logger.save()  # so that a killed run keeps its rows

    def configure_optimizers(self):
        """Create the optimizer and its learning-rate schedule over the run's steps."""
        optimizer = self.make_optimizer(self.model)
        steps = self.trainer.max_epochs * self.trainer.datamodule.steps_per_epoch
        self.average.total_steps = steps
        return {"optimizer": optimizer, "lr_scheduler": self.schedule(optimizer, steps)}

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of ``model``, this one or a copy."""
        return self.optimizer(self.groups(model))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Add the classifier's description, and the training record to resume within an epoch.

        The weights called ``model.*`` are those to predict with: their mean, if there is one.
        """
        if not self.average.shows_mean:
            self.average.exchange(checkpoint["state_dict"], "model.", "average.")
        checkpoint["classifier"] = card(self, self.trainer.datamodule, self.trainer.precision)
        checkpoint["training_record"] = gather_from_ranks(self.record.state_dict())

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Restore metrics, dtype, and the training record of an unfinished epoch."""
        self.metrics = dict(checkpoint["classifier"]["metrics"])
        self.average.shows_mean = not self.fits
        if not self.average.shows_mean:
            self.average.exchange(checkpoint["state_dict"], "model.", "average.")
        # before Lightning copies the weights; it would convert the module afterwards
        self.to(next(iter(checkpoint["state_dict"].values())).dtype)
        records = checkpoint.get("training_record", [])
        if any(record["examples"] for record in records):
            if len(records) != self.trainer.world_size:
                raise ValueError(
                    f"the checkpoint was saved within an epoch by {len(records)} processes; resume "
                    f"with as many, not with {self.trainer.world_size}"
                )
            self.record.load_state_dict(records[self.trainer.global_rank])


_epoch_key = functools.lru_cache(randomness.mix)
