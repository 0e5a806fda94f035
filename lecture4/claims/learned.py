"""What was learned: templates of the classes, first filters, and the maps of one image."""

import copy
import statistics

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from lecture4.claims.models import overrides
from lecture4.classifier import Classifier
from lecture4.data.dataset import Dataset
from lecture4.data.module import DataModule
from lecture4.lab import (
    Claim,
    Finding,
    Gallery,
    Item,
    Lab,
    Plot,
    Run,
    curves,
    figure,
    png,
)
from lecture4.lab.drawing import COLOURS
from lecture4.models import ConvNet, SoftmaxClassifier
from lecture4.models.convnet import Block

STRUCTURE = 0.1  # independent weights give 0 ± 0.004, which is 1/√pairs
LOSS = 1.0  # points of accuracy; what 1,000 test images measure to about that
RISE = 10.0  # points of variance


def measure(lab: Lab) -> dict:
    """Train softmax and ConvNet as the claim ``models`` does; compare with initial weights."""
    seeds, settings = lab.seeds(), overrides(lab)
    dataset = lab.dataset
    images = lab.pick(1000, 2000)
    per_seed = []
    for seed in seeds:
        untrained, trained, runs = {}, {}, {}
        for name in ("softmax", "convnet"):
            runs[name] = lab.train(*settings[name], seed=seed)
            untrained[name], data = lab.assemble(*settings[name], seed=seed)
            untrained[name].eval()
            trained[name] = restored(lab, runs[name], settings[name])
        lab.note(f"templates, filters and maps, seed={seed}")
        row = {
            "accuracy": {name: 100 * run.accuracy for name, run in runs.items()},
            "own_template": 100 * own_template(trained["softmax"], dataset),
            "template_neighbours": neighbours(templates(trained["softmax"])),
            "template_neighbours_untrained": neighbours(templates(untrained["softmax"])),
            "filter_cosine": cosine(filters(trained["convnet"]), filters(untrained["convnet"])),
            **put_back(trained["convnet"], filters(untrained["convnet"]), data, images),
            "selectivity": selectivity(trained["convnet"], dataset, images),
            "selectivity_untrained": selectivity(untrained["convnet"], dataset, images),
        }
        if not per_seed:
            pictures = _pictures(trained, untrained, dataset)
        per_seed.append(row)
    return {
        "seeds": seeds,
        "images": min(images, len(dataset.test_labels)),
        "per_seed": per_seed,
        **pictures,
    }


def restored(lab: Lab, run: Run, settings: tuple[str, ...]) -> Classifier:
    """What a run left; of one that diverged, what it began with."""
    if run.diverged:
        return lab.assemble(*settings, seed=run.seed)[0].eval()
    return lab.restore(run, *settings)[0]


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


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """The mean cosine of the angle between a filter in a and the same in b."""
    return torch.cosine_similarity(a.flatten(1), b.flatten(1)).mean().item()


def put_back(
    classifier: Classifier, initial: torch.Tensor, data: DataModule, images: int
) -> dict[str, float]:
    """Test accuracy in %, with the first filters as trained, and put back to what they were.

    Either time batch norm measures its statistics anew, on as many training images, so that no
    later block suffers from another scale of the maps alone.
    """
    classifier = copy.deepcopy(classifier)
    seen = data.dataset.train_inputs[data.train_index[:images]]
    accuracy = {}
    for name in ("filters_trained", "filters_put_back"):
        if name == "filters_put_back":
            filters(classifier).copy_(initial)
        with torch.no_grad():
            _measure_norms(classifier.model, classifier.preprocess(seen))
            scores = classifier(data.dataset.test_inputs[:images])
        right = scores.argmax(1) == data.dataset.test_labels[:images]
        accuracy[name] = 100 * right.double().mean().item()
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

    rises = [row["selectivity"][-1] - row["selectivity"][0] for row in m["per_seed"]]
    return [
        Finding(
            "classes whose mean test image fits their own template best, of all ten: more right "
            "than wrong",
            of("own_template"),
            at_least=50,
            unit="%",
        ),
        Finding(
            "correlation of neighbouring weights in the templates, less that of the initial "
            "weights, which is chance",
            _differences(of("template_neighbours"), of("template_neighbours_untrained")),
            at_least=STRUCTURE,
        ),
        Finding(
            "test accuracy that the ConvNet loses when its first filters are put back to their "
            "initial weights",
            _differences(of("filters_trained"), of("filters_put_back")),
            at_least=LOSS,
            unit="%",
        ),
        Finding(
            "how much of the variance of a map's average the class explains, last block less first",
            rises,
            at_least=RISE,
            unit="%",
        ),
    ]


def _differences(a: list[float], b: list[float]) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


def draw(m: dict) -> list[Item]:
    """Templates, filters before and after, maps of one image, and what they know of the class."""
    mean = {
        key: statistics.fmean(row[key] for row in m["per_seed"])
        for key in m["per_seed"][0]
        if isinstance(m["per_seed"][0][key], float)
    }
    accuracy = statistics.fmean(row["accuracy"]["softmax"] for row in m["per_seed"])
    channels, *_ = m["map_shapes"][0]
    known = " (the first in the test set that it gets right)" if m["image_right"] else ""
    sizes = ", ".join(f"{c} of {h}×{w}" for c, h, w in m["map_shapes"])
    first, last = (_explained(m, "selectivity", block) for block in (0, -1))
    flat = _explained(m, "selectivity_untrained", -1)
    return [
        Gallery(
            [
                *zip(m["templates"], m["class_names"], strict=True),
                (m["template_untrained"], "untrained"),
            ],
            f"The templates of {', '.join(m['class_names'])}, whose neighbouring weights correlate "
            f"by {mean['template_neighbours']:.2f}; before training they were noise, "
            f"{mean['template_neighbours_untrained']:z.2f}.",
            f"A row of W each, seen as an image, seed {m['seeds'][0]}; grey is zero. One template "
            f"must stand for all images of a class: test accuracy {accuracy:.1f} %. Of the mean "
            f"images of the classes, {mean['own_template']:.0f} % fit their own template best.",
        ),
        Plot(
            _side_by_side(list(m["filters"].values()), list(m["filters"]), 420),
            f"{channels} first filters of the ConvNet, before and after training, at a cosine of "
            f"{mean['filter_cosine']:.2f} to each other, and their change; put back, they cost "
            f"{mean['filters_trained'] - mean['filters_put_back']:z.1f} points of accuracy.",
            f"All {channels} filters of the first block before and after training, and the change "
            f"alone; each scaled by its largest weight, grey is zero; seed {m['seeds'][0]}. The "
            f"cosine of the angle between a filter and its start is {mean['filter_cosine']:.2f} "
            f"in the mean. Test accuracy is {mean['filters_trained']:.1f} %, and "
            f"{mean['filters_put_back']:.1f} % with the filters put back and batch norm's "
            f"statistics measured anew (on {m['images']:,} test images, n = {len(m['seeds'])}).",
        ),
        Gallery(
            [(m["image"], m["image_class"])],
            f"The test image whose maps are shown below, of class {m['image_class']}.",
            f"One test image of class {m['image_class']}{known}; its maps follow.",
        ),
        Plot(
            _side_by_side(
                m["maps"],
                [f"block {i}: {h}×{w}" for i, (_, h, w) in enumerate(m["map_shapes"], 1)],
                540,
            ),
            f"What each block makes of the image: {sizes}.",
            "Every map of every block, black is zero, white the map's own largest activation. "
            f"From block to block: {sizes}.",
        ),
        Plot(
            _selectivity(m),
            f"The class explains {first:.1f} % of the variance of the first block's maps and "
            f"{last:.1f} % of the last's; in the untrained net {flat:.1f} % of the last's.",
            "Each map is averaged to one number for each of "
            f"{m['images']:,} test images; how much of that number's variance lies between the "
            "classes, mean over the maps. Bands: lowest to highest of "
            f"n = {len(m['seeds'])} seeds. Dashed: {RISE:.0f} points above the first block, which "
            "the last must reach.",
        ),
    ]


def _explained(m: dict, key: str, block: int) -> float:
    return statistics.fmean(row[key][block] for row in m["per_seed"])


def _selectivity(m: dict) -> go.Figure:
    blocks = list(range(1, len(m["map_shapes"]) + 1))
    made = figure("block", "explained by the class, %", height=340)
    made.update_xaxes(dtick=1)
    made.update_yaxes(rangemode="tozero")
    for i, (key, name) in enumerate(
        [("selectivity", "trained"), ("selectivity_untrained", "untrained")]
    ):
        runs = [row[key] for row in m["per_seed"]]
        curves(made, blocks, runs, name, colour=(0, 7)[i], mode="lines+markers")
    made.add_hline(
        _explained(m, "selectivity", 0) + RISE, line={"dash": "dash", "color": COLOURS[6]}
    )
    return made


def _side_by_side(pictures: list[str], titles: list[str], height: int) -> go.Figure:
    made = make_subplots(
        -(-len(pictures) // 2),
        2,
        subplot_titles=titles,
        horizontal_spacing=0.04,
        vertical_spacing=0.08,
    )
    made.update_layout(template=None, height=height, margin={"l": 4, "r": 4, "t": 30, "b": 4})
    made.update_annotations(font_size=13)
    for i, picture in enumerate(pictures):
        place = {"row": i // 2 + 1, "col": i % 2 + 1}
        made.add_trace(go.Image(source=picture, hoverinfo="skip"), **place)
    made.update_xaxes(visible=False)
    made.update_yaxes(visible=False)
    return made


CLAIM = Claim(
    name="learned",
    title="What was learned",
    quote="Convolve the filter with image e.g slide over image spatially, computing dot products.",
    text="The weights of two trained models, seen as pictures. A softmax classifier has one "
    "template for each class; a ConvNet has small filters, and maps of where they answer. Look "
    "at what was noise before training and what is left of it, and at how the maps shrink and "
    "turn from the image to its class.",
    formulas=[r"s_k = w_k^T x + b_k", r"w^T x + b"],
    code=[SoftmaxClassifier, ConvNet, Block],
    measure=measure,
    judge=judge,
    draw=draw,
)
