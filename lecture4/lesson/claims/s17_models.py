"""Softmax classifier, MLP, ConvNet: accuracies, and the images each classifies correctly."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean as mean

import torch

from lecture4 import models
from lecture4.lesson.lab import (
    COLOURS,
    Finding,
    Gallery,
    Item,
    Lab,
    Plot,
    Run,
    Table,
    add_chance,
    add_points,
    better,
    figure,
    panels,
    percent,
    png,
    scores_of,
    spread,
)

TITLE = "Softmax, MLP, ConvNet side by side"
QUOTE = [
    "Activation function - ReLu (for non-linearity)",
    "Convolution layer: preserve spatial structure.",
]
TEXT = (
    "The lecture's three models are trained with their own recipes, shortened to the budget, "
    "each on the same split of the same images; the split changes with the seed. Two steps are "
    "measured: the gain of a non-linearity over the linear classifier, and the further gain of "
    "preserving the image's spatial structure. See which classes are still confused, and "
    "whether there are images that only the ConvNet classifies correctly."
)
FORMULAS = [
    r"s = W x + b",
    r"s = W_3\, f(W_2\, f(W_1 x + b_1) + b_2) + b_3",
    r"h = \text{ReLU}(\text{norm}(\text{pool}(W * x)))",
    r"(W * x)_{kij} = \sum_{c, a, e} W_{kcae}\, x_{c,\, i + a,\, j + e}",
]
CODE = [models.SoftmaxClassifier, models.MLP, models.ConvNet]
TITLES = {"softmax": "softmax classifier", "mlp": "MLP", "convnet": "ConvNet"}
PICTURES = 15


@dataclass
class Trained:
    """One model: the trainings of all seeds, and the first seed's confusion matrix."""

    accuracy: list[float]
    diverged: list[bool]
    seconds: list[float]
    images_seen: list[int]
    parameters: int
    confusion: list[list[int]]  # images of each class (row) classified as each class (column)

    @property
    def correct(self) -> int:
        """Test images that the first seed's model classifies correctly."""
        return sum(row[k] for k, row in enumerate(self.confusion))


@dataclass
class Measured:
    """Every number and picture of the section."""

    seeds: list[int]
    test_images: int
    class_names: list[str]
    models: dict[str, Trained]
    correct: dict[str, int]  # test images that exactly these models classify correctly
    pictures: list[tuple[str, str]]  # images that only the ConvNet classifies correctly, labels


def overrides(lab: Lab) -> dict[str, tuple[str, ...]]:
    """The overrides of each model's training: its own recipe, shortened to the budget."""
    if lab.budget == "full":
        epochs = {"softmax": 12, "mlp": 10, "convnet": 4}
        return {name: (f"model={name}", f"trainer.max_epochs={n}") for name, n in epochs.items()}
    images = {"softmax": 45_000, "mlp": 18_000, "convnet": 9_000}
    return {name: (f"model={name}", *lab.length(n, f"model={name}")) for name, n in images.items()}


def measure(lab: Lab) -> Measured:
    """Train the three on each seed's split; the first seed's classify the test set."""
    seeds, labels, names = lab.seeds(3), lab.dataset.test_labels, list(lab.dataset.class_names)
    trained, predicted = {}, {}
    for name, words in overrides(lab).items():
        runs = [lab.train(*words, seed=seed) for seed in seeds]
        images = lab.images_an_epoch(*words)
        predicted[name] = classify(lab, runs[0], words)
        trained[name] = Trained(
            accuracy=[run.accuracy for run in runs],
            diverged=[run.diverged for run in runs],
            seconds=[run.seconds for run in runs],
            images_seen=[images * len(run.history) for run in runs],
            parameters=runs[0].parameters,
            confusion=confusion(predicted[name], labels, len(names)),
        )
    correct = {name: classes == labels for name, classes in predicted.items()}
    only = correct["convnet"] & ~correct["mlp"] & ~correct["softmax"]
    pictures = []
    for i in only.nonzero().flatten()[:PICTURES].tolist():
        others = " · ".join(names[predicted[name][i]] for name in ("softmax", "mlp"))
        pictures.append((png(lab.dataset.test_inputs[i]), f"{names[labels[i]]}, not {others}"))
    return Measured(seeds, len(labels), names, trained, agreements(correct), pictures)


def classify(lab: Lab, run: Run, words: tuple[str, ...]) -> torch.Tensor:
    """Predicted classes (N,) of the test set; always the first class if the run diverged."""
    if run.diverged:
        return torch.zeros_like(lab.dataset.test_labels)
    classifier, data = lab.restore(run, *words)
    return scores_of(classifier, data.dataset.test_inputs).argmax(1)


def confusion(predicted: torch.Tensor, labels: torch.Tensor, k: int) -> list[list[int]]:
    """Number of images of each class (row) that were classified as each class (column)."""
    return torch.bincount(labels * k + predicted, minlength=k * k).view(k, k).tolist()


def agreements(correct: dict[str, torch.Tensor]) -> dict[str, int]:
    """Number of images that exactly each subset of the models classifies correctly."""
    code = sum(c.long() << i for i, c in enumerate(correct.values()))  # a bit for each model
    counts = torch.bincount(code, minlength=2 ** len(correct)).tolist()
    titles = [TITLES[name] for name in correct]
    subsets = (" + ".join(t for i, t in enumerate(titles) if bits >> i & 1) for bits in range(8))
    return dict(zip(subsets, counts, strict=True))


def judge(m: Measured) -> Iterator[Finding]:
    """Compare each model with the one before, seed by seed."""
    for name, than in (("mlp", "softmax"), ("convnet", "mlp")):
        pair = (m.models[name].accuracy, TITLES[than], m.models[than].accuracy)
        yield better(f"the {TITLES[name]}", *pair, m.test_images)


def draw(m: Measured) -> Iterator[Item]:
    """Accuracies, costs, confusions, and the images that only the ConvNet classifies correctly."""
    yield _accuracies(m)
    yield _costs(m)
    yield _confusions(m)
    yield _agreement(m)
    if m.pictures:
        yield _gallery(m)


def _accuracies(m: Measured) -> Plot:
    made = figure("", "test accuracy (%)", showlegend=False)
    means = {name: 100 * mean(of.accuracy) for name, of in m.models.items()}
    for i, (name, title) in enumerate(TITLES.items()):
        values = percent(m.models[name].accuracy)
        made.add_bar(x=[title], y=[means[name]], marker_color=COLOURS[i], opacity=0.45)
        seeds = [f"seed {seed}" for seed in m.seeds]
        add_points(made, [title] * len(values), values, title, i, 9, text=seeds)
    chance = 100 / len(m.class_names)
    add_chance(made, chance)
    words = ", ".join(f"{title} {means[name]:.1f} %" for name, title in TITLES.items())
    return Plot(
        made,
        f"Mean test accuracy: {words}; chance would be {chance:.0f} %.",
        f"Bars: mean of {len(m.seeds)} seeds; points: each seed, with its own split.",
    )


def _costs(m: Measured) -> Table:
    return Table(
        ["model", "test accuracy, %", "parameters", "images seen", "time, s", "diverged"],
        [
            [
                TITLES[name],
                spread(percent(of.accuracy)),
                f"{of.parameters:,}",
                f"{round(mean(of.images_seen)):,}",
                f"{mean(of.seconds):.1f}",
                sum(of.diverged),
            ]
            for name, of in m.models.items()
        ],
        f"Accuracy on {m.test_images:,} test images at the epoch of best validation accuracy, mean "
        f"(lowest–highest) of n = {len(m.seeds)} seeds, {m.seeds[0]} to {m.seeds[-1]}. Images "
        "seen: in training, repeated ones counted each time. Time: training, validation and test.",
    )


def _confusions(m: Measured) -> Plot:
    made = panels(3, 1, list(TITLES.values()), vertical_spacing=0.1, height=1300)
    for row, name in enumerate(TITLES, 1):
        counts = m.models[name].confusion
        made.add_heatmap(
            z=[[100 * n / max(sum(of_class), 1) for n in of_class] for of_class in counts],
            x=m.class_names,
            y=m.class_names,
            text=counts,
            texttemplate="%{text}",
            textfont={"size": 9},
            hovertemplate="%{y} classified as %{x}: %{text} (%{z:.1f} %)<extra></extra>",
            zmin=0,
            zmax=100,
            colorscale=[[0, "rgba(47,127,193,0)"], [1, COLOURS[0]]],  # light or dark below
            showscale=False,
            row=row,
            col=1,
        )
    made.update_yaxes(autorange="reversed")
    made.update_xaxes(tickangle=-45)
    made.update_xaxes(title="predicted", row=3)
    words = ", ".join(f"{title} {m.models[name].correct:,}" for name, title in TITLES.items())
    return Plot(
        made,
        f"Confusion matrices; on the diagonal, of {m.test_images:,} images: {words}.",
        f"Rows: true class; columns: prediction of seed {m.seeds[0]}'s model, in float32; numbers "
        "of images.",
    )


def _agreement(m: Measured) -> Table:
    return Table(
        ["correct: exactly these", "test images", "share"],
        [
            [names or "none", f"{images:,}", f"{100 * images / m.test_images:.1f} %"]
            for names, images in sorted(m.correct.items(), key=lambda row: -row[1])
        ],
        f"Test images by the models of seed {m.seeds[0]} that classify them correctly.",
    )


def _gallery(m: Measured) -> Gallery:
    total = m.correct["ConvNet"]
    return Gallery(
        m.pictures,
        f"Test images that only the ConvNet classifies correctly: {total:,} of "
        f"{m.test_images:,}, of which {len(m.pictures)} are shown.",
        f"The first {len(m.pictures)}, in the order of the test set, of {total:,} that only the "
        f"ConvNet classifies correctly (seed {m.seeds[0]}): the true class, not the predictions "
        "of the softmax classifier · the MLP.",
    )
