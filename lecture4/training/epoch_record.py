"""Record an epoch: losses and accuracy in training, scores in evaluation."""

import math

import torch
from torch import distributed

from lecture4.support.processes import have_met


class TrainingRecord:
    """Losses and correct predictions of an epoch's training batches.

    Values stay on their device until the chunk ends, so that no step waits for a GPU.
    """

    def __init__(self):
        self.losses: list[float] = []  # mean loss of each batch in the chunks so far
        self.correct = self.examples = 0  # numbers of correct predictions and examples in them
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
        """Add a batch: objective, reported loss, predicted classes (N,) and labels (N,)."""
        self._chunk.append((objective, loss, predicted, labels))

    def end_chunk(self) -> tuple[int, float] | None:
        """Copy the chunk to the CPU; return the first (step, objective) that is NaN or infinite."""
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
        """For a checkpoint within the epoch."""
        losses = torch.tensor(self.losses, dtype=torch.float64)
        return {"losses": losses, "correct": self.correct, "examples": self.examples}

    def load_state_dict(self, state: dict) -> None:
        """Restore the batches so far."""
        self.losses = state["losses"].tolist()
        self.correct, self.examples = state["correct"], state["examples"]


class EvaluationRecord:
    """Scores of a validation or test split.

    Batches are copied to three tensors that grow. Small tensors kept one by one would lie between
    the images of freed batches, and malloc could not give that memory back: up to the whole split.
    """

    def __init__(self):
        self._kept: list[torch.Tensor] = []  # indices, labels and scores, with room for more
        self._examples = 0

    def add(self, index: torch.Tensor, labels: torch.Tensor, scores: torch.Tensor) -> None:
        """Add a batch: example indices (N,), labels (N,) and scores (N, K), at least in float32."""
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        batch = index, labels, scores
        first, self._examples = self._examples, self._examples + len(index)
        if not self._kept or self._examples > len(self._kept[0]):
            room = [part.new_empty(2 * self._examples, *part.shape[1:]) for part in batch]
            for kept, larger in zip(self._kept, room, strict=False):  # none at first
                larger[:first] = kept[:first]
            self._kept = room
        for part, kept in zip(batch, self._kept, strict=True):
            kept[first : self._examples] = part

    def gather(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Concatenate the indices, labels and scores of all processes, on the CPU."""
        own = [kept[: self._examples].cpu() for kept in self._kept]
        index, labels, scores = (torch.cat(p) for p in zip(*gather_from_ranks(own), strict=True))
        return index, labels, scores


def gather_from_ranks(value) -> list:
    """Gather ``value`` of every rank, as a list in rank order."""
    if not have_met():
        return [value]
    gathered = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, value)
    return gathered
