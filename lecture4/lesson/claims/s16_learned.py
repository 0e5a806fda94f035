"""What was learned: class templates, first filters, and the activation maps of one image."""

import copy
import statistics

import plotly.graph_objects as go
import torch

from lecture4.data.dataset import Dataset
from lecture4.lesson.claims.s17_models import overrides
from lecture4.lesson.lab.finding import Claim, Finding, above_chance, paired, resolution
from lecture4.lesson.lab.items import Gallery, Item, Plot, png
from lecture4.lesson.lab.plots import COLOURS, add_curves, figure, panels
from lecture4.lesson.lab.trainings import Lab, accuracy
from lecture4.models import ConvNet, SoftmaxClassifier
from lecture4.models.convnet import Block
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule

# Independent weights have a correlation of 0 ± 0.004 (1/√pairs). At 0.1 a weight explains a
# hundredth of its neighbour's variance; with less there would be no visible structure.
STRUCTURE = 0.1
LOSS = 1.0  # points of accuracy; less does not matter
# Percentage points of variance. By chance K classes explain (K − 1)/(n − 1) of n images' variance,
# about 1 %; ten times as much is not chance, and is a tenth of all variance.
RISE = 10.0
MEASURED = 500  # training images for re-estimating batch norm's statistics


def measure(lab: Lab) -> dict:
    """Train softmax and ConvNet as the claim ``models`` does; compare with the initial weights."""
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
    """Structure of the templates, and change of the first filters."""
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
    """The filters of the first block: (channels, C, F, F)."""
    return classifier.model.blocks[0].conv.weight.detach()


def neighbours(weights: torch.Tensor) -> float:
    """Correlation of horizontally or vertically adjacent weights (N, C, H, W)."""
    w = weights.double()
    pairs = [(w[..., 1:], w[..., :-1]), (w[..., 1:, :], w[..., :-1, :])]
    both = torch.stack([torch.cat([p[side].flatten() for p in pairs]) for side in (0, 1)])
    return both.corrcoef()[0, 1].nan_to_num().item()


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Cosine of the angle between corresponding filters of a and b: (channels,)."""
    return torch.cosine_similarity(a.flatten(1), b.flatten(1))


def put_back(
    classifier: Classifier, initial: torch.Tensor, data: DataModule, images: int
) -> dict[str, float]:
    """Test accuracy with the first filters as trained, and reset to their initial weights.

    In both cases batch norm's statistics are re-estimated on training images, so that later blocks
    do not suffer merely from another scale of the maps.
    """
    classifier = copy.deepcopy(classifier)
    seen = data.dataset.train_inputs[data.train_index[:MEASURED]]
    found = {}
    for name in ("filters_trained", "filters_put_back"):
        if name == "filters_put_back":
            filters(classifier).copy_(initial)
        with torch.no_grad():
            _measure_norms(classifier.model, classifier.preprocess(seen))
        tests = data.dataset.test_inputs[:images], data.dataset.test_labels[:images]
        found[name] = accuracy(classifier, *tests)
    return found


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
    """Share of classes whose mean image has the largest w·x with their own template."""
    labels = dataset.test_labels
    classes = range(len(dataset.class_names))
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
            x = block(x)
            made.append(x)
    return made


def selectivity(classifier: Classifier, dataset: Dataset, images: int) -> list[float]:
    """Share of the variance of a map's average that the image's class explains, for each block.

    In %, mean over the maps: variance of the class means over the total variance.
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
    """Weights (C, H, W) as a picture: zero is grey, the largest weight white or black."""
    scaled = weights / weights.abs().max().clamp(min=1e-12)
    return ((scaled + 1) * 127.5).round().to(torch.uint8)


def enlarged(picture: torch.Tensor, times: int = 4) -> torch.Tensor:
    """Enlarge each pixel of (C, H, W) to a square."""
    return picture.repeat_interleave(times, 1).repeat_interleave(times, 2)


def bright(activations: torch.Tensor) -> torch.Tensor:
    """A map (H, W) as a picture: zero is black, its largest activation white."""
    scaled = activations.clamp(min=0) / activations.max().clamp(min=1e-12)
    return (scaled * 255).round().to(torch.uint8).expand(3, -1, -1)


def mosaic(pictures: torch.Tensor) -> str:
    """Pictures (N, 3, H, W) side by side in one ``png``, separated by a transparent pixel."""
    n, _, height, width = pictures.shape
    columns = max(c for c in range(1, n + 1) if n % c == 0 and c * c <= 2 * n)
    made = torch.zeros(4, (n // columns) * (height + 1) - 1, columns * (width + 1) - 1)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        made[:3, top : top + height, left : left + width] = picture
        made[3, top : top + height, left : left + width] = 255
    return png(made.to(torch.uint8))


def judge(m: dict) -> list[Finding]:
    """Trained weights must have structure that initial ones lack; maps must separate classes."""

    def of(key: str) -> list[float]:
        return [row[key] for row in m["per_seed"]]

    reached = [row["convnet"] for row in of("accuracy")]
    return [
        Finding(
            f"share of the {len(m['class_names'])} classes whose mean test image fits their own "
            "template best (at least half)",
            of("own_template"),
            at_least=50,
            unit="%",
        ),
        Finding(
            "correlation of neighbouring weights in the templates, minus that of the initial "
            "weights (0.1: a weight explains a hundredth of its neighbour's variance)",
            _differences(of("template_neighbours"), of("template_neighbours_untrained")),
            at_least=STRUCTURE,
        ),
        above_chance("of the ConvNet", reached, 1 / len(m["class_names"]), m["test_images"]),
        Finding(
            "test accuracy that the ConvNet loses when its first filters are reset to their "
            f"initial weights (more than equal nets differ by luck on {m['tested']:,} test images)",
            paired(of("filters_trained"), of("filters_put_back")),
            at_least=max(LOSS, resolution(m["tested"])),
            unit="points",
        ),
        Finding(
            "share of the variance of a map's average that the class explains: last block minus "
            "first block, minus the same for the untrained net (10: a tenth of the variance)",
            _differences(_rises(of("selectivity")), _rises(of("selectivity_untrained"))),
            at_least=RISE,
            unit="points",
        ),
    ]


def _differences(a: list[float], b: list[float]) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


def _rises(shares: list[list[float]]) -> list[float]:
    """Increase from the first block to the last, for each seed."""
    return [blocks[-1] - blocks[0] for blocks in shares]


def draw(m: dict) -> list[Item]:
    """Templates, filters before and after, maps of one image, and variance explained by class."""
    known = " (the first in the test set that is classified correctly)" if m["image_right"] else ""
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
        f"Each is a row of W as an image, seed {m['seeds'][0]}; grey is zero. One template has to "
        f"represent all images of a class: test accuracy {accuracy:.1f} %. "
        f"{_mean(m, 'own_template'):.0f} % of the classes' mean images fit their own template best "
        f"(means of n = {len(m['seeds'])} seeds).",
    )


def _filters(m: dict) -> Plot:
    channels, *_ = m["map_shapes"][0]
    turned, along = _mean(m, "filter_cosine"), _mean(m, "filter_along_start")
    trained, back = (100 * _mean(m, f"filters_{name}") for name in ("trained", "put_back"))
    most = (
        "so most of what is visible after training is the initial draw"
        if along > 50
        else "so most of what is visible after training was learned"
    )
    return Plot(
        _side_by_side(list(m["filters"].values()), list(m["filters"]), 420),
        f"{channels} first filters of the ConvNet, before and after training, at a cosine of "
        f"{turned:z.2f} to each other, and their change; resetting them changes test accuracy from "
        f"{trained:.1f} % to {back:.1f} %.",
        f"All {channels} filters of the first block before and after training, and their change; "
        f"each scaled by its largest weight, grey is zero; seed {m['seeds'][0]}. The mean cosine "
        f"of the angle between a filter and its initial weights is {turned:z.2f} (1: same "
        f"direction, 0: orthogonal); {along:.0f} % of a filter's squared length lies along its "
        f"initial direction, {most}. Test accuracy is {trained:.1f} %, and {back:.1f} % with the "
        f"filters reset and batch norm's statistics re-estimated (on {m['tested']:,} test images, "
        f"n = {len(m['seeds'])}).",
    )


def _maps(m: dict) -> Plot:
    sizes = ", ".join(f"{c} of {h}×{w}" for c, h, w in m["map_shapes"])
    titles = [f"block {i}: {h}×{w}" for i, (_, h, w) in enumerate(m["map_shapes"], 1)]
    return Plot(
        _side_by_side(m["maps"], titles, 540),
        f"The maps of the image in each block: {sizes}.",
        "All maps of each block; black is zero, white the map's largest activation. By block: "
        f"{sizes}.",
    )


def _selectivity(m: dict) -> Plot:
    first, last = (_explained(m, "selectivity", block) for block in (0, -1))
    flat = [_explained(m, "selectivity_untrained", block) for block in (0, -1)]
    return Plot(
        _shares(m),
        f"The class explains {first:.1f} % of the variance of the first block's maps and "
        f"{last:.1f} % of the last's; in the untrained net {flat[0]:.1f} % and {flat[1]:.1f} %.",
        f"Each map is averaged to one number for each of {m['explained']:,} test images; the share "
        "of its variance that lies between the classes, mean over the maps. Bands: lowest to "
        f"highest of n = {len(m['seeds'])} seeds. Dashed: threshold for the last trained block, "
        f"which is the first block plus the untrained net's change plus {RISE:.0f} points.",
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
        "Filter always extend to full depth of the input."
    ],
    text="The weights of two trained models as pictures. A softmax classifier has one template for "
    "each class; a ConvNet has small filters, and maps that show where they respond. See how much "
    "of the initial noise is left after training, and whether the maps, from block to block, carry "
    "more information about the class than the features of an untrained net.",
    formulas=[r"s_k = w_k^T x + b_k", r"w^T x + b"],
    code=[SoftmaxClassifier, ConvNet, Block],
    measure=measure,
    judge=judge,
    draw=draw,
)
