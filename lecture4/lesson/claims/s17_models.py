"""Softmax classifier, MLP, ConvNet: accuracies, and the images each classifies correctly."""

import statistics

import torch

from lecture4 import models
from lecture4.lesson.lab.finding import Claim, Finding, paired, resolution
from lecture4.lesson.lab.items import Gallery, Item, Plot, Table, png
from lecture4.lesson.lab.plots import COLOURS, add_chance, add_points, figure, panels, spread
from lecture4.lesson.lab.trainings import Lab, Run, scores_of

TITLES = {"softmax": "softmax classifier", "mlp": "MLP", "convnet": "ConvNet"}
PAIRS = (("mlp", "softmax"), ("convnet", "mlp"))
WORST, PICTURES = 5, 15


def overrides(lab: Lab) -> dict[str, tuple[str, ...]]:
    """The overrides of each model's training: its own recipe, shortened to the budget."""
    if lab.budget == "full":
        epochs = {"softmax": 12, "mlp": 10, "convnet": 4}
        return {name: (f"model={name}", f"trainer.max_epochs={n}") for name, n in epochs.items()}
    images = {"softmax": 45_000, "mlp": 18_000, "convnet": 9_000}
    return {name: (f"model={name}", *lab.length(n, f"model={name}")) for name, n in images.items()}


def measure(lab: Lab) -> dict:
    """Train the three on each seed's split; the first seed's classify the test set."""
    seeds, labels = lab.seeds(3), lab.dataset.test_labels
    m = {
        "seeds": seeds,
        "test_images": len(labels),
        "class_names": lab.dataset.class_names,
        "models": {},
    }
    right, said = {}, {}
    for name, words in overrides(lab).items():
        runs = [lab.train(*words, seed=seed) for seed in seeds]
        images = lab.images_an_epoch(*words)
        predicted = classify(lab, runs[0], words)
        right[name], said[name] = predicted == labels, predicted
        m["models"][name] = {
            "accuracy": [run.accuracy for run in runs],
            "diverged": [run.diverged for run in runs],
            "seconds": [run.seconds for run in runs],
            "images_seen": [images * len(run.history) for run in runs],
            "parameters": runs[0].parameters,
            "confusion": confusion(predicted, labels, len(m["class_names"])),
        }
    m["right"] = _together(right)
    only = right["convnet"] & ~right["mlp"] & ~right["softmax"]
    m["pictures"] = [_picture(lab, i, said) for i in only.nonzero().flatten()[:PICTURES].tolist()]
    return m


def classify(lab: Lab, run: Run, words: tuple[str, ...]) -> torch.Tensor:
    """Predicted classes (N,) of the test set; always the first class if the run diverged."""
    if run.diverged:
        return torch.zeros_like(lab.dataset.test_labels)
    classifier, data = lab.restore(run, *words)
    return scores_of(classifier, data.dataset.test_inputs).argmax(1)


def confusion(predicted: torch.Tensor, labels: torch.Tensor, k: int) -> list[list[int]]:
    """Number of images of each class (row) that were classified as each class (column)."""
    return torch.bincount(labels * k + predicted, minlength=k * k).view(k, k).tolist()


def _together(right: dict[str, torch.Tensor]) -> list[dict]:
    """Number of images that exactly each subset of the models classifies correctly."""
    code = sum(r.long() << i for i, r in enumerate(right.values()))
    counts = torch.bincount(code, minlength=2 ** len(right)).tolist()
    return [
        {"models": [name for i, name in enumerate(right) if bits >> i & 1], "images": n}
        for bits, n in enumerate(counts)
    ]


def _picture(lab: Lab, i: int, said: dict[str, torch.Tensor]) -> dict:
    return {
        "index": i,
        "label": lab.dataset.test_labels[i].item(),
        "said": {name: predicted[i].item() for name, predicted in said.items()},
        "png": png(lab.dataset.test_inputs[i]),
    }


def judge(m: dict) -> list[Finding]:
    """Compare each model with the one before, seed by seed."""
    n = m["test_images"]
    return [
        Finding(
            f"test accuracy of the {TITLES[a]} minus the {TITLES[b]} on the same split (more than "
            f"equal models differ by luck on {n:,} test images)",
            paired(m["models"][a]["accuracy"], m["models"][b]["accuracy"]),
            at_least=max(1, resolution(n)),
            unit="points",
        )
        for a, b in PAIRS
    ]


def draw(m: dict) -> list[Item]:
    """Accuracies, costs, confusions, and the images that only the ConvNet classifies correctly."""
    items = [_accuracies(m), _costs(m), _confusions(m), _pairs(m), _agreement(m)]
    return [*items, _gallery(m)] if m["pictures"] else items


def _mean(m: dict, name: str) -> float:
    return 100 * statistics.fmean(m["models"][name]["accuracy"])


def _accuracies(m: dict) -> Plot:
    made = figure("", "test accuracy (%)", showlegend=False)
    for i, (name, title) in enumerate(TITLES.items()):
        values = [100 * a for a in m["models"][name]["accuracy"]]
        made.add_bar(x=[title], y=[_mean(m, name)], marker_color=COLOURS[i], opacity=0.45)
        seeds = [f"seed {seed}" for seed in m["seeds"]]
        add_points(made, [title] * len(values), values, title, i, 9, text=seeds)
    chance = 100 / len(m["class_names"])
    add_chance(made, chance)
    means = ", ".join(f"{title} {_mean(m, name):.1f} %" for name, title in TITLES.items())
    return Plot(
        made,
        f"Mean test accuracy: {means}; chance would be {chance:.0f} %.",
        f"Bars: mean of {len(m['seeds'])} seeds; points: each seed, with its own split.",
    )


def _costs(m: dict) -> Table:
    rows = []
    for name, title in TITLES.items():
        row = m["models"][name]
        values = [100 * a for a in row["accuracy"]]
        rows.append(
            [
                title,
                spread(values),
                f"{row['parameters']:,}",
                f"{round(statistics.fmean(row['images_seen'])):,}",
                f"{statistics.fmean(row['seconds']):.1f}",
                sum(row["diverged"]),
            ]
        )
    return Table(
        ["model", "test accuracy, %", "parameters", "images seen", "time, s", "diverged"],
        rows,
        f"Accuracy on {m['test_images']:,} test images at the epoch of best validation accuracy, "
        f"mean (lowest–highest) of n = {len(m['seeds'])} seeds, {m['seeds'][0]} to "
        f"{m['seeds'][-1]}. Images seen: in training, repeated ones counted each time; it may "
        "differ between models. Time: training, validation and test.",
    )


def _confusions(m: dict) -> Plot:
    names = m["class_names"]
    made = panels(3, 1, list(TITLES.values()), vertical_spacing=0.1, height=1300)
    for i, name in enumerate(TITLES, 1):
        counts = m["models"][name]["confusion"]
        shares = [[100 * n / max(sum(row), 1) for n in row] for row in counts]
        made.add_heatmap(
            z=shares,
            x=names,
            y=names,
            text=counts,
            texttemplate="%{text}",
            textfont={"size": 9},
            hovertemplate="%{y} classified as %{x}: %{text} (%{z:.1f} %)<extra></extra>",
            zmin=0,
            zmax=100,
            colorscale=[[0, "rgba(47,127,193,0)"], [1, COLOURS[0]]],  # light or dark below
            showscale=False,
            row=i,
            col=1,
        )
    made.update_yaxes(autorange="reversed")
    made.update_xaxes(tickangle=-45)
    made.update_xaxes(title="predicted", row=3)
    known = {
        name: sum(m["models"][name]["confusion"][k][k] for k in range(len(names)))
        for name in TITLES
    }
    means = ", ".join(f"{title} {known[name]:,}" for name, title in TITLES.items())
    return Plot(
        made,
        f"Confusion matrices; on the diagonal, of {m['test_images']:,} images: {means}.",
        f"Rows: true class; columns: prediction of seed {m['seeds'][0]}'s model, in float32; "
        "numbers of images.",
    )


def confused(counts: list[list[int]], names: list[str]) -> list[tuple[str, int]]:
    """The pairs of classes most often confused, both directions added up."""
    k = range(len(names))
    both = [
        (f"{names[i]} / {names[j]}", counts[i][j] + counts[j][i]) for i in k for j in k if i < j
    ]
    return sorted(both, key=lambda pair: -pair[1])[:WORST]


def _pairs(m: dict) -> Table:
    names = m["class_names"]
    columns = [confused(m["models"][name]["confusion"], names) for name in TITLES]
    return Table(
        list(TITLES.values()),
        [[f"{pair}: {n}" for pair, n in row] for row in zip(*columns, strict=True)],
        f"The pairs of classes most often confused, seed {m['seeds'][0]}, with the number of test "
        "images, both directions added up.",
    )


def _agreement(m: dict) -> Table:
    rows = [
        [
            " + ".join(TITLES[name] for name in row["models"]) or "none",
            f"{row['images']:,}",
            f"{100 * row['images'] / m['test_images']:.1f} %",
        ]
        for row in sorted(m["right"], key=lambda row: -row["images"])
    ]
    return Table(
        ["correct: exactly these", "test images", "share"],
        rows,
        f"Test images by the models of seed {m['seeds'][0]} that classify them correctly.",
    )


def _gallery(m: dict) -> Gallery:
    names, pictures = m["class_names"], []
    for p in m["pictures"]:
        others = " · ".join(names[p["said"][name]] for name in ("softmax", "mlp"))
        pictures.append((p["png"], f"{names[p['label']]}, not {others}"))
    total = next(row["images"] for row in m["right"] if row["models"] == ["convnet"])
    return Gallery(
        pictures,
        f"Test images that only the ConvNet classifies correctly: {total:,} of "
        f"{m['test_images']:,}, of which {len(pictures)} are shown.",
        f"The first {len(pictures)}, in the order of the test set, of {total:,} that only the "
        f"ConvNet classifies correctly (seed {m['seeds'][0]}): the true class, not the predictions "
        "of the softmax classifier · the MLP.",
    )


CLAIM = Claim(
    name="models",
    title="Softmax, MLP, ConvNet side by side",
    quote=[
        "Activation function - ReLu (for non-linearity)",
        "Convolution layer: preserve spatial structure.",
    ],
    text=(
        "The lecture's three models are trained with their own recipes, shortened to the budget, "
        "each on the same split of the same images; the split changes with the seed. Two steps are "
        "measured: the gain of a non-linearity over the linear classifier, and the further gain of "
        "preserving the image's spatial structure. See which classes are still confused, and "
        "whether there are images that only the ConvNet classifies correctly."
    ),
    formulas=[
        r"s = W x + b",
        r"s = W_3\, f(W_2\, f(W_1 x + b_1) + b_2) + b_3",
        r"h = \text{ReLU}(\text{norm}(\text{pool}(W * x)))",
        r"(W * x)_{kij} = \sum_{c, a, e} W_{kcae}\, x_{c,\, i + a,\, j + e}",
    ],
    code=[models.SoftmaxClassifier, models.MLP, models.ConvNet],
    measure=measure,
    judge=judge,
    draw=draw,
)
