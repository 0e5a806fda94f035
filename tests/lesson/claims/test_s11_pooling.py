"""Tests of the claim ``pooling``."""

import copy
import json

import plotly.graph_objects as go
import pytest
import torch
from torch.nn import functional

from lecture4.lesson.claims import s11_pooling as pooling
from lecture4.lesson.lab import Lab, Plot, Run, Table, resolution, spread


class Small(Lab):
    """A Lab of few images and short trainings."""

    def pick(self, quick, full):
        return quick // 25 if quick > 1000 else min(quick, 3)

    def _data(self, overrides):
        return [*super()._data(overrides), "data.train_size=1600", "data.test_size=60"]


@pytest.fixture(scope="module")
def measured():
    return json.loads(json.dumps(pooling.measure(Small()), allow_nan=False))


def test_measured(measured):
    assert measured["seeds"] == [0, 1, 2]
    assert measured["test_images"] == 60
    assert measured["training_images"] == 400
    assert measured["all_test_images"] == 60
    assert measured["chance"] == 0.1
    assert all(0 <= n <= 60 for n in measured["both_right"])
    for net in measured["nets"].values():
        assert len(net["accuracy"]) == 3
        for of_seeds in (net["same"], net["kept"], net["shifted_accuracy"]):
            assert [len(seed) for seed in of_seeds] == [5] * 3
            assert all(0 <= share <= 100 for seed in of_seeds for share in seed)
        assert [seed[0] for seed in net["same"] + net["kept"]] == [100] * 6
        unmoved = [seed[0] for seed in net["shifted_accuracy"]]
        of_runs = [100 * accuracy for accuracy in net["accuracy"]]
        assert unmoved == pytest.approx(of_runs, abs=4)  # those may be in bfloat16


def test_the_exact_findings_hold(measured):
    assert [f.verdict for f in pooling.judge(measured)[:3]] == ["holds"] * 3


def test_only_a_convolution_mixes_maps(measured):
    operations = measured["maps"]["operations"]
    assert measured["maps"]["before"] == [6, 32, 32]
    for name, operation in operations.items():
        assert operation["after"] == ([6, 16, 16] if "pooling" in name else [6, 32, 32])
        assert (operation["others"] == 0) == ("pooling" in name)
    assert operations["convolution 3×3, zero padded"]["others"] == 6 * 5 * 32 * 32


def test_pooling_and_stride_cost(measured):
    cost = measured["cost"]
    sides = {"pooling": (32, 16, 8), "stride": (16, 8, 4), "neither": (32, 32, 32)}
    for name, positions in sides.items():
        filters = zip((3, *pooling.CHANNELS), pooling.CHANNELS, positions, strict=False)
        last = 4 if name != "neither" else 32
        expected = sum(9 * a * b * side**2 for a, b, side in filters) + 64 * last**2 * 10
        assert cost[name]["multiply_adds"] == expected
        assert cost[name]["maps"][-1] == [64, last, last]
    assert cost["pooling"]["parameters"] == cost["stride"]["parameters"]


def test_a_stride_of_two_keeps_every_second_number():
    """The text says so: the two nets differ in the maximum alone."""
    lab = Small()
    strided, _ = lab.assemble(*pooling.COMMON, pooling.blocks("stride"))
    dense, _ = lab.assemble(*pooling.COMMON, pooling.blocks("neither"))
    pooled, _ = lab.assemble(*pooling.COMMON, pooling.blocks("pooling"))
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    conv = [c.model.blocks[0].conv for c in (strided, dense, pooled)]
    torch.testing.assert_close(conv[0](x), conv[1](x)[:, :, ::2, ::2])
    for a, b in zip(strided.model.parameters(), pooled.model.parameters(), strict=True):
        assert torch.equal(a, b)  # the same start from the same seed


@pytest.mark.parametrize("pixels", range(5))
def test_shifted_is_a_crop_of_the_padded_image(pixels):
    images = torch.rand(40, 2, 9, 7)
    padded = functional.pad(images, [pixels] * 4, mode="reflect")
    moved = pooling.shifted(images, pixels)
    crops = [
        padded[:, :, y : y + 9, x : x + 7]
        for y, x in ((0, pixels), (2 * pixels, pixels), (pixels, 0), (pixels, 2 * pixels))
    ]
    found = torch.stack([(crop == moved).flatten(1).all(1) for crop in crops])
    assert found.any(0).all()
    assert found.any(1).all()  # each way is taken
    assert pixels or torch.equal(moved, images)


def test_each_shift_moves_an_image_the_same_way():
    x = torch.zeros(30, 1, 15, 15)
    x[:, :, 7, 7] = 1
    at = [pooling.shifted(x, d).flatten(1).argmax(1) for d in pooling.SHIFTS]
    steps = torch.stack([torch.stack([a // 15 - 7, a % 15 - 7], 1) for a in at])
    assert torch.equal(steps, steps[1] * torch.arange(5).view(5, 1, 1))


def test_share():
    assert pooling._share(torch.tensor([True, True, False, True])) == 75
    assert pooling._share(torch.tensor([], dtype=torch.bool)) == 100


def test_shares_of_known_predictions(measured):
    labels = Small().dataset.test_labels
    other = (labels + 1) % 10
    half = torch.where(torch.arange(60) < 30, labels, other)
    classes = {
        "pooling": [[labels, labels, labels, half, other]] * 3,
        "stride": [[half, half, other, other, other]] * 3,
    }
    runs = dict.fromkeys(classes, [Run("…", 0, [], 0.5, 1, 1, False, {})] * 3)
    m = {**measured, **pooling._compared(runs, classes, labels)}
    assert m["both_right"] == [30] * 3
    assert m["nets"]["pooling"]["accuracy"] == [0.5] * 3
    assert m["nets"]["pooling"]["same"][0] == [100, 100, 100, 50, 0]
    assert m["nets"]["pooling"]["kept"][0] == [100, 100, 100, 100, 0]
    assert m["nets"]["stride"]["same"][0] == [100, 100, 50, 50, 50]
    assert m["nets"]["stride"]["kept"][0] == [100, 100, 0, 0, 0]
    assert m["nets"]["stride"]["shifted_accuracy"][0] == [50, 50, 0, 0, 0]
    accuracy, same, kept = pooling.judge(m)[3:]
    assert accuracy.values == pytest.approx([40] * 3)
    assert accuracy.at_least == resolution(60)
    assert same.values == [0] * 3
    assert kept.values == [50] * 3
    assert {f.unit for f in (accuracy, same, kept)} == {"points"}


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (0, lambda m: m["maps"]["operations"]["max pooling 2×2"].update(after=[6, 17, 17])),
        (1, lambda m: m["maps"]["operations"]["average pooling 2×2, torch"].update(others=1)),
        (2, lambda m: m["cost"]["neither"].update(multiply_adds=3_000_000)),
        (3, lambda m: m["nets"]["pooling"].update(accuracy=[0.1, 0.11, 0.12])),
        (4, lambda m: m["nets"]["pooling"].update(same=[[100.0, 70.0, 70.0, 70.0, 70.0]] * 3)),
        (5, lambda m: m["nets"]["stride"].update(kept=[[100.0, 95.0, 95.0, 95.0, 95.0]] * 3)),
    ],
)
def test_a_contradiction_is_judged_so(measured, index, change):
    other = copy.deepcopy(measured)
    for name, rest in (("pooling", 90.0), ("stride", 80.0)):
        other["nets"][name].update(same=[[100.0, *[rest] * 4]] * 3, kept=[[100.0, *[rest] * 4]] * 3)
    other["nets"]["pooling"]["accuracy"] = [0.5, 0.51, 0.52]
    findings = pooling.judge(other)
    assert {finding.verdict for finding in findings} == {"holds"}
    assert findings[4].values == [10] * 3
    change(other)
    verdicts = [finding.verdict for finding in pooling.judge(other)]
    assert verdicts.pop(index) == "does not hold"
    assert set(verdicts) == {"holds"}


def test_runs_that_diverged_are_measured_judged_and_drawn(monkeypatch):
    train = Lab.train

    def diverging(lab, *overrides, seed):
        broken = pooling.blocks("stride") in overrides or seed == 0
        return train(lab, *overrides, *["optim.lr=1e39"] * broken, seed=seed)

    monkeypatch.setattr(Lab, "train", diverging)
    m = json.loads(json.dumps(pooling.measure(Small()), allow_nan=False))
    assert m["nets"]["stride"]["accuracy"] == [0.1] * 3
    assert m["nets"]["pooling"]["accuracy"][0] == 0.1
    assert len(pooling.judge(m)) == 6
    assert len(pooling.draw(m)) == 5


def test_drawn(measured):
    *plots, bill, alone = pooling.draw(measured)
    for plot, what in zip(plots, ("same", "kept", "shifted_accuracy"), strict=True):
        assert isinstance(plot, Plot)
        assert isinstance(plot.figure, go.Figure)
        lines = {trace.name: trace for trace in plot.figure.data if trace.name}
        for name, net in measured["nets"].items():
            means = [sum(column) / 3 for column in zip(*net[what], strict=True)]
            assert list(lines[f"with {name}"].y) == pytest.approx(means, abs=0.01)
            assert f"with {name} {means[0]:.1f} % unmoved" in plot.alt
    assert isinstance(bill, Table)
    assert [row[0] for row in bill.rows] == ["pooling", "stride", "neither"]
    assert bill.rows[0][3] == "2,811,904 (×1.00)"
    assert bill.rows[2][5] == "–"
    accuracies = [100 * accuracy for accuracy in measured["nets"]["stride"]["accuracy"]]
    assert bill.rows[1][5] == spread(accuracies)
    assert f"{pooling.PASSES} passes" in bill.caption
    assert f"{min(measured['both_right'])} to {max(measured['both_right'])}" in plots[1].caption
    assert bill.rows[0][1] == "16×16×16, 8×8×32, 4×4×64"
    assert isinstance(alone, Table)
    assert alone.rows[0][1:3] == ["32×32×6", "16×16×6"]
    assert [row[4] for row in alone.rows] == [0, 0, 0, 0, 30720]
