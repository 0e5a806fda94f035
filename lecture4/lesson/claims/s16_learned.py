"""What was learned: templates of the classes, first filters, and the maps of one image."""

import copy
import statistics

import plotly.graph_objects as go
import torch

from lecture4.data.dataset import Dataset
from lecture4.lesson.claims.s17_models import overrides
from lecture4.lesson.lab.drawing import (
    COLOURS,
    Gallery,
    Item,
    Plot,
    add_curves,
    figure,
    panels,
    png,
)
from lecture4.lesson.lab.finding import Claim, Finding, paired, resolution
from lecture4.lesson.lab.trainings import Lab, scores_of
from lecture4.models import ConvNet, SoftmaxClassifier
from lecture4.models.convnet import Block
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule

# Of independent weights the correlation is 0 ± 0.004, which is 1/√pairs; of 0.1, each weight tells
# a hundredth of the variance of the next, and less would be no picture.
STRUCTURE = 0.1
LOSS = 1.0  # points of accuracy; less would not matter
# Points of variance. By chance K classes explain (K − 1)/(n − 1) of n images, about 1 %; ten times
# as much is no chance, and a tenth of what there is to explain.
RISE = 10.0
MEASURED = 500  # training images from which batch norm's statistics are measured anew


def measure(lab: Lab) -> dict:
    """Train softmax and ConvNet as the claim ``models`` does; compare with initial weights."""
    seeds, settings = lab.seeds(), overrides(lab)
    dataset = lab.dataset
    tested, explained = (
        min(n, len(dataset.test_labels)) for n in (lab.pick(2000, 10_000), lab.pick(1000, 2000))
    )
    m = {
        "seeds": seeds,
        "test_images": len(dataset.test_labels),
        "tested": tested,
        "explained": explained,
        "per_seed": [],
    }
    for seed in seeds:
        untrained, trained, accuracy = {}, {}, {}
        for name in ("softmax", "convnet"):
            run = lab.train(*settings[name], seed=seed)
            accuracy[name] = run.accuracy
            untrained[name] = lab.assemble(*settings[name], seed=seed)[0].eval()
            trained[name], data = lab.restore(run, *settings[name])
        lab.note(f"templates, filters and maps, seed={seed}")
        m["per_seed"].append(
            {
                "accuracy": accuracy,
                **_weights(trained, untrained, dataset),
                **put_back(trained["convnet"], filters(untrained["convnet"]), data, tested),
                "selectivity": selectivity(trained["convnet"], dataset, explained),
                "selectivity_untrained": selectivity(untrained["convnet"], dataset, explained),
            }
        )
        if seed == seeds[0]:
            m |= _pictures(trained, untrained, dataset)
    return m


def _weights(
    trained: dict[str, Classifier], untrained: dict[str, Classifier], dataset: Dataset
) -> dict[str, float]:
    """What became of templates and first filters."""
    cosines = cosine(filters(trained["convnet"]), filters(untrained["convnet"]))
    return {
        "own_template": 100 * own_template(trained["softmax"], dataset),
        "template_neighbours": neighbours(templates(trained["softmax"])),
        "template_neighbours_untrained": neighbours(templates(untrained["softmax"])),
        "filter_cosine": cosines.mean().item(),
        "filter_along_start": 100 * cosines.square().mean().item(),
    }


def templates(classifier: Classifier) -> torch.Tensor:
    """The rows of W as images: (K, C, H, W)."""
    shape = classifier.model.settings["input_shape"]
    return classifier.model.scores.weight.detach().view(-1, *shape)


def filters(classifier: Classifier) -> torch.Tensor:
    """Those of the first block: (channels, C, F, F)."""
    return classifier.model.blocks[0].conv.weight.detach()


def neighbours(weights: torch.Tensor) -> float:
    """The correlation of weights that lie beside or below each other, of (N, C, H, W)."""
    w = weights.double()
    pairs = [(w[..., 1:], w[..., :-1]), (w[..., 1:, :], w[..., :-1, :])]
    both = torch.stack([torch.cat([p[side].flatten() for p in pairs]) for side in (0, 1)])
    return both.corrcoef()[0, 1].nan_to_num().item()


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The cosine of the angle between each filter in a and the same in b, (channels,)."""
    return torch.cosine_similarity(a.flatten(1), b.flatten(1))


def put_back(
    classifier: Classifier, initial: torch.Tensor, data: DataModule, images: int
) -> dict[str, float]:
    """Test accuracy, with the first filters as trained, and put back to what they were.

    Either time batch norm measures its statistics anew, on training images, so that no later block
    suffers from another scale of the maps alone.
    """
    classifier = copy.deepcopy(classifier)
    seen = data.dataset.train_inputs[data.train_index[:MEASURED]]
    accuracy = {}
    for name in ("filters_trained", "filters_put_back"):
        if name == "filters_put_back":
            filters(classifier).copy_(initial)
        with torch.no_grad():
            _measure_norms(classifier.model, classifier.preprocess(seen))
        scores = scores_of(classifier, data.dataset.test_inputs[:images])
        right = scores.argmax(1) == data.dataset.test_labels[:images]
        accuracy[name] = right.double().mean().item()
    return accuracy


def _measure_norms(model: torch.nn.Module, x: torch.Tensor) -> None:
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over the batches
    model.train()
    for part in x.split(250):
        model(part)
    model.eval()


def own_template(classifier: Classifier, dataset: Dataset) -> float:
    """The share of classes whose mean image gives the largest w·x with their own template."""
    labels = dataset.test_labels
    classes = range(len(dataset.class_names))
    with torch.no_grad():
        x = classifier.preprocess(dataset.test_inputs)
        means = torch.stack([x[labels == k].mean(0) for k in classes])  # (K, C, H, W)
        answers = means.flatten(1) @ templates(classifier).flatten(1).T
    return (answers.argmax(1) == torch.tensor(classes)).double().mean().item()


def maps(classifier: Classifier, inputs: torch.Tensor) -> list[torch.Tensor]:
    """The activation maps that each block makes of images: (N, channels, H, W) each."""
    made = []
    with torch.no_grad():
        x = classifier.preprocess(inputs)
        for block in classifier.model.blocks:
            x = block(x)
            made.append(x)
    return made


def selectivity(classifier: Classifier, dataset: Dataset, images: int) -> list[float]:
    """For each block, how much of the variance of a map's average over images its class explains.

    In %, the mean over the maps: variance between the means of the classes, over the total.
    """
    labels = dataset.test_labels[:images]
    chunks = [maps(classifier, part) for part in dataset.test_inputs[:images].split(500)]
    shares = []
    for parts in zip(*chunks, strict=True):
        mean = torch.cat([part.double().mean((2, 3)) for part in parts])  # (N, channels)
        of_class = torch.zeros_like(mean)
        for k in labels.unique():
            of_class[labels == k] = mean[labels == k].mean(0)
        total = mean.var(0, correction=0)
        share = of_class.var(0, correction=0) / total
        shares.append(100 * torch.where(total > 1e-12, share, 0).mean().item())
    return shares


def _pictures(
    trained: dict[str, Classifier], untrained: dict[str, Classifier], dataset: Dataset
) -> dict:
    net = trained["convnet"]
    some = dataset.test_inputs[:100]
    with torch.no_grad():
        right = (net(some).argmax(1) == dataset.test_labels[:100]).nonzero().flatten()
    i = int(right[0]) if len(right) else 0
    of_image = [block[0] for block in maps(net, some[i : i + 1])]
    before, after = filters(untrained["convnet"]), filters(net)
    return {
        "class_names": dataset.class_names,
        "templates": [png(grey(t)) for t in templates(trained["softmax"])],
        "template_untrained": png(grey(templates(untrained["softmax"])[0])),
        "filters": {
            name: mosaic(torch.stack([enlarged(grey(f)) for f in shown]))
            for name, shown in (("before", before), ("after", after), ("change", after - before))
        },
        "image": png(some[i]),
        "image_class": dataset.class_names[dataset.test_labels[i]],
        "image_right": bool(len(right)),
        "maps": [mosaic(torch.stack([bright(m) for m in block])) for block in of_image],
        "map_shapes": [list(block.shape) for block in of_image],
    }


def grey(weights: torch.Tensor) -> torch.Tensor:
    """Weights (C, H, W) as a picture: grey is zero, the largest of them white or black."""
    scaled = weights / weights.abs().max().clamp(min=1e-12)
    return ((scaled + 1) * 127.5).round().to(torch.uint8)


def enlarged(picture: torch.Tensor, times: int = 4) -> torch.Tensor:
    """Each pixel of (C, H, W) as a square of pixels."""
    return picture.repeat_interleave(times, 1).repeat_interleave(times, 2)


def bright(activations: torch.Tensor) -> torch.Tensor:
    """One map (H, W) as a picture: black is zero, its own largest activation white."""
    scaled = activations.clamp(min=0) / activations.max().clamp(min=1e-12)
    return (scaled * 255).round().to(torch.uint8).expand(3, -1, -1)


def mosaic(pictures: torch.Tensor) -> str:
    """Pictures (N, 3, H, W) side by side in one, a clear pixel between them, as ``png``."""
    n, _, height, width = pictures.shape
    columns = max(c for c in range(1, n + 1) if n % c == 0 and c * c <= 2 * n)
    made = torch.zeros(4, (n // columns) * (height + 1) - 1, columns * (width + 1) - 1)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        made[:3, top : top + height, left : left + width] = picture
        made[3, top : top + height, left : left + width] = 255
    return png(made.to(torch.uint8))


def judge(m: dict) -> list[Finding]:
    """Structure that initial weights have not, and maps that tell the classes apart."""

    def of(key: str) -> list[float]:
        return [row[key] for row in m["per_seed"]]

    accuracy = [row["convnet"] for row in of("accuracy")]
    return [
        Finding(
            f"of the {len(m['class_names'])} classes, those whose mean test image fits their own "
            "template best: at least half",
            of("own_template"),
            at_least=50,
            unit="%",
        ),
        Finding(
            "correlation of neighbouring weights in the templates, less that of the initial "
            "weights, which is chance: enough for one weight to tell a hundredth of the variance "
            "of the next",
            _differences(of("template_neighbours"), of("template_neighbours_untrained")),
            at_least=STRUCTURE,
        ),
        Finding(  # without it, the two below tell nothing
            "test accuracy of the ConvNet minus chance, against what the draw of "
            f"{m['test_images']:,} test images alone could make",
            paired(accuracy, [1 / len(m["class_names"])] * len(accuracy)),
            at_least=resolution(m["test_images"]),
            unit="points",
        ),
        Finding(
            "test accuracy that the ConvNet loses when its first filters are put back to their "
            f"initial weights, against what the draw of {m['tested']:,} test images alone could "
            "make of equal nets",
            paired(of("filters_trained"), of("filters_put_back")),
            at_least=max(LOSS, resolution(m["tested"])),
            unit="points",
        ),
        Finding(
            "how much of the variance of a map's average the class explains, last block less "
            "first, and less the same of the untrained net: a tenth of the variance",
            _differences(_rises(of("selectivity")), _rises(of("selectivity_untrained"))),
            at_least=RISE,
            unit="points",
        ),
    ]


def _differences(a: list[float], b: list[float]) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


def _rises(shares: list[list[float]]) -> list[float]:
    """From the first block to the last, for each seed."""
    return [blocks[-1] - blocks[0] for blocks in shares]


def draw(m: dict) -> list[Item]:
    """Templates, filters before and after, maps of one image, and what they know of the class."""
    known = " (the first in the test set that it gets right)" if m["image_right"] else ""
    image = Gallery(
        [(m["image"], m["image_class"])],
        f"The test image whose maps are shown below, of class {m['image_class']}.",
        f"One test image of class {m['image_class']}{known}; its maps follow.",
    )
    return [_templates(m), _filters(m), image, _maps(m), _selectivity(m)]


def _mean(m: dict, key: str) -> float:
    return statistics.fmean(row[key] for row in m["per_seed"])


def _templates(m: dict) -> Gallery:
    accuracy = 100 * statistics.fmean(row["accuracy"]["softmax"] for row in m["per_seed"])
    shown = [*zip(m["templates"], m["class_names"], strict=True)]
    return Gallery(
        [*shown, (m["template_untrained"], "untrained")],
        f"The templates of {', '.join(m['class_names'])}; their neighbouring weights correlate by "
        f"{_mean(m, 'template_neighbours'):z.2f}, and by "
        f"{_mean(m, 'template_neighbours_untrained'):z.2f} before training.",
        f"A row of W each, seen as an image, seed {m['seeds'][0]}; grey is zero. One template must "
        f"stand for all images of a class: test accuracy {accuracy:.1f} %. Of the mean images of "
        f"the classes, {_mean(m, 'own_template'):.0f} % fit their own template best (means of n = "
        f"{len(m['seeds'])} seeds).",
    )


def _filters(m: dict) -> Plot:
    channels, *_ = m["map_shapes"][0]
    turned, along = _mean(m, "filter_cosine"), _mean(m, "filter_along_start")
    trained, back = (100 * _mean(m, f"filters_{name}") for name in ("trained", "put_back"))
    most = (
        "so most of what is seen after training is still the draw that they began with"
        if along > 50
        else "so most of what is seen after training was learned"
    )
    return Plot(
        _side_by_side(list(m["filters"].values()), list(m["filters"]), 420),
        f"{channels} first filters of the ConvNet, before and after training, at a cosine of "
        f"{turned:z.2f} to each other, and their change; with them put back, test accuracy goes "
        f"from {trained:.1f} % to {back:.1f} %.",
        f"All {channels} filters of the first block before and after training, and the change "
        f"alone; each scaled by its largest weight, grey is zero; seed {m['seeds'][0]}. The cosine "
        f"of the angle between a filter and its start is {turned:z.2f} in the mean (1: not turned, "
        f"0: nothing left of it); {along:.0f} % of a filter's squared length lies along its start, "
        f"{most}. Test accuracy is {trained:.1f} %, and {back:.1f} % with the filters put back and "
        f"batch norm's statistics measured anew (on {m['tested']:,} test images, n = "
        f"{len(m['seeds'])}).",
    )


def _maps(m: dict) -> Plot:
    sizes = ", ".join(f"{c} of {h}×{w}" for c, h, w in m["map_shapes"])
    titles = [f"block {i}: {h}×{w}" for i, (_, h, w) in enumerate(m["map_shapes"], 1)]
    return Plot(
        _side_by_side(m["maps"], titles, 540),
        f"What each block makes of the image: {sizes}.",
        "Every map of every block, black is zero, white the map's own largest activation. From "
        f"block to block: {sizes}.",
    )


def _selectivity(m: dict) -> Plot:
    first, last = (_explained(m, "selectivity", block) for block in (0, -1))
    flat = [_explained(m, "selectivity_untrained", block) for block in (0, -1)]
    return Plot(
        _shares(m),
        f"The class explains {first:.1f} % of the variance of the first block's maps and "
        f"{last:.1f} % of the last's; in the untrained net {flat[0]:.1f} % and {flat[1]:.1f} %.",
        f"Each map is averaged to one number for each of {m['explained']:,} test images; how much "
        "of that number's variance lies between the classes, mean over the maps. Bands: lowest to "
        f"highest of n = {len(m['seeds'])} seeds. Dashed: what the last trained block must reach, "
        f"the first, plus the rise (or fall) of the untrained net, plus {RISE:.0f} points.",
    )


def _explained(m: dict, key: str, block: int) -> float:
    return statistics.fmean(row[key][block] for row in m["per_seed"])


def _shares(m: dict) -> go.Figure:
    blocks = list(range(1, len(m["map_shapes"]) + 1))
    made = figure("block", "explained by the class, %", height=340)
    made.update_xaxes(dtick=1)
    made.update_yaxes(rangemode="tozero")
    for i, (key, name) in enumerate(
        [("selectivity", "trained"), ("selectivity_untrained", "untrained")]
    ):
        runs = [row[key] for row in m["per_seed"]]
        add_curves(made, blocks, runs, name, colour=(0, 7)[i], mode="lines+markers")
    untrained = statistics.fmean(_rises([row["selectivity_untrained"] for row in m["per_seed"]]))
    must = _explained(m, "selectivity", 0) + untrained + RISE
    made.add_hline(must, line={"dash": "dash", "color": COLOURS[6]})
    return made


def _side_by_side(pictures: list[str], titles: list[str], height: int) -> go.Figure:
    spacing = {"horizontal_spacing": 0.04, "vertical_spacing": 0.08}
    margin = {"l": 4, "r": 4, "t": 30, "b": 4}
    made = panels(-(-len(pictures) // 2), 2, titles, height=height, margin=margin, **spacing)
    for i, picture in enumerate(pictures):
        place = {"row": i // 2 + 1, "col": i % 2 + 1}
        made.add_trace(go.Image(source=picture, hoverinfo="skip"), **place)
    made.update_xaxes(visible=False)
    made.update_yaxes(visible=False)
    return made


CLAIM = Claim(
    name="learned",
    title="What was learned",
    quote=[
        "Convolve the filter with image e.g slide over image spatially, computing dot products. "
        "Filter always extend to full depth of the input.",
    ],
    text="The weights of two trained models, seen as pictures. A softmax classifier has one "
    "template for each class; a ConvNet has small filters, and maps of where they answer. Look at "
    "what was noise before training and how much of it is left, and whether the maps, from block "
    "to block, know more of the class than those of an untrained net.",
    formulas=[r"s_k = w_k^T x + b_k", r"w^T x + b"],
    code=[SoftmaxClassifier, ConvNet, Block],
    measure=measure,
    judge=judge,
    draw=draw,
)
