"""Preserve spatial structure: what a convolution saves, and what it asks of the pixels' order."""

import dataclasses

import torch
from plotly.subplots import make_subplots
from torch import nn

from lecture4 import ops
from lecture4.data.cifar10 import cifar10
from lecture4.data.dataset import Dataset
from lecture4.data.shapes import shapes
from lecture4.lab import Claim, Finding, Gallery, Item, Lab, Plot, Run, Table, png
from lecture4.lab.drawing import COLOURS
from lecture4.models import MLP, ConvNet, layer_table
from lecture4.randomness import generator

IMAGE, MAPS = (3, 32, 32), (6, 28, 28)  # the lecture's example: six 5×5 filters
VAL_SIZE = 1000
BLOCK = "{{channels: {}, kernel_size: 3, padding: 1, norm: batch, pool: {{kernel_size: 2}}}}"
# The head sees each position by itself: an average over positions would lose by any order.
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
    """The one permutation of ``size`` pixels that every image goes through."""
    return torch.randperm(size, generator=generator(int.from_bytes(b"pixels"), size))


def shuffled(images: torch.Tensor) -> torch.Tensor:
    """Images (N, C, H, W) with their pixels in ``pixel_order``, the same one in each channel."""
    pixels = images.flatten(2)
    return pixels.index_select(2, pixel_order(pixels.shape[2])).view_as(images)


def shuffled_cifar10(root: str = "data") -> Dataset:
    """``cifar10`` with every image shuffled, those of training and test alike."""
    return _shuffled_dataset(cifar10(root))


def shuffled_shapes(train_size: int, test_size: int, seed: int) -> Dataset:
    """``shapes`` with every image shuffled, those of training and test alike."""
    return _shuffled_dataset(shapes(train_size, test_size, seed))


def _shuffled_dataset(dataset: Dataset) -> Dataset:
    return dataclasses.replace(
        dataset,
        train_inputs=shuffled(dataset.train_inputs),
        test_inputs=shuffled(dataset.test_inputs),
    )


def measure(lab: Lab) -> dict:
    """Cost of both layers for the same maps; accuracy of both nets, in order and shuffled."""
    lab.note("a fully connected layer and a convolution for the same maps")
    images = lab.dataset.test_inputs[:4]
    return {
        "seeds": lab.seeds(lab.pick(3, 5)),
        "cost": _costs(),
        "same_function": _convolution_as_matrix(),
        "same_scores": _permuted_columns(lab),
        "images": [[png(image) for image in batch] for batch in (images, shuffled(images))],
        "training_images": lab.pick(13_500, 45_000),
        "nets": {net: _train_both(lab, *NETS[net]) for net in NETS},
    }


def _costs() -> list[dict]:
    size = torch.Size(MAPS).numel()
    layers = {
        "convolution, six 5×5 filters": nn.Conv2d(IMAGE[0], MAPS[0], 5),
        "fully connected, 3072 → 4704": nn.Sequential(
            nn.Flatten(), nn.Linear(torch.Size(IMAGE).numel(), size)
        ),
    }
    rows = {name: layer_table(nn.Sequential(layer), IMAGE)[0] for name, layer in layers.items()}
    return [
        {"layer": name, "parameters": row.parameters, "multiply_adds": row.multiply_adds}
        for name, row in rows.items()
    ]


def _convolution_as_matrix() -> dict:
    """A convolution is a fully connected layer whose matrix is mostly zero and repeats itself."""
    side = 12  # a matrix of the lecture's size would have 14 million entries
    draw = generator(int.from_bytes(b"matrix"))
    weight = torch.randn(MAPS[0], IMAGE[0], 5, 5, generator=draw, dtype=torch.float64)
    x = torch.randn(8, IMAGE[0], side, side, generator=draw, dtype=torch.float64)
    pixels = x[0].numel()
    basis = torch.eye(pixels, dtype=torch.float64).view(pixels, *x.shape[1:])
    matrix = ops.conv2d(basis, weight).flatten(1).T  # (outputs, pixels): column i is pixel i's part
    difference = ops.linear(x.flatten(1), matrix) - ops.conv2d(x, weight).flatten(1)
    return {
        "side": side,
        "difference": difference.abs().max().item(),
        "shape": list(matrix.shape),
        "zeros": (matrix == 0).double().mean().item(),
        "distinct": len(matrix[matrix != 0].unique()),
    }


def _permuted_columns(lab: Lab) -> float:
    """How far the scores of an MLP with permuted columns, on permuted pixels, are from its own."""
    classifier, data = lab.assemble(*NETS["MLP"][0], "augment=none")
    images = data.dataset.test_inputs[:200].double() / 255
    model = classifier.model.double().eval()
    with torch.no_grad():
        expected = model(images)
        columns = model.hidden[0].weight.view(-1, images.shape[1], images[0, 0].numel())
        columns.copy_(columns[:, :, pixel_order(columns.shape[2])].clone())
        return (model(shuffled(images)) - expected).abs().max().item()


def _train_both(lab: Lab, net: list[str], rate: float) -> dict:
    rates = lab.pick([rate], [rate / 3, rate])
    return {
        "in order": _best_runs(lab, net, rates),
        "shuffled": _best_runs(lab, [*net, _shuffled_source(lab)], rates),
    }


def _shuffled_source(lab: Lab) -> str:
    return f"data.source._target_={__name__}.shuffled_{lab.data}"


def _best_runs(lab: Lab, net: list[str], rates: list[float]) -> dict:
    """For each seed the run at the rate of best validation accuracy."""
    common = ["augment=none", f"data.val_size={VAL_SIZE}", *_length(lab)]
    runs = [
        max(
            (lab.train(*net, *common, f"optim.lr={rate:.3g}", seed=seed) for rate in rates),
            key=_best_validation,
        )
        for seed in lab.seeds(lab.pick(3, 5))
    ]
    return {
        "accuracy": [run.accuracy for run in runs],
        "parameters": runs[0].parameters,
        "commands": [run.command for run in runs],
    }


def _best_validation(run: Run) -> float:
    return -1.0 if run.diverged else max(run.curve("val/accuracy"))


def _length(lab: Lab) -> list[str]:
    """As many images as the budget allows, in as many epochs as they take."""
    images, split = lab.pick(13_500, 45_000), len(lab.dataset.train_labels) - VAL_SIZE
    epochs = -(-images // split)
    share = round(images / (epochs * split), 3)
    return [f"trainer.max_epochs={epochs}", f"+trainer.limit_train_batches={share}"]


def judge(m: dict) -> list[Finding]:
    """The cost and the identities are exact; accuracies are compared seed by seed."""
    convolution, full = m["cost"]
    lost = {}
    for net, sides in m["nets"].items():
        pairs = zip(*(side["accuracy"] for side in sides.values()), strict=True)
        lost[net] = [100 * (in_order - out_of_order) for in_order, out_of_order in pairs]
    return [
        Finding(
            "parameters of a fully connected layer for 28×28×6 outputs of 32×32×3 inputs, over "
            "those of six 5×5 filters (an order of magnitude at least)",
            [full["parameters"] / convolution["parameters"]],
            at_least=10,
        ),
        Finding(
            "multiply-adds of the same two layers, fully connected over convolution (likewise)",
            [full["multiply_adds"] / convolution["multiply_adds"]],
            at_least=10,
        ),
        Finding(
            "greatest difference between a convolution and the fully connected layer whose matrix "
            "repeats its filters at each position, in float64",
            [m["same_function"]["difference"]],
            at_most=1e-12,
        ),
        Finding(
            "greatest difference of scores when pixels and the MLP's first columns are put into "
            "the same new order, in float64",
            [m["same_scores"]],
            at_most=1e-12,
        ),
        Finding(
            # Four standard errors of an accuracy of 50 % on 10,000 images.
            "the MLP does not care: its test accuracy on images in order minus that on shuffled "
            "ones (2 points are within chance for one training)",
            lost["MLP"],
            at_least=-2,
            at_most=2,
            unit="%",
        ),
        Finding(
            "the ConvNet loses: its test accuracy on images in order minus that on shuffled ones "
            "(well above the 2 points that count as no difference)",
            lost["ConvNet"],
            at_least=5,
            unit="%",
        ),
    ]


def draw(m: dict) -> list[Item]:
    """What shuffling looks like, what it costs each net, and the two layers' bill."""
    return [_pictures(m), _accuracies(m), _bill(m)]


def _pictures(m: dict) -> Gallery:
    in_order, out_of_order = m["images"]
    return Gallery(
        [(image, "in order") for image in in_order]
        + [(image, "shuffled") for image in out_of_order],
        alt="Four test images, and the same four with their pixels shuffled: coloured noise.",
        caption="One fixed permutation of the pixels, the same for every image of training and "
        "test: nothing is lost, but neighbours are neighbours no more.",
    )


def _accuracies(m: dict) -> Plot:
    nets = list(m["nets"])
    drawn = make_subplots(1, len(nets), shared_yaxes=True, subplot_titles=nets)
    drawn.update_layout(template=None, colorway=COLOURS)
    for column, sides in enumerate(m["nets"].values(), 1):
        pairs = list(zip(*(side["accuracy"] for side in sides.values()), strict=True))
        for seed, pair, colour in zip(m["seeds"], pairs, _cycle(len(pairs)), strict=True):
            drawn.add_scatter(
                x=list(sides),
                y=[round(100 * accuracy, 2) for accuracy in pair],
                mode="lines+markers",
                line={"color": colour},
                marker={"size": 9},
                name=f"seed {seed}",
                legendgroup=f"seed {seed}",
                showlegend=column == 1,
                row=1,
                col=column,
            )
    drawn.update_xaxes(range=[-0.4, 1.4])
    drawn.update_yaxes(rangemode="tozero")
    drawn.update_yaxes(title="test accuracy (%)", col=1)
    means = {
        net: [100 * sum(s["accuracy"]) / len(s["accuracy"]) for s in sides.values()]
        for net, sides in m["nets"].items()
    }
    told = "; ".join(
        f"{net} {in_order:.1f} % in order, {out_of_order:.1f} % shuffled"
        for net, (in_order, out_of_order) in means.items()
    )
    parameters = ", ".join(
        f"{net} {sides['in order']['parameters']:,}" for net, sides in m["nets"].items()
    )
    return Plot(
        drawn,
        alt=f"Test accuracy on images in order and on shuffled ones, mean of the seeds: {told}.",
        caption=f"Each line is one seed; a level line does not care. Each net was trained on "
        f"{m['training_images']:,} images, in order or shuffled, and tested on the same kind. "
        f"Parameters: {parameters}.",
    )


def _cycle(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def _bill(m: dict) -> Table:
    same = m["same_function"]
    return Table(
        ["layer from 32×32×3 to 28×28×6", "parameters", "multiply-adds for one image"],
        [
            [row["layer"], f"{row['parameters']:,}", f"{row['multiply_adds']:,}"]
            for row in m["cost"]
        ],
        caption=f"A convolution is a fully connected layer under two constraints: a weight is zero "
        f"outside of the window, and the same at every position. The matrix that does the same for "
        f"{same['side']}×{same['side']}×3 pixels, {same['shape'][0]} × {same['shape'][1]}, is "
        f"{100 * same['zeros']:.1f} % zeros and holds {same['distinct']} distinct other numbers.",
    )


CLAIM = Claim(
    name="structure",
    title="Preserve spatial structure",
    quote="Fully connected layer e.g stretch 32x32x3 image to 3072x1. … Convolution layer: "
    "preserve spatial structure.",
    text="A convolution makes as many outputs as a fully connected layer with a fraction of the "
    "weights and of the work, because it looks at neighbours only, and everywhere with the same "
    "filter. It stands on the order of the pixels: shuffle them by one fixed permutation, and a "
    "net of convolutions loses accuracy, while an MLP, which never knew which pixels are "
    "neighbours, does not care. Both are trained without flips and crops, which would mean nothing "
    "on shuffled pixels; the ConvNet's last layer sees every position, so that its loss is not the "
    "doing of an average over positions.",
    formulas=[
        r"\text{fully connected:}\quad s = W x + b, \quad W \in \mathbb{R}^{4704 \times 3072}",
        r"\text{convolution:}\quad s_{kij} = \sum_{c=1}^{3} \sum_{a=1}^{5} \sum_{e=1}^{5} "
        r"w_{kcae} \, x_{c,\,i+a-1,\,j+e-1} + b_k",
        r"(W Q^{T}) (Q x) = W x \quad \text{for every permutation } Q",
    ],
    code=[ops.conv2d, ops.linear, layer_table, MLP, ConvNet, shuffled],
    measure=measure,
    judge=judge,
    draw=draw,
)
