"""What was learned: class templates, first filters, and the activation maps of one image."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean as mean

import torch
from torch.optim.swa_utils import update_bn

from lecture4.data.dataset import Dataset
from lecture4.lesson.claims.pictures import bright, enlarged, grey, mosaic, side_by_side
from lecture4.lesson.claims.s17_models import overrides
from lecture4.lesson.lab import (
    COLOURS,
    Finding,
    Gallery,
    Item,
    Lab,
    Plot,
    accuracy,
    better,
    learned,
    lines,
    mean_curve,
    png,
    scores_of,
)
from lecture4.models import ConvNet, SoftmaxClassifier
from lecture4.models.convnet import Block
from lecture4.models.pipeline import Pipeline
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule

TITLE = "What was learned"
QUOTE = [
    "Convolve the filter with image e.g slide over image spatially, computing dot products. "
    "Filter always extend to full depth of the input."
]
TEXT = (
    "The weights of two trained models as pictures. A softmax classifier has one template for "
    "each class; a ConvNet has small filters, and maps that show where they respond. See how much "
    "of the initial noise is left after training, and whether the maps, from block to block, carry "
    "more information about the class than the features of an untrained net."
)
FORMULAS = [r"s_k = w_k^T x + b_k", r"w^T x + b"]
CODE = [SoftmaxClassifier, ConvNet, Block]
RISE = 10.0  # points of variance
SEEN = 500  # training images for re-estimating batch norm's statistics
Nets = dict[str, Classifier]  # softmax and convnet


@dataclass
class Pictures:
    """Weights and maps of the first seed's nets, each the result of ``png``."""

    templates: list[str]
    untrained: str  # template
    filters: dict[str, str]
    image: str
    image_class: str
    correct: bool  # the ConvNet classifies the image correctly
    maps: list[str]  # of each block
    shapes: list[list[int]]  # of the maps


@dataclass
class Measured:
    """Lists have a value for each seed."""

    seeds: list[int]
    class_names: list[str]
    test_images: int
    tested: int  # test images of the nets with filters reset
    explained_images: int
    softmax: list[float]  # test accuracy
    convnet: list[float]
    own_template: list[float]  # share of classes, %
    neighbours: list[float]  # correlation of adjacent weights
    neighbours_untrained: list[float]
    cosine: list[float]  # of the angle between a filter and its initial weights
    along_start: list[float]  # share of a filter's squared length, %
    with_filters: list[float]  # test accuracy
    with_initial_filters: list[float]
    explained: list[list[float]]  # by the class, of each block's variance, %
    explained_untrained: list[list[float]]
    pictures: Pictures


def measure(lab: Lab) -> Measured:
    """Train softmax and ConvNet as the claim ``models`` does; compare with the initial weights."""
    settings, dataset, rows, pictures = overrides(lab), lab.dataset, [], None
    n = len(dataset.test_labels)
    tested, explained = min(lab.pick(2000, 10_000), n), min(lab.pick(1000, 2000), n)
    for seed in lab.seeds():
        untrained, trained, reached = {}, {}, {}
        for name in ("softmax", "convnet"):
            run = lab.train(*settings[name], seed=seed)
            reached[name] = run.accuracy
            untrained[name] = lab.assemble(*settings[name], seed=seed)[0].eval()
            trained[name], data = lab.restore(run, *settings[name])
        lab.note(f"templates, filters and maps, seed={seed}")
        initial, net = filters(untrained["convnet"]), trained["convnet"]
        cosines = torch.cosine_similarity(filters(net).flatten(1), initial.flatten(1))
        rows.append(
            {
                **reached,
                "own_template": 100 * own_template(trained["softmax"], dataset),
                "neighbours": neighbours(templates(trained["softmax"])),
                "neighbours_untrained": neighbours(templates(untrained["softmax"])),
                "cosine": cosines.mean().item(),
                "along_start": 100 * cosines.square().mean().item(),
                "with_filters": with_filters(net, filters(net), data, tested),
                "with_initial_filters": with_filters(net, initial, data, tested),
                "explained": selectivity(net, dataset, explained),
                "explained_untrained": selectivity(untrained["convnet"], dataset, explained),
            }
        )
        pictures = pictures or picture(trained, untrained, dataset)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return Measured(
        lab.seeds(), dataset.class_names, n, tested, explained, **columns, pictures=pictures
    )


def templates(classifier: Classifier) -> torch.Tensor:
    """The rows of W as images: (K, C, H, W)."""
    shape = classifier.model.settings["input_shape"]
    return classifier.model.scores.weight.detach().view(-1, *shape)


def filters(classifier: Classifier) -> torch.Tensor:
    """The filters of the first block: (channels, C, F, F)."""
    return classifier.model.blocks[0].conv.weight.detach()


def neighbours(weights: torch.Tensor) -> float:
    """Correlation of horizontally or vertically adjacent weights (N, C, H, W)."""
    w = weights.double()
    pairs = [(w[..., 1:], w[..., :-1]), (w[..., 1:, :], w[..., :-1, :])]
    both = torch.stack([torch.cat([p[side].flatten() for p in pairs]) for side in (0, 1)])
    return both.corrcoef()[0, 1].nan_to_num().item()


def with_filters(
    classifier: Classifier, weights: torch.Tensor, data: DataModule, images: int
) -> float:
    """Test accuracy with these first filters (channels, C, F, F).

    Batch norm's statistics are re-estimated on training images, so that later blocks do not suffer
    merely from another scale of the maps.
    """
    classifier = copy.deepcopy(classifier)
    filters(classifier).copy_(weights)
    seen = classifier.preprocess(data.dataset.train_inputs[data.train_index[:SEEN]])
    update_bn(seen.split(250), classifier.model)
    tests = data.dataset.test_inputs[:images], data.dataset.test_labels[:images]
    return accuracy(classifier, *tests)


def own_template(classifier: Classifier, dataset: Dataset) -> float:
    """Share of classes whose mean image has the largest w·x with their own template."""
    labels, classes = dataset.test_labels, range(len(dataset.class_names))
    with torch.no_grad():
        x = classifier.preprocess(dataset.test_inputs)
        means = torch.stack([x[labels == k].mean(0) for k in classes])  # (K, C, H, W)
        answers = means.flatten(1) @ templates(classifier).flatten(1).T
    return (answers.argmax(1) == torch.tensor(classes)).double().mean().item()


def maps(classifier: Classifier, inputs: torch.Tensor) -> list[torch.Tensor]:
    """The activation maps of each block: (N, channels, H, W) each."""
    made = []
    with torch.no_grad():
        x = classifier.preprocess(inputs)
        for block in classifier.model.blocks:
            made.append(x := block(x))
    return made


def selectivity(classifier: Classifier, dataset: Dataset, images: int) -> list[float]:
    """Share of the variance of a map's average that the image's class explains, for each block.

    In %, mean over the maps: variance of the class means over the total variance.
    """
    labels, shares = dataset.test_labels[:images], []
    chunks = [maps(classifier, part) for part in dataset.test_inputs[:images].split(500)]
    for parts in zip(*chunks, strict=True):
        average = torch.cat([part.double().mean((2, 3)) for part in parts])  # (N, channels)
        of_class = torch.zeros_like(average)
        for k in labels.unique():
            of_class[labels == k] = average[labels == k].mean(0)
        total = average.var(0, correction=0)
        share = of_class.var(0, correction=0) / total
        shares.append(100 * torch.where(total > 1e-12, share, 0).mean().item())
    return shares


def picture(trained: Nets, untrained: Nets, dataset: Dataset) -> Pictures:
    """Templates and filters, and the maps of the first test image that is classified correctly."""
    net, some = trained["convnet"], dataset.test_inputs[:100]
    with torch.no_grad():
        right = (net(some).argmax(1) == dataset.test_labels[:100]).nonzero().flatten()
    i = int(right[0]) if len(right) else 0
    blocks = [block[0] for block in maps(net, some[i : i + 1])]
    before, after = filters(untrained["convnet"]), filters(net)
    shown = {"before": before, "after": after, "change": after - before}
    return Pictures(
        templates=[png(t) for t in grey(templates(trained["softmax"]))],
        untrained=png(grey(templates(untrained["softmax"]))[0]),
        filters={name: mosaic(enlarged(grey(weights))) for name, weights in shown.items()},
        image=png(some[i]),
        image_class=dataset.class_names[dataset.test_labels[i]],
        correct=bool(len(right)),
        maps=[mosaic(bright(block)) for block in blocks],
        shapes=[list(block.shape) for block in blocks],
    )


def shown_net(lab: Lab) -> tuple[Pipeline, list[tuple[str, torch.Tensor]]]:
    """The first seed's ConvNet, and one test image of each class, if possible classified correctly.

    With a cache the training is the claim's own; without one it is repeated.
    """
    settings, dataset = overrides(lab)["convnet"], lab.dataset
    net, _ = lab.restore(lab.train(*settings, seed=lab.seed), *settings)
    labels, tested = dataset.test_labels, min(1000, len(dataset.test_labels))
    right = scores_of(net, dataset.test_inputs[:tested]).argmax(1) == labels[:tested]
    images = []
    for k, name in enumerate(dataset.class_names):
        own = (labels[:tested] == k).nonzero().flatten()
        chosen = own[right[own].to(torch.uint8).argsort(descending=True, stable=True)[:1]]
        images += [(name, dataset.test_inputs[i]) for i in chosen]
    return Pipeline(net.preprocess, net.model), images


def judge(m: Measured) -> Iterator[Finding]:
    """Trained weights must have structure that initial ones lack; maps must separate classes."""
    yield Finding(
        "templates",
        "share of classes whose mean test image fits their own template best",
        m.own_template,
        at_least=50,
        unit="%",
        why="at least half of the classes",
        definition="The largest w·x of all templates.",
    )
    yield Finding(
        "structure of the templates",
        "correlation of neighbouring weights in the templates, minus before training",
        [a - b for a, b in zip(m.neighbours, m.neighbours_untrained, strict=True)],
        at_least=0.1,
        why="a weight explains a hundredth of its neighbour's variance; less is not visible",
    )
    yield learned("the ConvNet", m.convnet, 1 / len(m.class_names), m.test_images)
    reset = "itself with initial first filters", m.with_initial_filters
    yield better("the ConvNet", m.with_filters, *reset, m.tested)
    yield Finding(
        "maps",
        "variance that the class explains: rise over the blocks, minus the untrained net's",
        [a - b for a, b in zip(rises(m.explained), rises(m.explained_untrained), strict=True)],
        at_least=RISE,
        unit="points",
        why="a tenth of all variance, ten times what classes explain by chance",
        definition="Variance of a map's average that lies between the classes, mean over the maps: "
        "last block minus first. By chance it is (K − 1)/(n − 1) for K classes and n images.",
    )


def rises(seeds: list[list[float]]) -> list[float]:
    """Increase from the first block to the last, for each seed."""
    return [blocks[-1] - blocks[0] for blocks in seeds]


def draw(m: Measured) -> Iterator[Item]:
    """Templates, filters before and after, maps of one image, and variance explained by class."""
    yield _templates(m)
    yield _filters(m)
    yield _maps(m)
    yield _explained(m)


def _templates(m: Measured) -> Gallery:
    shown = [*zip(m.pictures.templates, m.class_names, strict=True)]
    return Gallery(
        [*shown, (m.pictures.untrained, "untrained")],
        f"The templates of {', '.join(m.class_names)}; neighbouring weights correlate by "
        f"{mean(m.neighbours):z.2f}, and by {mean(m.neighbours_untrained):z.2f} before training.",
        f"Rows of W as images, seed {m.seeds[0]}; grey is zero. One template has to represent all "
        f"images of a class: test accuracy {100 * mean(m.softmax):.1f} %. The mean images of "
        f"{mean(m.own_template):.0f} % of the classes fit their own template best (n = "
        f"{len(m.seeds)}).",
    )


def _filters(m: Measured) -> Plot:
    trained, reset = 100 * mean(m.with_filters), 100 * mean(m.with_initial_filters)
    return Plot(
        side_by_side(m.pictures.filters, 420),
        f"{m.pictures.shapes[0][0]} first filters of the ConvNet, before and after training, at a "
        f"cosine of {mean(m.cosine):z.2f} to each other, and their change.",
        f"The filters of the first block, seed {m.seeds[0]}, each scaled by its largest weight; "
        f"grey is zero. The cosine of the angle between a filter and its initial weights is "
        f"{mean(m.cosine):z.2f} (0: orthogonal); {mean(m.along_start):.0f} % of its squared length "
        f"lies along the initial direction. Test accuracy is {trained:.1f} %, and {reset:.1f} % "
        f"with the filters reset and batch norm's statistics re-estimated ({m.tested:,} test "
        f"images, n = {len(m.seeds)}).",
    )


def _maps(m: Measured) -> Plot:
    sizes = [f"block {i}: {c} maps, {h}×{w}" for i, (c, h, w) in enumerate(m.pictures.shapes, 1)]
    known = ", the first that is classified correctly" * m.pictures.correct
    image = {m.pictures.image_class: m.pictures.image}
    return Plot(
        side_by_side(image | dict(zip(sizes, m.pictures.maps, strict=True)), 780),
        f"A test image of class {m.pictures.image_class} and its maps; {'; '.join(sizes)}.",
        f"A test image of class {m.pictures.image_class}{known}, and all its maps. Black is zero, "
        "white the map's largest activation.",
    )


def _explained(m: Measured) -> Plot:
    plot = lines(
        range(1, len(m.pictures.shapes) + 1),
        {"trained": m.explained, "untrained": m.explained_untrained},
        x="block",
        y="explained by the class, %",
        height=340,
        caption=f"Share of the variance of a map's average, over {m.explained_images:,} test "
        f"images, that lies between the classes; mean over the maps, n = {len(m.seeds)}. Dashed: "
        "threshold for the last trained block.",
    )
    plot.figure.update_xaxes(dtick=1)
    plot.figure.update_yaxes(rangemode="tozero")
    must = mean_curve(m.explained)[0] + mean(rises(m.explained_untrained)) + RISE
    plot.figure.add_hline(must, line={"dash": "dash", "color": COLOURS[6]})
    return plot
