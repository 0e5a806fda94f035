import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean as mean

import pytest
import torch
from claiming import SmallLab, judged, stored

from lecture4.lesson import report
from lecture4.lesson.claims import s16_learned as learned
from lecture4.lesson.claims import s17_models as models
from lecture4.lesson.claims.pictures import enlarged
from lecture4.lesson.lab import Gallery, Plot, mean_curve, resolution
from lecture4.lesson.lab.measurements import to_plain
from lecture4.lesson.page.render import render_page
from lecture4.lesson.provenance import source_of

SMALL = "model.blocks=[{channels: 6, norm: batch, pool: {kernel_size: 4}}, {channels: 8}]"
SHORT = "trainer.max_epochs=1"
NETS = {
    "softmax": ("model=softmax", SHORT),
    "convnet": ("model=convnet", SMALL, "trainer.precision=32-true", SHORT, "data.batch_size=40"),
}


def measure(lab):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learned, "overrides", lambda lab: NETS)
        return stored(learned, learned.measure(lab))


@pytest.fixture(scope="module")
def lab():
    return SmallLab()


@pytest.fixture(scope="module")
def measured(lab):
    return measure(lab)


@pytest.fixture(scope="module")
def dataset(lab):
    return lab.dataset


def test_it_shares_the_trainings_of_the_models():
    assert learned.overrides is models.overrides


def test_measurements_are_judged_one_value_a_seed(measured):
    found = judged(learned, measured)
    assert [len(finding.values) for finding in found.values()] == [3] * 5
    assert found["the ConvNet learned"].values[0] == pytest.approx(100 * measured.convnet[0] - 10)
    reset = found["the ConvNet better than itself with initial first filters"]
    lost = measured.with_filters[0] - measured.with_initial_filters[0]
    assert reset.values[0] == pytest.approx(100 * lost)
    trained, untrained = measured.explained[0], measured.explained_untrained[0]
    rise = trained[-1] - trained[0] - (untrained[-1] - untrained[0])
    assert found["maps"].values[0] == pytest.approx(rise)


def test_the_thresholds_are_what_the_test_images_resolve(measured):
    assert measured.test_images == measured.tested == measured.explained_images == 60
    many = judged(learned, replace(measured, tested=100_000, test_images=5000))
    assert many["the ConvNet learned"].at_least == pytest.approx(1.96)
    reset = "the ConvNet better than itself with initial first filters"
    assert many[reset].at_least == 1
    assert judged(learned, measured)[reset].at_least == resolution(60)


GOOD = {
    "convnet": 0.8,
    "own_template": 90.0,
    "neighbours": 0.8,
    "neighbours_untrained": 0.0,
    "with_filters": 0.8,
    "with_initial_filters": 0.5,
    "explained": [10.0, 40.0],
    "explained_untrained": [10.0, 15.0],
}


@pytest.mark.parametrize(
    ("finding", "bad"),
    [
        ("templates", {"own_template": 10.0}),
        ("structure of the templates", {"neighbours_untrained": 0.75}),
        ("the ConvNet learned", {"convnet": 0.1}),
        (
            "the ConvNet better than itself with initial first filters",
            {"with_initial_filters": 0.78},
        ),
        ("maps", {"explained_untrained": [10.0, 31.0]}),
    ],
)
def test_other_measurements_are_judged_otherwise(measured, finding, bad):
    def verdicts(row):
        m = replace(measured, tested=2000, test_images=2000, **{k: [v] * 3 for k, v in row.items()})
        return {name: found.verdict for name, found in judged(learned, m).items()}

    holds = dict.fromkeys(verdicts(GOOD), "holds")
    assert verdicts(GOOD) == holds
    assert verdicts(GOOD | bad) == holds | {finding: "does not hold"}


def test_seeds_that_diverged_are_measured_judged_and_drawn():
    m = measure(SmallLab(script=lambda overrides, seed: None))
    assert m.softmax == m.convnet == [0.1] * 3
    assert m.cosine == pytest.approx([1] * 3)
    assert m.along_start == pytest.approx([100] * 3)
    assert m.explained == m.explained_untrained
    assert len(judged(learned, m)) == 5
    assert len(list(learned.draw(m))) == 4


def test_what_is_drawn_holds_the_pictures_and_numbers(measured):
    templates, filters, maps, shares = learned.draw(measured)
    assert isinstance(templates, Gallery)
    assert isinstance(filters, Plot)
    assert len(templates.pictures) == 11
    pictures = measured.pictures
    assert [trace.source for trace in filters.figure.data] == [*pictures.filters.values()]
    assert [trace.source for trace in maps.figure.data] == [pictures.image, *pictures.maps]
    assert pictures.shapes == [[6, 7, 7], [8, 5, 5]]
    assert measured.cosine[0] < 0.99999
    assert f"{mean(measured.along_start):.0f} % of its squared length" in filters.caption
    assert f"at a cosine of {mean(measured.cosine):.2f}" in filters.alt
    trained, untrained = map(mean_curve, (measured.explained, measured.explained_untrained))
    drawn = [trace for trace in shares.figure.data if trace.mode == "lines+markers"]
    assert list(drawn[0].y) == pytest.approx(trained)
    assert f"to {trained[-1]:.1f}" in shares.alt
    must = trained[0] + untrained[-1] - untrained[0] + learned.RISE
    assert shares.figure.layout.shapes[0].y0 == pytest.approx(must)


def test_neighbours_are_those_beside_and_below():
    noise = torch.randn(10, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert abs(learned.neighbours(noise)) < 0.02
    assert learned.neighbours(enlarged(noise[:1], 8)) > 0.8
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)[None, None]
    assert learned.neighbours(board) == pytest.approx(-1)
    stripes = torch.tensor([[1.0], [-1.0]]).repeat(4, 8)[None, None]  # beside 1, below −1
    assert abs(learned.neighbours(stripes)) < 0.05
    assert learned.neighbours(torch.zeros(2, 3, 4, 4)) == 0


def test_selectivity_is_the_share_of_variance_between_classes(monkeypatch, dataset):
    """Two maps are the class, one has nothing of it, one is dead: (100 + 100 + 0 + 0) / 4 %."""
    labels = dataset.test_labels
    within = (torch.arange(60) // 10 % 2).float()  # as often 0 as 1 in each class
    made = torch.stack([labels.float(), -labels.float(), within, torch.zeros(60)], 1)
    blocks = [made[..., None, None].expand(-1, -1, 2, 2)]
    monkeypatch.setattr(learned, "maps", lambda classifier, inputs: blocks)
    assert learned.selectivity(None, dataset, 60) == [pytest.approx(50, abs=1e-4)]


def test_templates_that_are_the_mean_images_fit_them_best(dataset):
    classifier, _ = SmallLab().assemble("model=softmax")
    x, labels = classifier.preprocess(dataset.test_inputs), dataset.test_labels
    means = torch.stack([x[labels == k].mean(0).flatten() for k in range(10)])
    own = torch.linalg.pinv(means).T  # W μⱼ = eⱼ
    w = classifier.model.scores.weight.data
    w.copy_(own)
    assert learned.own_template(classifier, dataset) == 1
    w[0] += 9 * w.sum(0)  # one template that fits all
    assert learned.own_template(classifier, dataset) == pytest.approx(0.1)
    w.copy_(own.roll(1, 0))
    assert learned.own_template(classifier, dataset) == 0


def test_replacing_filters_changes_nothing_else():
    classifier, data = SmallLab().assemble("model=convnet", SMALL)
    classifier.eval()
    before = {name: t.clone() for name, t in classifier.state_dict().items()}
    learned.with_filters(classifier, learned.filters(classifier), data, 60)
    nothing = learned.with_filters(classifier, torch.zeros(6, 3, 3, 3), data, 60)
    assert nothing == pytest.approx(0.1)  # all images alike: one class of ten
    for name, tensor in classifier.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert not classifier.model.training


def test_the_page_looks_inside_the_first_seeds_convnet(lab, measured, monkeypatch):
    monkeypatch.setattr(learned, "overrides", lambda lab: NETS)
    net = report.look_inside(["rings", "learned"], lab)
    assert report.look_inside(["rings"], lab) is None
    pipeline, images = learned.shown_net(lab)
    names, labels = lab.dataset.class_names, lab.dataset.test_labels
    assert net["classes"] == [label for label, _ in images] == names
    right = (pipeline(lab.dataset.test_inputs).argmax(1) == labels).double().mean().item()
    assert right == pytest.approx(measured.convnet[0])
    predicted = pipeline(torch.stack([pixels for _, pixels in images])).argmax(1).tolist()
    answers = pipeline(lab.dataset.test_inputs).argmax(1)
    for k in range(10):
        some_are_right = bool(((answers == k) & (labels == k)).any())
        assert (predicted[k] == k) == some_are_right
    entry = {"name": "learned", "title": "", "verdict": "holds", "findings": [], "commands": []}
    entry |= {"measurements": to_plain(measured), "seconds": 0, "published": []}
    entry |= {"source": source_of(Path(learned.__file__))}
    page = {
        "made": "now", "budget": "quick", "seed": 0, "seconds": 0, "machine": report.machine(),
        "data": {"name": "shapes", "fallback": False, "train": 1, "test": 1, "classes": names},
        "claims": [entry],
    }  # fmt: skip
    for given, sections in ((net, 1), (None, 0)):
        text = render_page(page, net=given)
        assert text.count('id="inside"') == text.count('href="#inside"') == sections
    assert "weight" not in json.dumps(page)
