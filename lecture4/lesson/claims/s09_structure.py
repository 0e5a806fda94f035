"""Preserve spatial structure: what a convolution saves, and how it needs the pixels' order."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import nn

from lecture4.byhand import functional as F
from lecture4.data.cifar import load_cifar10
from lecture4.data.dataset import Dataset
from lecture4.data.randomness import generator
from lecture4.data.shapes import make_shapes
from lecture4.lesson.lab.finding import Claim, Finding, above_chance, paired, resolution
from lecture4.lesson.lab.items import Gallery, Item, Plot, Table, png
from lecture4.lesson.lab.plots import add_chance, add_line, panels, spread
from lecture4.lesson.lab.trainings import Lab
from lecture4.models import MLP, ConvNet, layer_rows

IMAGE, MAPS = (3, 32, 32), (6, 28, 28)  # the lecture's example: six 5×5 filters
VAL_SIZE = 1000
BLOCK = "{{channels: {}, kernel_size: 3, padding: 1, norm: batch, pool: {{kernel_size: 2}}}}"
# The head flattens: an average over positions could lose accuracy in any order of pixels.
NETS = {
    "MLP": (["model=mlp", "model.hidden=[256,256]"], 0.05),
    "ConvNet": (
        [
            "model=convnet",
            f"model.blocks=[{','.join(BLOCK.format(channels) for channels in (16, 32, 64))}]",
            "model.head=flatten",
        ],
        0.1,
    ),
}


def pixel_order(size: int) -> torch.Tensor:
    """The one permutation of ``size`` pixels that is applied to every image."""
    return torch.randperm(size, generator=generator(int.from_bytes(b"pixels"), size))


def shuffled(images: torch.Tensor) -> torch.Tensor:
    """Images (N, C, H, W) with their pixels in ``pixel_order``, in each channel the same."""
    pixels = images.flatten(2)
    return pixels.index_select(2, pixel_order(pixels.shape[2])).view_as(images)


def shuffled_cifar10(root: str = "data", urls: Sequence[str] | None = None) -> Dataset:
    """``cifar10`` with all images shuffled, training and test."""
    return _shuffled_dataset(load_cifar10(root, urls))


def shuffled_shapes(train_size: int, test_size: int, seed: int) -> Dataset:
    """``shapes`` with all images shuffled, training and test."""
    return _shuffled_dataset(make_shapes(train_size, test_size, seed))


def _shuffled_dataset(dataset: Dataset) -> Dataset:
    return dataclasses.replace(
        dataset,
        train_inputs=shuffled(dataset.train_inputs),
        test_inputs=shuffled(dataset.test_inputs),
    )


def measure(lab: Lab) -> dict:
    """Cost of both layers for the same maps; accuracy of both nets, in order and shuffled."""
    lab.note("a fully connected layer and a convolution for the same maps")
    images, seeds = lab.dataset.test_inputs[:4], lab.seeds(lab.pick(3, 5))
    return {
        "seeds": seeds,
        "cost": _costs(),
        "same_function": _convolution_as_matrix(),
        "same_scores": _permuted_columns(lab),
        "images": [[png(image) for image in batch] for batch in (images, shuffled(images))],
        "training_images": lab.pick(13_500, 45_000),
        "tested": len(lab.dataset.test_labels),
        "chance": 1 / len(lab.dataset.class_names),
        "nets": {net: _train_both(lab, *NETS[net], seeds) for net in NETS},
    }


def _costs() -> list[dict]:
    size = torch.Size(MAPS).numel()
    layers = {
        "convolution, six 5×5 filters": nn.Conv2d(IMAGE[0], MAPS[0], 5),
        "fully connected, 3072 → 4704": nn.Sequential(
            nn.Flatten(), nn.Linear(torch.Size(IMAGE).numel(), size)
        ),
    }
    rows = {name: layer_rows(nn.Sequential(layer), IMAGE)[0] for name, layer in layers.items()}
    return [
        {"layer": name, "parameters": row.parameters, "multiply_adds": row.multiply_adds}
        for name, row in rows.items()
    ]


def _convolution_as_matrix() -> dict:
    """Build the fully connected layer that equals a convolution; count its distinct weights."""
    side = 12  # the matrix of the lecture's example would have 14 million entries
    draw = generator(int.from_bytes(b"matrix"))
    weight = torch.randn(MAPS[0], IMAGE[0], 5, 5, generator=draw, dtype=torch.float64)
    x = torch.randn(8, IMAGE[0], side, side, generator=draw, dtype=torch.float64)
    pixels = x[0].numel()
    basis = torch.eye(pixels, dtype=torch.float64).view(pixels, *x.shape[1:])
    matrix = (
        F.conv2d(basis, weight).flatten(1).T
    )  # (outputs, pixels); column i is the image of pixel i
    difference = F.linear(x.flatten(1), matrix) - F.conv2d(x, weight).flatten(1)
    return {
        "side": side,
        "difference": difference.abs().max().item(),
        "shape": list(matrix.shape),
        "zeros": (matrix == 0).double().mean().item(),
        "distinct": len(matrix[matrix != 0].unique()),
    }


def _permuted_columns(lab: Lab) -> float:
    """Largest change of an MLP's scores when pixels and its first columns are permuted alike."""
    classifier, data = lab.assemble(*NETS["MLP"][0], "augment=none")
    images = data.dataset.test_inputs[:200].double() / 255
    model = classifier.model.double().eval()
    with torch.no_grad():
        expected = model(images)
        columns = model.hidden[0].weight.view(-1, images.shape[1], images[0, 0].numel())
        columns.copy_(columns[:, :, pixel_order(columns.shape[2])].clone())
        return (model(shuffled(images)) - expected).abs().max().item()


def _train_both(lab: Lab, net: list[str], rate: float, seeds: list[int]) -> dict:
    rates = lab.pick([rate], [rate / 3, rate, 3 * rate])
    return {
        "in order": _tuned(lab, net, rates, seeds),
        "shuffled": _tuned(lab, [*net, _shuffled_source(lab)], rates, seeds),
    }


def _shuffled_source(lab: Lab) -> str:
    return f"data.source._target_={__name__}.shuffled_{lab.data}"


def _tuned(lab: Lab, net: list[str], rates: list[float], seeds: list[int]) -> dict:
    """Train every seed at the best of the rates."""
    split = f"data.val_size={VAL_SIZE}"
    length = lab.length(lab.pick(13_500, 45_000), split)
    settings = [(f"optim.lr={rate:.3g}",) for rate in rates]
    tuned = lab.tune([*net, "augment=none", split, *length], settings, seeds)
    return {
        "rates": rates,
        "rate": rates[tuned.best],
        "at_edge": tuned.at_edge,
        "accuracy": [run.accuracy for run in tuned.runs],
        "parameters": tuned.runs[0].parameters,
    }


def judge(m: dict) -> list[Finding]:
    """Costs and identities are exact; accuracies are compared seed by seed."""
    convolution, full = m["cost"]
    return [
        Finding(
            "parameters of a fully connected layer from 32×32×3 to 28×28×6, over those of six 5×5 "
            "filters (at least an order of magnitude)",
            [full["parameters"] / convolution["parameters"]],
            at_least=10,
        ),
        Finding(
            "multiply-adds of the same layers, fully connected over convolution (the same bound)",
            [full["multiply_adds"] / convolution["multiply_adds"]],
            at_least=10,
        ),
        Finding(
            "largest difference between a convolution and the fully connected layer whose matrix "
            "repeats its filters at each position, in float64",
            [m["same_function"]["difference"]],
            at_most=1e-12,
        ),
        Finding(
            "largest change of an MLP's scores when the pixels and its first columns are permuted "
            "alike, in float64",
            [m["same_scores"]],
            at_most=1e-12,
        ),
        *_lost(m),
    ]


def _lost(m: dict) -> list[Finding]:
    """The accuracy that shuffling costs each net, given that the MLP has learned something."""
    same = max(2, resolution(m["tested"]))  # points that do not matter, or may be luck
    lost = {
        net: paired(*(side["accuracy"] for side in sides.values()))
        for net, sides in m["nets"].items()
    }
    learned = m["nets"]["MLP"]["in order"]["accuracy"]
    return [
        above_chance("of the MLP on images in order", learned, m["chance"], m["tested"]),
        Finding(
            f"MLP: test accuracy on images in order minus shuffled ones (within ±{same:.2g} points "
            "the order does not matter)",
            lost["MLP"],
            at_least=-same,
            at_most=same,
            unit="points",
        ),
        Finding(
            "ConvNet: test accuracy on images in order minus shuffled ones (a loss well above the "
            f"{same:.2g} points that do not matter)",
            lost["ConvNet"],
            at_least=max(5, 2 * same),
            unit="points",
        ),
    ]


def draw(m: dict) -> list[Item]:
    """Shuffled images, the accuracy of each net, and the cost of the two layers."""
    return [_pictures(m), _accuracies(m), _cost_table(m)]


def _pictures(m: dict) -> Gallery:
    in_order, out_of_order = m["images"]
    return Gallery(
        [(image, "in order") for image in in_order]
        + [(image, "shuffled") for image in out_of_order],
        alt="Four test images, and the same four with their pixels shuffled: coloured noise.",
        caption="One fixed permutation of the pixels, the same for every training and test image: "
        "no information is lost, but neighbours are no longer neighbours.",
    )


def _accuracies(m: dict) -> Plot:
    nets = m["nets"]
    drawn = panels(1, len(nets), list(nets), shared_yaxes=True)
    for column, sides in enumerate(nets.values(), 1):
        pairs = zip(*(side["accuracy"] for side in sides.values()), strict=True)
        for i, (seed, pair) in enumerate(zip(m["seeds"], pairs, strict=True)):
            name, percent = f"seed {seed}", [100 * accuracy for accuracy in pair]
            place = {"legendgroup": name, "showlegend": column == 1, "row": 1, "col": column}
            style = {"mode": "lines+markers", "marker": {"size": 9}}
            add_line(drawn, sides, percent, name, i, **style, **place)
    add_chance(drawn, 100 * m["chance"])
    drawn.update_xaxes(range=[-0.4, 1.4])
    drawn.update_yaxes(rangemode="tozero")
    drawn.update_yaxes(title="test accuracy (%)", col=1)
    accuracies = "; ".join(
        f"{net} "
        + ", ".join(f"{spread([100 * a for a in of['accuracy']])} % {s}" for s, of in sides.items())
        for net, sides in nets.items()
    )
    return Plot(
        drawn,
        alt=f"Test accuracy on images in order and on shuffled ones, mean and range: {accuracies}.",
        caption="Each line is one seed; a level line: the order does not matter. Each net was "
        f"trained on about {m['training_images']:,} images, in order or shuffled, and tested on "
        f"the same kind. {' '.join(_trained(net, sides) for net, sides in nets.items())}",
    )


def _trained(net: str, sides: dict) -> str:
    """Size and learning rates of a net, in words."""
    rates = [f"{rate:.3g}" for rate in sides["in order"]["rates"]]
    text = f"{net}: {sides['in order']['parameters']:,} parameters, learning rate "
    if len(rates) == 1:
        return f"{text}{rates[0]}, the only one tried."
    best = ", ".join(
        f"{of['rate']:.3g}{' (at the edge)' if of['at_edge'] else ''} {side}"
        for side, of in sides.items()
    )
    return f"{text}the best of {', '.join(rates)} by the first seed's validation accuracy: {best}."


def _cost_table(m: dict) -> Table:
    same = m["same_function"]
    return Table(
        ["layer from 32×32×3 to 28×28×6", "parameters", "multiply-adds for one image"],
        [
            [row["layer"], f"{row['parameters']:,}", f"{row['multiply_adds']:,}"]
            for row in m["cost"]
        ],
        caption="A convolution is a fully connected layer under two constraints: weights are zero "
        "outside of the window, and the same at every position. The equivalent matrix for "
        f"{same['side']}×{same['side']}×3 pixels, {same['shape'][0]} × {same['shape'][1]}, has "
        f"{100 * same['zeros']:.1f} % zeros and {same['distinct']} distinct other numbers.",
    )


CLAIM = Claim(
    name="structure",
    title="Preserve spatial structure",
    quote=[
        "Fully connected layer",
        "e.g stretch 32x32x3 image to 3072x1.",
        "Convolution layer: preserve spatial structure.",
    ],
    text="A convolution computes as many outputs as a fully connected layer with a fraction of the "
    "weights and of the work, because it combines only neighbours, with the same filter at every "
    "position. It depends on the order of the pixels: after one fixed permutation of all images a "
    "ConvNet should lose accuracy. An MLP does not know which pixels are neighbours, so its lines "
    "should stay level. Both are trained without flips and crops, which are meaningless on "
    "shuffled pixels; the ConvNet's last layer sees every position, so that no average over "
    "positions could explain a loss.",
    formulas=[
        r"\text{fully connected:}\quad s = W x + b, \quad W \in \mathbb{R}^{4704 \times 3072}",
        r"\text{convolution:}\quad s_{kij} = \sum_{c=1}^{3} \sum_{a=1}^{5} \sum_{e=1}^{5} "
        r"w_{kcae} \, x_{c,\,i+a-1,\,j+e-1} + b_k",
        r"(W Q^{T}) (Q x) = W x \quad \text{for every permutation } Q",
    ],
    code=[F.conv2d, F.linear, layer_rows, MLP, ConvNet, shuffled],
    measure=measure,
    judge=judge,
    draw=draw,
)
