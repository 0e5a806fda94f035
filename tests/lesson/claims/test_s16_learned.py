import base64
import io
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from lecture4.lesson.claims import s16_learned as learned
from lecture4.lesson.claims import s17_models as models
from lecture4.lesson.claims.s16_learned import CLAIM
from lecture4.lesson.lab import Gallery, Lab, Plot, resolution

SHORT = ("trainer.max_epochs=1", "data.train_share=0.058")
SMALL = "model.blocks=[{channels: 6, norm: batch, pool: {kernel_size: 4}}, {channels: 8}]"


@pytest.fixture(scope="module")
def settings():
    return {
        "softmax": ("model=softmax", *SHORT),
        "convnet": ("model=convnet", SMALL, "trainer.precision=32-true", *SHORT),
    }


@pytest.fixture(scope="module")
def measured(settings):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learned, "overrides", lambda lab: settings)
        return json.loads(json.dumps(CLAIM.measure(Lab()), allow_nan=False))


def mean_of(m, key):
    return np.mean([row[key] for row in m["per_seed"]])


def picture(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_it_shares_the_trainings_of_the_models():
    assert learned.overrides is models.overrides


def test_measurements_are_judged_one_value_a_seed(measured):
    findings = CLAIM.judge(measured)
    assert [len(f.values) for f in findings] == [3] * 5
    row = measured["per_seed"][0]
    assert findings[0].values[0] == row["own_template"]
    assert findings[2].values[0] == pytest.approx(100 * row["accuracy"]["convnet"] - 10)
    loss = 100 * (row["filters_trained"] - row["filters_put_back"])
    assert findings[3].values[0] == pytest.approx(loss)
    rise = row["selectivity"][-1] - row["selectivity"][0]
    without = row["selectivity_untrained"][-1] - row["selectivity_untrained"][0]
    assert findings[4].values[0] == pytest.approx(rise - without)


def test_the_thresholds_are_what_the_test_images_resolve(measured):
    assert measured["test_images"] == measured["tested"] == 2000
    assert measured["explained"] == 1000
    many = CLAIM.judge({**measured, "tested": 100_000, "test_images": 5000})
    assert many[2].at_least == pytest.approx(1.96)
    assert many[3].at_least == 1
    assert CLAIM.judge(measured)[3].at_least == resolution(2000) > 3


GOOD = {
    "accuracy": {"softmax": 0.4, "convnet": 0.8},
    "own_template": 90.0,
    "template_neighbours": 0.8,
    "template_neighbours_untrained": 0.0,
    "filters_trained": 0.8,
    "filters_put_back": 0.5,
    "selectivity": [10.0, 40.0],
    "selectivity_untrained": [10.0, 15.0],
}


@pytest.mark.parametrize(
    ("finding", "bad"),
    [
        (0, {"own_template": 10.0}),
        (1, {"template_neighbours_untrained": 0.75}),
        (2, {"accuracy": {"softmax": 0.4, "convnet": 0.1}}),
        (3, {"filters_put_back": 0.78}),
        (4, {"selectivity_untrained": [10.0, 31.0]}),
    ],
)
def test_other_measurements_are_judged_otherwise(measured, finding, bad):
    m = {**measured, "per_seed": [GOOD] * 3}
    assert [f.verdict for f in CLAIM.judge(m)] == ["holds"] * 5
    m["per_seed"] = [{**GOOD, **bad}] * 3
    verdicts = [f.verdict for f in CLAIM.judge(m)]
    assert verdicts[finding] == "does not hold"
    assert verdicts.count("holds") == 4


@pytest.mark.parametrize(
    ("along", "said"), [(77.4, "77 % of a filter's squared length"), (12.0, "was learned")]
)
def test_it_is_said_how_far_the_filters_turned(measured, along, said):
    rows = [
        {**row, "filter_along_start": along, "filter_cosine": 0.88} for row in measured["per_seed"]
    ]
    caption = CLAIM.draw({**measured, "per_seed": rows})[1].caption
    assert said in caption
    assert ("is the initial draw" in caption) == (along > 50)
    assert "its initial weights is 0.88" in caption


def test_seeds_that_diverged_are_measured_judged_and_drawn(monkeypatch, settings):
    train = Lab.train
    monkeypatch.setattr(learned, "overrides", lambda lab: settings)

    def diverging(lab, *overrides, seed):
        return train(lab, *overrides, *["optim.lr=1e39"] * (seed != 1), seed=seed)

    monkeypatch.setattr(Lab, "train", diverging)
    m = json.loads(json.dumps(CLAIM.measure(Lab()), allow_nan=False))
    first, second, _ = m["per_seed"]
    assert first["accuracy"] == {"softmax": 0.1, "convnet": 0.1}
    assert first["filter_cosine"] == pytest.approx(1)
    assert first["filter_along_start"] == pytest.approx(100)
    assert first["selectivity"] == first["selectivity_untrained"]
    assert second["filter_cosine"] < 1
    assert len(CLAIM.judge(m)) == 5
    assert "is the initial draw" in CLAIM.draw(m)[1].caption


def test_what_is_drawn_holds_the_pictures_and_numbers(measured):
    templates, filters, image, maps, shares = CLAIM.draw(measured)
    assert isinstance(templates, Gallery)
    assert isinstance(filters, Plot)
    assert len(templates.pictures) == 11
    assert image.pictures == [(measured["image"], measured["image_class"])]
    assert [trace.source for trace in filters.figure.data] == [*measured["filters"].values()]
    assert [trace.source for trace in maps.figure.data] == measured["maps"]
    assert picture(measured["maps"][0]).shape == (2 * 8 - 1, 3 * 8 - 1, 4)  # 6 maps of 7×7
    lines = [trace for trace in shares.figure.data if trace.mode == "lines+markers"]
    mean = np.mean([row["selectivity"] for row in measured["per_seed"]], 0)
    assert list(lines[0].y) == pytest.approx(list(mean))
    assert f"{mean[-1]:.1f} %" in shares.alt
    control = np.mean([row["selectivity_untrained"] for row in measured["per_seed"]], 0)
    must = mean[0] + control[-1] - control[0] + learned.RISE
    assert shares.figure.layout.shapes[0].y0 == pytest.approx(must)
    assert f"at a cosine of {mean_of(measured, 'filter_cosine'):.2f}" in filters.alt


def test_neighbours_are_those_beside_and_below():
    noise = torch.randn(10, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert abs(learned.neighbours(noise)) < 0.02
    assert learned.neighbours(learned.enlarged(noise[0], 8)[None]) > 0.8
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)[None, None]
    assert learned.neighbours(board) == pytest.approx(-1)
    stripes = torch.tensor([[1.0], [-1.0]]).repeat(4, 8)[None, None]  # beside 1, below −1
    assert abs(learned.neighbours(stripes)) < 0.05
    assert learned.neighbours(torch.zeros(2, 3, 4, 4)) == 0


def test_the_angle_of_filters():
    a = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    b = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert learned.cosine(a, b).tolist() == pytest.approx([1, math.sqrt(0.5)])


def test_selectivity_is_the_share_of_variance_between_classes(monkeypatch):
    """Two maps are the class, one has nothing of it, one is dead: (100 + 100 + 0 + 0) / 4 %."""
    labels = Lab().dataset.test_labels[:200]
    within = (torch.arange(200) // 10 % 2).float()  # as often 0 as 1 in each class
    made = torch.stack([labels.float(), -labels.float(), within, torch.zeros(200)], 1)[
        ..., None, None
    ]
    monkeypatch.setattr(learned, "maps", lambda classifier, inputs: [made.expand(-1, -1, 2, 2)])
    assert learned.selectivity(None, Lab().dataset, 200) == [pytest.approx(50, abs=1e-4)]


def test_templates_that_are_the_mean_images_fit_them_best():
    classifier, data = Lab().assemble("model=softmax")
    x, labels = classifier.preprocess(data.dataset.test_inputs), data.dataset.test_labels
    means = torch.stack([x[labels == k].mean(0).flatten() for k in range(10)])
    with torch.no_grad():
        classifier.model.scores.weight.copy_(torch.linalg.pinv(means).T)  # W μⱼ = eⱼ
    assert learned.own_template(classifier, data.dataset) == 1
    with torch.no_grad():
        w = classifier.model.scores.weight
        w[0] += 9 * w.sum(0)  # one template that fits all
    assert learned.own_template(classifier, data.dataset) == pytest.approx(0.1)
    with torch.no_grad():
        w.copy_(torch.linalg.pinv(means).T.roll(1, 0))
    assert learned.own_template(classifier, data.dataset) == 0


def test_putting_back_changes_nothing_else():
    classifier, data = Lab().assemble("model=convnet", SMALL)
    classifier.eval()
    before = {name: t.clone() for name, t in classifier.state_dict().items()}
    same = learned.put_back(classifier, learned.filters(classifier), data, 100)
    assert same["filters_trained"] == same["filters_put_back"]
    other = learned.put_back(classifier, torch.zeros(6, 3, 3, 3), data, 100)
    assert other["filters_trained"] == same["filters_trained"]
    assert other["filters_put_back"] == 0.1  # all images alike: one class of ten
    for name, tensor in classifier.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_grey_is_zero_and_black_is_no_answer():
    grey = learned.grey(torch.tensor([-2.0, 0, 1]).view(3, 1, 1))
    assert grey.flatten().tolist() == [0, 128, 191]
    bright = learned.bright(torch.tensor([[0.0, 1.0], [-1.0, 4.0]]))
    assert bright[0].tolist() == [[0, 64], [0, 255]]


def test_a_mosaic_keeps_every_picture():
    shown = torch.arange(12, dtype=torch.uint8).view(4, 3, 1, 1).expand(-1, -1, 2, 2)
    tiles = picture(learned.mosaic(shown))
    assert tiles.shape == (5, 5, 4)
    assert tiles[::3, ::3, :3].reshape(4, 3).tolist() == np.arange(12).reshape(4, 3).tolist()
    assert tiles[2, :, 3].tolist() == [0] * 5
