"""What an epoch's batches came to: losses and accuracy in training, scores in evaluation."""

import math

import torch
from torch import distributed


class TrainingRecord:
    """Loss and correct predictions of an epoch's training batches.

    A batch stays on its device until its chunk ends, so that no step waits for a GPU.

    Attributes:
        losses: mean loss of each batch so far, of the chunks that have ended.
        correct: number of examples predicted correctly.
        examples: number of examples.
    """

    def __init__(self):
        self.losses: list[float] = []
        self.correct = self.examples = 0
        self._chunk: list[tuple[torch.Tensor, ...]] = []

    @property
    def steps(self) -> int:
        """Batches of this epoch so far."""
        return len(self.losses) + len(self._chunk)

    def add(
        self,
        objective: torch.Tensor,
        loss: torch.Tensor,
        predicted: torch.Tensor,
        labels: torch.Tensor,
    ) -> None:
        """Add a batch: what was minimised, the reported loss, and classes (N,)."""
        self._chunk.append((objective, loss, predicted, labels))

    def end_chunk(self) -> tuple[int, float] | None:
        """Fetch the chunk's numbers from the device.

        Returns:
            Step within the epoch, and objective, of the first that is NaN or infinite; or None.
        """
        objectives, losses, predicted, labels = zip(*self._chunk, strict=True)
        first, self._chunk = len(self.losses), []
        self.losses += torch.stack(losses).tolist()
        self.correct += int((torch.cat(predicted) == torch.cat(labels)).sum())
        self.examples += sum(map(len, labels))
        values = enumerate(torch.stack(objectives).tolist(), first)
        return next(((step, value) for step, value in values if not math.isfinite(value)), None)

    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy of the epoch's batches."""
        return sum(self.losses) / len(self.losses), self.correct / self.examples

    def state_dict(self) -> dict:
        """Plain values and a tensor, for a checkpoint within the epoch."""
        losses = torch.tensor(self.losses, dtype=torch.float64)
        return {"losses": losses, "correct": self.correct, "examples": self.examples}

    def load_state_dict(self, state: dict) -> None:
        """Continue after the batches of ``state``."""
        self.losses = state["losses"].tolist()
        self.correct, self.examples = state["correct"], state["examples"]


class EvaluationRecord:
    """Scores of a validation or test split, batch by batch."""

    def __init__(self):
        self._batches: list[tuple[torch.Tensor, ...]] = []

    def add(self, index: torch.Tensor, labels: torch.Tensor, scores: torch.Tensor) -> None:
        """Add a batch: example indices (N,), labels (N,) and scores (N, K), in float32 at least."""
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        self._batches.append((index, labels, scores))

    def gather(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Indices, labels and scores of all batches of all processes, on the CPU, rank by rank."""
        own = [torch.cat(parts).cpu() for parts in zip(*self._batches, strict=True)]
        index, labels, scores = (torch.cat(p) for p in zip(*of_ranks(own), strict=True))
        return index, labels, scores


def of_ranks(value) -> list:
    """The value that each process has, in every process; of one process, its own."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    gathered = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, value)
    return gathered
