"""A claim in tests: measured on few images or on scripted trainings, then judged by name."""

from collections.abc import Callable, Mapping
from typing import Any

from running import SMALL

from lecture4.lesson.lab import Finding, Lab, Published, Run
from lecture4.lesson.lab.measurements import from_plain, to_plain


class SmallLab(Lab):
    """A Lab of few images.

    Args:
        picked: what ``pick`` returns in place of a value, such as ``{11_250: 600}``.
        script: (overrides as a dict, seed) -> accuracy of a training that is not run, or None if
            it diverges.
        images: overrides that make the data small.
        budget: ``quick`` or ``full``.
    """

    def __init__(
        self,
        picked: Mapping[Any, Any] | None = None,
        script: Callable[[dict[str, str], int], float | None] | None = None,
        images: tuple[str, ...] = tuple(SMALL),
        budget: str = "quick",
    ):
        super().__init__(budget)
        self.picked, self.script, self.images = picked or {}, script, images

    def pick(self, quick, full):
        value = super().pick(quick, full)
        try:
            return self.picked.get(value, value)
        except TypeError:  # a list has no hash
            return value

    def compose(self, *overrides, seed=None):
        return super().compose(*self.images, *overrides, seed=seed)

    def train(self, *overrides, seed=None):
        if self.script is None:
            return super().train(*overrides, seed=seed)
        self.commands.append(f"{' '.join(overrides)} seed={seed}")
        accuracy = self.script(dict(word.split("=", 1) for word in overrides), seed)
        if accuracy is None:
            return Run("", seed, [], 0.1, 0.0, 1, True, {})
        epochs = self.compose(*overrides).trainer.max_epochs
        return Run("", seed, [{"val/accuracy": accuracy}] * epochs, accuracy, 0.0, 1, False, {})


def stored(claim, m):
    """Measurements as the page reads them: from JSON."""
    return from_plain(claim.measure, to_plain(m))


def judged(claim, m) -> dict[str, Finding]:
    """Findings by name; each has its own name, a reason for its bound, and a short statement."""
    findings = list(claim.judge(m))
    named = {finding.name: finding for finding in findings}
    assert len(named) == len(findings)
    for finding in findings:
        assert len(finding.statement.split()) <= 15, finding.statement
        assert finding.why, finding.name
    return named


def beside(claim, m) -> list[Published]:
    """Published numbers beside the measurements, each with a short question."""
    numbers = list(claim.published(m))
    assert all(len(number.question.split()) <= 15 for number in numbers)
    return numbers
