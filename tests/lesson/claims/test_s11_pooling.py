import copy

import pytest
import torch
from claiming import SmallLab, beside, judged, stored

from lecture4.lesson.claims import s11_pooling as pooling
from lecture4.lesson.lab import resolution, spread


@pytest.fixture(scope="module")
def lab():
    images = ("data=shapes", "data.train_size=1200", "data.test_size=60")
    return SmallLab({10_000: 200, 4: 3}, images=images)


@pytest.fixture(scope="module")
def measured(lab):
    return stored(pooling, pooling.measure(lab))


def test_the_claim_runs_on_a_few_shapes(measured):
    assert (measured.images, measured.moved, measured.tested) == (200, 60, 60)
    assert all(0 <= n <= 60 for n in measured.both)
    for net, accuracy in measured.accuracy.items():
        for curves in (measured.moved_accuracy, measured.unchanged, measured.still_correct):
            assert [len(seed) for seed in curves[net]] == [5] * 3
            assert all(0 <= share <= 100 for seed in curves[net] for share in seed)
        unmoved = [100 * a for a in accuracy]
        # Those may be computed in bfloat16.
        assert [seed[0] for seed in measured.moved_accuracy[net]] == pytest.approx(unmoved, abs=4)
    findings = judged(pooling, measured)
    assert {findings[name].verdict for name in ("size", "independence", "work")} == {"holds"}


def test_only_a_convolution_mixes_maps(measured):
    for name, operation in measured.operations.items():
        assert operation.before == [6, 32, 32]
        assert operation.after == ([6, 16, 16] if "pooling" in name else [6, 32, 32])
        assert operation.others == (0 if "pooling" in name else 6 * 5 * 32 * 32)


def test_pooling_and_stride_cost(measured):
    sides = {"pooling": (32, 16, 8), "stride": (16, 8, 4), "neither": (32, 32, 32)}
    for name, positions in sides.items():
        cost = measured.costs[name]
        filters = zip((3, *pooling.CHANNELS), pooling.CHANNELS, positions, strict=False)
        last = 4 if name != "neither" else 32
        expected = sum(9 * a * b * side**2 for a, b, side in filters) + 64 * last**2 * 10
        assert cost.multiply_adds == expected
        assert cost.maps[-1] == [64, last, last]
    assert measured.costs["pooling"].parameters == measured.costs["stride"].parameters


def test_a_stride_of_two_keeps_every_second_number(lab):
    """The text says so: the two nets differ in the maximum alone."""
    strided, dense, pooled = (
        lab.assemble(*pooling.net(reduction))[0].model
        for reduction in ("stride", "neither", "pooling")
    )
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    everywhere = dense.blocks[0].conv(x)
    torch.testing.assert_close(strided.blocks[0].conv(x), everywhere[:, :, ::2, ::2])
    for a, b in zip(strided.parameters(), pooled.parameters(), strict=True):
        assert torch.equal(a, b)  # the same start from the same seed


@pytest.mark.parametrize("pixels", range(5))
def test_a_shifted_image_is_reflected_at_the_border(pixels):
    """Moved right by two pixels, a row a b c d e becomes c b a b c."""
    images = torch.randint(0, 256, (40, 2, 9, 7), dtype=torch.uint8)
    moved = pooling.shifted(images, pixels)
    assert moved.dtype == torch.uint8
    found = []
    for down, right in ((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels)):
        rows = 8 - (8 - (torch.arange(9) - down).abs()).abs()
        columns = 6 - (6 - (torch.arange(7) - right).abs()).abs()
        found.append((images[:, :, rows][..., columns] == moved).flatten(1).all(1))
    found = torch.stack(found)
    assert found.any(0).all()
    assert found.any(1).all()  # each way is taken
    assert pixels or torch.equal(moved, images)


def test_each_shift_moves_an_image_the_same_way():
    x = torch.zeros(30, 1, 15, 15)
    x[:, :, 7, 7] = 1
    at = [pooling.shifted(x, d).flatten(1).argmax(1) for d in pooling.SHIFTS]
    steps = torch.stack([torch.stack([a // 15 - 7, a % 15 - 7], 1) for a in at])
    assert torch.equal(steps, steps[1] * torch.arange(5).view(5, 1, 1))


def test_shares_of_known_predictions(lab, monkeypatch):
    labels = lab.dataset.test_labels
    wrong = (labels + 1) % 10
    half = torch.where(torch.arange(60) < 30, labels, wrong)
    classes = {
        "kind: max": torch.stack([labels, labels, labels, half, wrong]),
        "stride: 2": torch.stack([half, half, wrong, wrong, wrong]),
    }

    def predicted(lab, run, words, n):
        return next(found for word, found in classes.items() if word in str(words))

    monkeypatch.setattr(pooling, "predicted", predicted)
    monkeypatch.setattr(lab, "script", lambda words, seed: None if seed == 2 else 0.5)
    m = stored(pooling, pooling.measure(lab))
    assert m.both == [30] * 3
    assert m.accuracy["pooling"] == [0.5, 0.5, 0.1]  # the last one diverged
    assert m.unchanged["pooling"][0] == [100, 100, 100, 50, 0]
    assert m.still_correct["pooling"][0] == [100, 100, 100, 100, 0]
    assert m.unchanged["stride"][0] == [100, 100, 50, 50, 50]
    assert m.still_correct["stride"][0] == [100, 100, 0, 0, 0]
    assert m.moved_accuracy["stride"][0] == [50, 50, 0, 0, 0]
    findings = judged(pooling, m)
    assert findings["the net with pooling learned"].at_least == resolution(60)
    assert findings["unchanged"].values == [0] * 3
    assert findings["still correct"].values == [50] * 3


def test_pooling_beside_the_published_net(measured):
    m = copy.deepcopy(measured)
    m.accuracy = {"pooling": [0.5, 0.52, 0.54], "stride": [0.4, 0.43, 0.44]}
    [number] = beside(pooling, m)
    assert number.ours == pytest.approx([10, 9, 10])
    assert number.direction == "agrees"


def test_no_image_that_both_classify_correctly():
    none = torch.zeros(3, 1, 60, dtype=torch.bool)
    assert pooling.share(none.expand(3, 5, 60), none) == [[100.0] * 5] * 3


@pytest.mark.parametrize(
    ("finding", "change"),
    [
        ("size", lambda m: setattr(m.operations["max pooling 2×2"], "after", [6, 17, 17])),
        ("independence", lambda m: setattr(m.operations["average pooling 2×2"], "others", 1)),
        ("work", lambda m: setattr(m.costs["neither"], "multiply_adds", 3_000_000)),
        ("the net with pooling learned", lambda m: m.accuracy.update(pooling=[0.1] * 3)),
        ("unchanged", lambda m: m.unchanged.update(pooling=[[100, 70, 70, 70, 70]] * 3)),
        ("still correct", lambda m: m.still_correct.update(stride=[[100, 95, 95, 95, 95]] * 3)),
    ],
)
def test_a_contradiction_is_judged_so(measured, finding, change):
    other = copy.deepcopy(measured)
    for name, rest in (("pooling", 90), ("stride", 80)):
        for curves in (other.unchanged, other.still_correct):
            curves[name] = [[100, *[rest] * 4]] * 3
    other.accuracy["pooling"] = [0.5, 0.51, 0.52]
    findings = judged(pooling, other)
    assert {found.verdict for found in findings.values()} == {"holds"}
    assert findings["unchanged"].values == [10] * 3
    change(other)
    verdicts = {name: found.verdict for name, found in judged(pooling, other).items()}
    assert verdicts.pop(finding) == "does not hold"
    assert set(verdicts.values()) == {"holds"}


def test_drawn(measured):
    *plots, costs, operations = pooling.draw(measured)
    curves = measured.unchanged, measured.still_correct, measured.moved_accuracy
    for plot, nets in zip(plots, curves, strict=True):
        drawn = {trace.name: list(trace.y) for trace in plot.figure.data if trace.name}
        for name, runs in nets.items():
            means = torch.tensor(runs).mean(0).tolist()
            assert drawn[name] == pytest.approx(means, abs=0.01)
    assert f"{min(measured.both)} to {max(measured.both)}" in plots[1].caption
    assert [row[0] for row in costs.rows] == ["pooling", "stride", "neither"]
    assert costs.rows[0][1] == "16×16×16, 8×8×32, 4×4×64"
    assert costs.rows[0][3] == "2,811,904 (×1.00)"
    assert costs.rows[1][5] == spread([100 * a for a in measured.accuracy["stride"]])
    assert costs.rows[2][5] == "–"
    assert operations.rows[0][1:3] == ["32×32×6", "16×16×6"]
    assert [row[4] for row in operations.rows] == [0, 0, 0, 0, 30720]
