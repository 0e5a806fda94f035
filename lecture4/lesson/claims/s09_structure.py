"""Preserve spatial structure: what a convolution saves, and how it needs the pixels' order."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lecture4.byhand import functional as F
from lecture4.data.cifar import load_cifar10
from lecture4.data.dataset import Dataset
from lecture4.data.randomness import generator
from lecture4.data.shapes import make_shapes
from lecture4.lesson.lab import (
    Comparison,
    Finding,
    Gallery,
    Item,
    Lab,
    Table,
    exact,
    lines,
    paired,
    percent,
    png,
    ratio,
    resolution,
)
from lecture4.models import MLP, ConvNet, layer_rows

TITLE = "Preserve spatial structure"
QUOTE = [
    "Fully connected layer",
    "e.g stretch 32x32x3 image to 3072x1.",
    "Convolution layer: preserve spatial structure.",
]
TEXT = (
    "A convolution computes as many outputs as a fully connected layer with a fraction of the "
    "weights and of the work, because it combines only neighbours, with the same filter at every "
    "position. It depends on the order of the pixels: after one fixed permutation of all images a "
    "ConvNet should lose accuracy. An MLP does not know which pixels are neighbours, so its lines "
    "should stay level. Both are trained without flips and crops, which are meaningless on "
    "shuffled pixels; the ConvNet's last layer sees every position, so that no average over "
    "positions could explain a loss."
)
FORMULAS = [
    r"\text{fully connected:}\quad s = W x + b, \quad W \in \mathbb{R}^{4704 \times 3072}",
    r"\text{convolution:}\quad s_{kij} = \sum_{c=1}^{3} \sum_{a=1}^{5} \sum_{e=1}^{5} "
    r"w_{kcae} \, x_{c,\,i+a-1,\,j+e-1} + b_k",
    r"(W Q^{T}) (Q x) = W x \quad \text{for every permutation } Q",
]
BLOCK = "{{channels: {}, kernel_size: 3, padding: 1, norm: batch, pool: {{kernel_size: 2}}}}"
BLOCKS = f"model.blocks=[{','.join(map(BLOCK.format, (16, 32, 64)))}]"
NETS = {  # overrides, learning rates
    "MLP": (["model=mlp", "model.hidden=[256,256]"], (0.0167, 0.05, 0.15)),
    "ConvNet": (["model=convnet", BLOCKS, "model.head=flatten"], (0.0333, 0.1, 0.3)),
}


def shuffled(images: torch.Tensor) -> torch.Tensor:
    """Images (N, C, H, W) with their pixels in ``pixel_order``, in each channel the same."""
    pixels = images.flatten(2)
    return pixels.index_select(2, pixel_order(pixels.shape[2])).view_as(images)


def pixel_order(size: int) -> torch.Tensor:
    """The one permutation of ``size`` pixels that is applied to every image."""
    return torch.randperm(size, generator=generator(int.from_bytes(b"pixels"), size))


def shuffled_cifar10(root: str = "data", urls: Sequence[str] | None = None) -> Dataset:
    """``cifar10`` with all images shuffled, training and test."""
    return _shuffled_dataset(load_cifar10(root, urls))


def shuffled_shapes(train_size: int, test_size: int, seed: int) -> Dataset:
    """``shapes`` with all images shuffled, training and test."""
    return _shuffled_dataset(make_shapes(train_size, test_size, seed))


def _shuffled_dataset(dataset: Dataset) -> Dataset:
    train, test = shuffled(dataset.train_inputs), shuffled(dataset.test_inputs)
    return dataclasses.replace(dataset, train_inputs=train, test_inputs=test)


CODE = [F.conv2d, F.linear, layer_rows, MLP, ConvNet, shuffled]


@dataclass
class Matrix:
    """The fully connected layer that equals six 5×5 filters on images of side×side×3."""

    side: int
    shape: list[int]  # outputs, inputs
    zeros: float  # share of its weights
    distinct: int  # other weights
    difference: float  # largest, between outputs of layer and convolution


@dataclass
class Measured:
    """Costs and identities of layers; accuracy of nets on pixels in order and shuffled."""

    inputs: int  # of the MLP
    costs: dict[str, tuple[int, int]]  # layer -> parameters, multiply-adds
    matrix: Matrix
    permuted: float  # largest change of scores when pixels and columns are permuted alike
    pictures: list[tuple[str, str]]  # image, label
    nets: dict[str, Comparison]


def measure(lab: Lab) -> Measured:
    """Cost of both layers for the same maps; accuracy of both nets, in order and shuffled."""
    lab.note("a fully connected layer and a convolution for the same maps")
    images = lab.dataset.test_inputs[:4]
    orders = {"in order": images, "shuffled": shuffled(images)}
    return Measured(
        inputs=lab.assemble(*NETS["MLP"][0])[0].model.hidden[0].in_features,
        costs={
            "convolution, six 5×5 filters": cost(nn.Conv2d(3, 6, 5)),
            "fully connected, 3072 → 4704": cost(nn.Flatten(), nn.Linear(3072, 4704)),
        },
        matrix=as_matrix(side=12),  # for 32 it would have 14 million entries
        permuted=permuted_columns(lab),
        pictures=[(png(image), order) for order, four in orders.items() for image in four],
        nets={name: compare(lab, name, *net) for name, net in NETS.items()},
    )


def cost(*layers: nn.Module) -> tuple[int, int]:
    """Parameters of a layer, and its multiply-adds for an image of 32×32×3."""
    [row] = layer_rows(nn.Sequential(*layers), (3, 32, 32))
    return row.parameters, row.multiply_adds


def as_matrix(side: int) -> Matrix:
    """Build the matrix of six 5×5 filters on side×side×3: column i is the output for pixel i."""
    draw = generator(int.from_bytes(b"matrix"))
    weight = torch.randn(6, 3, 5, 5, generator=draw, dtype=torch.float64)
    x = torch.randn(8, 3, side, side, generator=draw, dtype=torch.float64)
    pixels = torch.eye(x[0].numel(), dtype=torch.float64).unflatten(1, x[0].shape)
    matrix = F.conv2d(pixels, weight).flatten(1).T  # (outputs, pixels)
    difference = F.linear(x.flatten(1), matrix) - F.conv2d(x, weight).flatten(1)
    return Matrix(
        side,
        list(matrix.shape),
        zeros=(matrix == 0).double().mean().item(),
        distinct=len(matrix[matrix != 0].unique()),
        difference=difference.abs().max().item(),
    )


def permuted_columns(lab: Lab) -> float:
    """Permute pixels and the first layer's columns alike, (W Qᵀ)(Q x) = W x; compare scores."""
    classifier, data = lab.assemble(*NETS["MLP"][0], "augment=none")
    images = data.dataset.test_inputs[:200].double() / 255
    model = classifier.model.double().eval()
    with torch.no_grad():
        expected = model(images)
        columns = model.hidden[0].weight.unflatten(1, (3, -1))  # a view: (units, channels, pixels)
        columns.copy_(columns[:, :, pixel_order(columns.shape[2])].clone())
        return (model(shuffled(images)) - expected).abs().max().item()


def compare(lab: Lab, name: str, net: Sequence[str], rates: Sequence[float]) -> Comparison:
    """Train a net on images with their pixels in order, and on shuffled ones."""
    split = "data.val_size=1000"
    common = ["augment=none", split, *lab.length(lab.pick(13_500, 45_000), split)]
    source = f"data.source._target_={__name__}.shuffled_{lab.data}"
    orders = {f"{name} on ordered pixels": [], f"{name} on shuffled pixels": [source]}
    rates = lab.pick(rates[1:2], rates)
    return lab.compare([*net, *common], orders, rates, lab.seeds(lab.pick(3, 5)))


def judge(m: Measured) -> Iterator[Finding]:
    """Costs and identities are exact; accuracies are compared seed by seed."""
    yield Finding(
        "3072 inputs",
        "inputs of the MLP that stretches an image of 32×32×3 to a column",
        [m.inputs],
        at_least=3072,
        at_most=3072,
        why="32 · 32 · 3 = 3,072",
    )
    convolution, connected = m.costs.values()
    for i, what in enumerate(("parameters", "multiply-adds")):
        yield ratio(
            what,
            f"{what} of a fully connected layer, over the convolution's",
            connected[i] / convolution[i],
            at_least=10,
            why="at least an order of magnitude",
            definition="Both map 32×32×3 to 28×28×6, the convolution by six 5×5 filters.",
        )
    yield exact(
        "convolution as matrix",
        "largest difference between a convolution and the equivalent fully connected layer",
        m.matrix.difference,
        at_most=1e-12,
        definition="The layer's matrix repeats each filter at every position; in float64.",
    )
    yield exact(
        "permuted columns",
        "largest change of an MLP's scores when pixels and first-layer columns are permuted alike",
        m.permuted,
        at_most=1e-12,
        definition="In float64.",
    )
    mlp, convnet = m.nets.values()
    yield mlp.learned("MLP on ordered pixels")
    yield mlp.as_good("MLP on ordered pixels", than="MLP on shuffled pixels", within=2)
    ordered, other = "ConvNet on ordered pixels", "ConvNet on shuffled pixels"
    yield Finding(
        "ConvNet needs the order",
        f"test accuracy of {ordered}, minus {other}",
        paired(convnet.accuracy(ordered), convnet.accuracy(other)),
        at_least=max(5, 2 * resolution(convnet.tested)),
        why="a clear loss: at least 5 points, and twice what may be luck",
        unit="points",
    )


def draw(m: Measured) -> Iterator[Item]:
    """Shuffled images, the accuracy of each net, and the cost of the two layers."""
    yield Gallery(
        m.pictures,
        alt="Four test images, and the same four with their pixels shuffled: coloured noise.",
        caption="One fixed permutation of the pixels, the same for every training and test image: "
        "no information is lost, but neighbours are no longer neighbours.",
    )
    yield lines(
        ["in order", "shuffled"],
        {net: by_order(compared) for net, compared in m.nets.items()},
        x="pixels of training and test images",
        y="test accuracy (%)",
        chance=m.nets["MLP"].chance,
        caption="Mean and range of the seeds. A level line: the order does not matter.",
    )
    yield Table(
        ["net", "parameters", "learning rate", "test accuracy (%), each seed"],
        [
            [name, f"{variant.parameters:,}", *compared.row(name)]
            for compared in m.nets.values()
            for name, variant in compared.variants.items()
        ],
        caption=" ".join(
            f"{net}: {c.images:,} training images. {c.note}" for net, c in m.nets.items()
        ),
    )
    rows, columns = m.matrix.shape
    yield Table(
        ["layer from 32×32×3 to 28×28×6", "parameters", "multiply-adds for one image"],
        [[layer, *(f"{n:,}" for n in numbers)] for layer, numbers in m.costs.items()],
        caption="A convolution is a fully connected layer under two constraints: weights are zero "
        "outside of the window, and the same at every position. The equivalent matrix for "
        f"{m.matrix.side}×{m.matrix.side}×3 pixels, {rows} × {columns}, has "
        f"{percent(m.matrix.zeros):.1f} % zeros and {m.matrix.distinct} distinct other numbers.",
    )


def by_order(compared: Comparison) -> list[list[float]]:
    """Test accuracy (%) of each seed, with pixels in order and shuffled."""
    ordered, other = (variant.accuracy for variant in compared.variants.values())
    return percent(list(zip(ordered, other, strict=True)))
