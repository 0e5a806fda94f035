import csv
import io

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from lecture4.training.figures import boundary, confusion, curves, first_layer, wrong_predictions

SHORT = ["cat", "dog", "ship"]
LONG = [
    "great crested grebe in winter plumage",
    "articulated lorry with a trailer",
    "internationalisation engineer",
]


def history(epochs):
    return [
        {
            "epoch": e,
            "train/loss": 2 / (e + 1),
            "train/accuracy": 1 - 0.8 / (e + 1),
            "val/loss": 2.2 / (e + 1),
            "val/accuracy": 0.9 - 0.7 / (e + 1),
        }
        for e in range(epochs)
    ]


def test_curves_without_validation():
    rows = [{k: v for k, v in row.items() if "val" not in k} for row in history(3)]
    figure = saved(curves(rows))
    assert [len(axes.lines) for axes in figure.axes] == [1, 1]
    assert "Training" in words(figure)
    assert [len(axes.lines) for axes in curves(history(3)).axes] == [2, 2]


def batch(n=60, classes=3, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, channels, 12, 12), generator=generator, dtype=torch.uint8)
    labels = torch.arange(n) % classes
    return images, labels, 3 * torch.randn(n, classes, generator=generator)


def texts(figure):
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


def words(figure):
    return [t.get_text() for t in texts(figure)]


def saved(figure):
    """Draw and save the figure, which must not warn."""
    assert isinstance(figure, Figure)
    file = io.BytesIO()
    FigureCanvasAgg(figure)  # becomes the figure's canvas
    figure.savefig(file, format="png")
    assert file.getvalue().startswith(b"\x89PNG")
    return figure


def boxes(figure):
    """Each text that is seen, with its place."""
    renderer = figure.canvas.get_renderer()
    hidden = {
        t
        for axes in figure.axes
        if not axes.axison
        for axis in (axes.xaxis, axes.yaxis)
        for t in axis.findobj(Text)
    }
    beyond = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) - 1e-9
        <= tick.get_loc()
        <= max(axis.get_view_interval()) + 1e-9
    }
    return [
        (t, t.get_window_extent(renderer))
        for t in texts(figure)
        if t not in hidden and t not in beyond
    ]


def check_nothing_is_cut_off(figure):
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in boxes(figure):
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, (text.get_text(), box, width, height)


def check_no_words_overlap(figure):
    """Titles of neighbours, for one, must not run into each other."""
    written = [(t.get_text(), box) for t, box in boxes(figure) if t.get_rotation() in (0, 90)]
    for i, (text, a) in enumerate(written):
        for other, b in written[:i]:
            wide = min(a.x1, b.x1) - max(a.x0, b.x0)
            high = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert wide <= 1 or high <= 1, (text, other)


def check_layout(figure):
    saved(figure)
    check_nothing_is_cut_off(figure)
    check_no_words_overlap(figure)


@pytest.mark.parametrize("epochs", [1, 2, 7, 300])
def test_curves(epochs):
    check_layout(curves(history(epochs)))


def test_curves_show_the_numbers_of_metrics_csv():
    rows = history(4)
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    file.seek(0)
    figure = curves(list(csv.DictReader(file)))
    for axes, name in zip(figure.axes, ("loss", "accuracy"), strict=True):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for label, split in (("training", "train"), ("validation", "val")):
            assert list(lines[label].get_xdata()) == [1, 2, 3, 4]
            assert list(lines[label].get_ydata()) == [row[f"{split}/{name}"] for row in rows]
        assert lines["training"].get_color() != lines["validation"].get_color()
        assert axes.get_xlabel() == "epoch"
        assert axes.get_legend() is not None


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_epochs_are_whole_numbers(epochs):
    figure = saved(curves(history(epochs)))
    for axes in figure.axes:
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert ticks
        assert all(float(tick).is_integer() for tick in ticks)


@pytest.mark.parametrize("names", [SHORT, LONG], ids=["short", "long"])
def test_confusion_of_few_classes(names):
    _, labels, scores = batch()
    check_layout(confusion(scores.argmax(1), labels, names))


@pytest.mark.parametrize("classes", [2, 10, 21, 60])
def test_confusion_of_many_classes(classes):
    _, labels, scores = batch(600, classes)
    names = [f"class number {k}" for k in range(classes)]
    check_layout(confusion(scores.argmax(1), labels, names))


def test_confusion_counts_true_classes_in_rows():
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    predicted = torch.tensor([0, 1, 1, 1, 0, 2])
    figure = confusion(predicted, labels, SHORT)
    axes = figure.axes[0]
    counts = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    assert [[counts[i, j] for j in range(3)] for i in range(3)] == [
        ["1", "2", "0"],
        ["1", "1", "0"],
        ["0", "0", "1"],
    ]
    shown = torch.as_tensor(axes.images[0].get_array())
    assert torch.allclose(shown[0], torch.tensor([1 / 3, 2 / 3, 0.0]).to(shown.dtype))
    assert {"predicted", "true"} <= {text.get_text() for text in figure.texts}
    assert [t.get_text() for t in axes.get_xticklabels()] == SHORT
    assert [t.get_text() for t in axes.get_yticklabels()] == SHORT


def test_most_confused_pairs_add_both_ways_and_come_in_order():
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 4)
    predicted = torch.tensor([0, 0, 2, 2, 1, 0, 0, 1, 0, 1, 2, 2])
    figure = confusion(predicted, labels, SHORT)
    (listed,) = [t for t in words(figure) if " / " in t]
    assert [line.split() for line in listed.splitlines()] == [
        ["cat", "/", "dog:", "3"],
        ["cat", "/", "ship:", "3"],
        ["dog", "/", "ship:", "1"],
    ]


def test_confusion_without_a_mistake():
    labels = torch.arange(30) % 3
    figure = confusion(labels, labels, SHORT)
    check_layout(figure)
    assert "none" in words(figure)


def test_confusion_with_a_class_that_does_not_occur():
    labels = torch.tensor([0, 1, 0, 1])
    check_layout(confusion(labels, labels, SHORT))


@pytest.mark.parametrize("count", [1, 3, 8, 48, 100])
def test_first_layer_filters(count):
    figure = first_layer(torch.randn(count, 3, 3, 3))
    check_layout(figure)
    assert len(figure.axes[0].images) == min(count, 64)
    expected = "64 of 100" if count == 100 else f"({count})"
    assert any(expected in word for word in words(figure))


@pytest.mark.parametrize("channels", [1, 2, 48])
def test_first_layer_of_other_depths_is_grey(channels):
    weights = torch.randn(4, channels, 5, 5)
    figure = saved(first_layer(weights))
    image = figure.axes[0].images[0]
    assert image.get_cmap().name == "gray"
    mean = weights[0].mean(0)
    expected = 0.5 + 0.5 * mean / mean.abs().max()
    assert torch.allclose(torch.as_tensor(image.get_array()).squeeze().float(), expected)


def test_zero_is_grey_and_the_largest_weight_is_full():
    weights = torch.zeros(2, 3, 2, 2)
    weights[0, 0, 0, 0], weights[0, 1, 1, 1] = 0.4, -0.2
    figure = saved(first_layer(weights))
    pixels, blank = (torch.as_tensor(image.get_array()) for image in figure.axes[0].images)
    assert pixels[0, 0].tolist() == pytest.approx([1.0, 0.5, 0.5])
    assert pixels[1, 1].tolist() == pytest.approx([0.5, 0.25, 0.5])
    assert (blank == 0.5).all()


@pytest.mark.parametrize(
    "names",
    [[f"class {k}" for k in range(10)], (LONG * 4)[:10], ["a", "b"], LONG],
    ids=["ten", "ten long", "two", "three long"],
)
def test_templates_carry_the_names_of_their_classes(names):
    figure = first_layer(torch.randn(len(names), 3, 32, 32), names)
    check_layout(figure)
    titles = [text.get_text() for text in figure.axes[0].texts]
    assert len(titles) == len(names)
    assert all(title[:4] == name[:4] for title, name in zip(titles, names, strict=True))


def test_templates_of_many_classes():
    check_layout(first_layer(torch.randn(100, 3, 8, 8), [f"class {k}" for k in range(100)]))


def test_the_filters_given_are_not_changed():
    weights = torch.randn(3, 3, 4, 4)
    before = weights.clone()
    first_layer(weights)
    assert torch.equal(weights, before)


@pytest.mark.parametrize("names", [SHORT, LONG], ids=["short", "long"])
def test_wrong_predictions(names):
    figure = wrong_predictions(*batch(), names)
    check_layout(figure)
    assert len(figure.axes[0].images) == 24


@pytest.mark.parametrize(("h", "w"), [(12, 12), (10, 30), (30, 10)])
def test_images_keep_their_shape_and_are_not_upside_down(h, w):
    images = torch.randint(0, 256, (30, 3, h, w), dtype=torch.uint8)
    figure = wrong_predictions(images, torch.zeros(30, dtype=torch.long), torch.rand(30, 2), "ab")
    check_layout(figure)
    (axes,) = figure.axes
    for image in axes.images:
        box = image.get_window_extent()
        assert box.height / box.width == pytest.approx(h / w, rel=0.05)
        assert image.origin == "upper"
    assert axes.yaxis_inverted()


@pytest.mark.parametrize("wrong", [0, 1, 7])
def test_few_mistakes_or_none(wrong):
    images, labels, _ = batch()
    scores = 5 * torch.nn.functional.one_hot(labels, 3).float()
    scores[:wrong] = scores[:wrong].roll(1, 1)
    figure = wrong_predictions(images, labels, scores, SHORT)
    check_layout(figure)
    assert len(figure.axes[0].images) == wrong
    assert any(f"{wrong} of 60" in word for word in words(figure))


def test_wrong_predictions_come_by_confidence_with_both_classes():
    images, labels = batch(4)[0], torch.tensor([0, 0, 1, 2])
    scores = torch.tensor([[0.0, 2, 0], [0, 0, 9], [0, 9, 0], [4, 0, 0]])
    figure = wrong_predictions(images, labels, scores, SHORT)
    (axes,) = figure.axes
    shown = list(zip(axes.texts, axes.images, strict=True))
    confidence = scores.softmax(1).amax(1)
    expected = [(1, "ship", "cat"), (3, "cat", "ship"), (0, "dog", "cat")]
    assert len(shown) == 3
    for (title, image), (i, said, true) in zip(shown, expected, strict=True):
        assert title.get_text() == f"{said} {confidence[i]:.0%}\nis {true}"
        assert torch.equal(torch.as_tensor(image.get_array()), images[i].permute(1, 2, 0))


def test_wrong_predictions_on_grey_images_are_shown_in_grey_as_they_are():
    images, labels, scores = batch(channels=1)
    images = images // 2  # the darker half: not to be stretched to black and white
    figure = wrong_predictions(images, labels, scores, SHORT)
    check_layout(figure)
    image = figure.axes[0].images[0]
    rgba = image.to_rgba(image.get_array())
    assert (rgba[..., 0] == rgba[..., 1]).all()
    assert (rgba[..., 1] == rgba[..., 2]).all()
    assert max(rgba[..., 0].max(), 0) <= 128


@pytest.mark.parametrize("names", [["inside", "around"], LONG[:2]], ids=["short", "long"])
def test_boundary(names):
    points = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    labels = (points[:, 0] > 0).long()

    def classify(places):
        return torch.stack([-places[:, 0], places[:, 0]], 1)

    check_layout(boundary(points, labels, names, classify))


def test_boundary_draws_x_to_the_right_and_y_upwards():
    points = torch.tensor([[1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]])
    labels = torch.tensor([1, 0, 0])

    def lower_right(places):
        inside = ((places[:, 0] > 0) & (places[:, 1] < 0)).float()
        return torch.stack([1 - inside, inside], 1)

    figure = saved(boundary(points, labels, ["other", "lower right"], lower_right))
    axes = figure.axes[0]
    offsets = [c.get_offsets() for c in axes.collections if c.get_label() == "lower right"]
    assert offsets[0].tolist() == [[1.0, -1.0]]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())

    def colour(x, y):
        column, row = axes.transData.transform((x, y))
        return tuple(pixels[pixels.shape[0] - 1 - int(row), int(column), :3].tolist())

    corners = [colour(x, y) for x, y in [(0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)]]
    assert corners[0] != corners[1]
    assert corners[1] == corners[2] == corners[3]
