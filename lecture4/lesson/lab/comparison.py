"""Variants of a net, each at the best of the learning rates tried: table, plots and findings."""

from collections.abc import Sequence
from dataclasses import dataclass

from lecture4.lesson.lab import finding
from lecture4.lesson.lab.finding import Finding
from lecture4.lesson.lab.items import Plot
from lecture4.lesson.lab.plots import lines, percent, spread


@dataclass
class Variant:
    """One variant: every setting with the first seed, the best setting with every seed.

    Attributes:
        validation: best validation accuracy with each setting, first seed; 1/K if it diverged.
        best: index of the setting of highest validation accuracy.
        at_edge: a rate next to the best one was not tried, so a better one may lie beyond.
        accuracy: on the test set with the best setting, for each seed.
        curves: validation accuracy of each epoch, for each seed; 1/K after it diverged.
        diverged: number of these trainings that diverged.
        parameters: of the model.
    """

    validation: list[float]
    best: int
    at_edge: bool
    accuracy: list[float]
    curves: list[list[float]]
    diverged: int
    parameters: int


@dataclass
class Comparison:
    """The result of ``Lab.compare``; plain values, so that a claim's measurements can hold it.

    Attributes:
        variants: by name.
        settings: the optimizer and rate of each setting, such as ``("sgd", 0.1)``; the optimizer
            is empty if the net's recipe chooses it.
        seeds: of the trainings.
        chance: 1/K.
        tested: number of test images.
        images: training images of each training.
    """

    variants: dict[str, Variant]
    settings: list[tuple[str, float]]
    seeds: list[int]
    chance: float
    tested: int
    images: int

    def accuracy(self, name: str) -> list[float]:
        """Test accuracy of a variant for each seed."""
        return self.variants[name].accuracy

    def learned(self, name: str, whose: str = "") -> Finding:
        """``finding.learned`` for a variant."""
        return finding.learned(whose or name, self.accuracy(name), self.chance, self.tested)

    def better(self, name: str, than: str, least: float = 1.0) -> Finding:
        """``finding.better`` for two variants."""
        pair = name, self.accuracy(name), than, self.accuracy(than)
        return finding.better(*pair, self.tested, least)

    def as_good(self, name: str, than: str, within: float = 1.0) -> Finding:
        """``finding.as_good`` for two variants."""
        pair = name, self.accuracy(name), than, self.accuracy(than)
        return finding.as_good(*pair, self.tested, within)

    def setting(self, name: str) -> str:
        """A variant's best setting in words, with a star at the edge of what was tried."""
        variant = self.variants[name]
        return self._words(variant.best) + "*" * variant.at_edge

    def row(self, name: str) -> list[str]:
        """Best setting, and test accuracy (%) of each seed, for a table."""
        variant = self.variants[name]
        accuracies = ", ".join(f"{v:.1f}" for v in percent(variant.accuracy))
        return [self.setting(name), accuracies + (" (diverged)" if variant.diverged else "")]

    @property
    def note(self) -> str:
        """What ``row`` shows, in a sentence for a caption."""
        if len(self.settings) == 1:
            return f"Learning rate {self._words(0)} only, which may not suit every variant."
        tried = ", ".join(map(self._words, range(len(self.settings))))
        return (
            f"Best of {tried} by validation accuracy of the first seed (*: the smallest or largest "
            "rate tried, so a better one may lie beyond). A diverged training counts as chance."
        )

    def rates_plot(self, caption: str) -> Plot:
        """Validation accuracy of every variant against the learning rate, first seed."""
        rates = [rate for _, rate in self.settings]
        plot = lines(
            rates,
            {name: percent([variant.validation]) for name, variant in self.variants.items()},
            x="learning rate",
            y="validation accuracy (%)",
            log="x",
            caption=caption,
        )
        plot.figure.update_xaxes(tickvals=rates, ticktext=[f"{rate:g}" for rate in rates])
        return plot

    def curves_plot(self, caption: str) -> Plot:
        """Validation accuracy of every variant after each epoch, at its best setting."""
        epochs = max(len(curve) for v in self.variants.values() for curve in v.curves)
        plot = lines(
            [self.images * (epoch + 1) / epochs for epoch in range(epochs)],
            {name: percent(variant.curves) for name, variant in self.variants.items()},
            x="training images seen",
            y="validation accuracy (%)",
            chance=self.chance,
            caption=caption,
        )
        tested = (f"{name} {spread(percent(v.accuracy))} %" for name, v in self.variants.items())
        return Plot(plot.figure, f"{plot.alt} Test accuracy: {'; '.join(tested)}.", caption)

    def _words(self, setting: int) -> str:
        optimizer, rate = self.settings[setting]
        return f"{optimizer} {rate:g}".strip()


def best_setting(settings: Sequence[tuple[str, float]], validation: Sequence[float]) -> int:
    """Index of the highest validation accuracy; the first of equal ones."""
    return max(range(len(settings)), key=validation.__getitem__)


def lies_at_edge(settings: Sequence[tuple[str, float]], best: int) -> bool:
    """Whether the best setting has the first or last of its optimizer's rates."""
    optimizer = settings[best][0]
    own = [i for i, (name, _) in enumerate(settings) if name == optimizer]
    return len(settings) > 1 and best in (own[0], own[-1])
