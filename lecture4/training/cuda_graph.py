"""``trainer.cuda_graph=true``: launch the kernels of a step as one CUDA graph.

A fast GPU finishes the kernels of a small net sooner than Python launches the next ones. A graph
records the kernels of augmentation, forward and backward once, and launches all of them at once.
The numbers stay the same.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html, "CUDA Graphs".
"""

import torch
from torch import nn

from lecture4.data.batches import Batch
from lecture4.training.classifier import Classifier

WARM_UP = 3  # steps before the recording, in which libraries choose and load their kernels


class GraphedClassifier(Classifier):
    """A ``Classifier`` that replays ∂L/∂w of a batch from a graph, on one GPU."""

    def on_train_epoch_start(self) -> None:
        """Record a graph in this epoch, for its number and image size are part of it."""
        super().on_train_epoch_start()
        self.graph: torch.cuda.CUDAGraph | None = None

    def training_step(self, batches: list[Batch]) -> None:
        """Gradient descent, batch by batch: w ← w − η ∂L/∂w."""
        optimizer, schedule, epoch = self.optimizers(), self.lr_schedulers(), self.current_epoch
        if self.graph is None:
            self.capture(batches[0])
        for batch in batches:
            self.seed_step(epoch)
            for kept, given in zip(self.batch, batch, strict=True):
                kept.copy_(given)
            self.graph.replay()  # loss, scores and ∂L/∂w of self.batch
            optimizer.step()  # w ← w − η ∂L/∂w
            schedule.step()  # η of the next step
            self.average.step(self.model, schedule.last_epoch)
            self.keep(self.loss.clone(), self.scores.clone(), batch[1])
        self.end_chunk()

    def gradient(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and scores of ``self.batch``; ∂L/∂w is left in the parameters."""
        inputs, labels, index = self.batch
        scores = self(self.augment(inputs, self.seed, self.current_epoch, index))
        loss = self.objective(scores, labels)
        self.zero_grad(set_to_none=True)
        self.backpropagate(loss)
        if self.gradient_clip_val is not None:
            nn.utils.clip_grad_norm_(self.parameters(), self.gradient_clip_val)
        return loss.detach(), scores.detach()

    def capture(self, batch: Batch) -> None:
        """Record ``gradient`` on memory of its own; parameters and buffers stay unchanged."""
        self.batch = [tensor.clone() for tensor in batch]
        before = [buffer.clone() for buffer in self.buffers()]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self.gradient()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss, self.scores = self.gradient()
        for buffer, value in zip(self.buffers(), before, strict=True):
            buffer.copy_(value)
