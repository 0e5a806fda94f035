"""Random search in place of gradient descent: score a candidate W on each batch."""

import torch

from lecture4.data.batches import Batch
from lecture4.training.classifier import Classifier


class SearchClassifier(Classifier):
    """Trains with an optimizer that needs no gradient, see ``lecture4.byhand.optim.search``.

    ``train/loss`` is the loss of the weights kept so far.
    """

    passes = 2  # W and the candidate, forward alone

    def training_step(self, batches: list[Batch]) -> None:
        """Compare W with a candidate on each batch, and keep the better one."""
        optimizer, schedule, epoch = self.optimizers(), self.lr_schedulers(), self.current_epoch
        for batch in batches:
            scored: list[tuple[torch.Tensor, torch.Tensor]] = []

            def objective(batch=batch, scored=scored) -> torch.Tensor:
                self.seed_step(
                    epoch
                )  # the same augmentation and dropout for W and for the candidate
                inputs, labels, index = batch
                buffers = [buffer.clone() for buffer in self.model.buffers()]
                scores = self(self.augment(inputs, self.seed, epoch, index))
                if scored:  # keep batch norm's statistics of W, not of the candidate
                    for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                        buffer.copy_(before)
                scored.append((self.objective(scores, labels), scores))
                return scored[-1][0]

            optimizer.step(objective)
            schedule.step()
            self.keep(*scored[0], batch[1])
        self.end_chunk()
