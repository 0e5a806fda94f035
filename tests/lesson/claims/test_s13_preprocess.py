"""Preprocessing: second moments, spectra, trainings at the best rate, verdicts."""

from dataclasses import replace

import pytest
import torch
from claiming import SmallLab, judged, stored

from lecture4 import models
from lecture4.data.randomness import generator
from lecture4.lesson.claims import s13_preprocess as preprocess
from lecture4.lesson.claims.s13_preprocess import CHOICES, KINDS, second_moments, transformed
from lecture4.lesson.lab import Plot, Table

FEW = {11_250: 600, 45_000: 1200}


def best_at_a_tenth(words, seed):
    """Every kind does best at 0.1, and diverges beyond."""
    rate, kind = float(words["optim.lr"]), CHOICES.index(words["preprocess"])
    return None if rate > 0.2 else 0.3 + rate + kind / 100 + seed / 1000


@pytest.fixture(scope="module")
def measured():
    return stored(preprocess, preprocess.measure(SmallLab(FEW, best_at_a_tenth)))


@pytest.mark.slow
def test_the_claim_runs_on_a_few_shapes():
    m = stored(preprocess, preprocess.measure(SmallLab(FEW)))
    assert len(judged(preprocess, m)) == 6
    assert len(list(preprocess.draw(m))) == 3


@pytest.mark.slow
def test_the_full_budget_compares_the_softmax_classifier_too():
    m = stored(preprocess, preprocess.measure(SmallLab(FEW, best_at_a_tenth, budget="full")))
    assert len(m.mlp.seeds) == 5
    assert m.images == 240  # all that are not held out
    _, mlp, softmax, table = preprocess.draw(m)
    assert "no finding uses it" in softmax.caption
    assert "no finding" not in mlp.caption
    assert [row[5] for row in table.rows] == ["0.1"] * 4
    assert [row[7] for row in table.rows] == ["0.1*"] * 4  # the last of the rates
    assert len(table.header) == len(table.rows[0]) == 9


@pytest.fixture
def textbook(measured):
    """As on images whose pixels have a mean, and as many images as pixels."""
    spectra, variants = {}, {}
    conditions, accuracies = (1e9, 1e8, 1e8, 1.1e8), (0.4, 0.45, 0.46, 0.46)
    for kind, condition, accuracy in zip(KINDS, conditions, accuracies, strict=True):
        spectra[kind] = replace(measured.spectra[kind], condition=condition)
        of_seeds = [accuracy + d for d in (0, 0.01, 0.02)]
        variants[kind] = replace(measured.mlp.variants[kind], accuracy=of_seeds)
    mlp = replace(measured.mlp, variants=variants, tested=10_000)
    return replace(measured, spectra=spectra, mlp=mlp)


def verdicts(m):
    return {name: finding.verdict for name, finding in judged(preprocess, m).items()}


@pytest.fixture
def images():
    return torch.randint(0, 256, (60, 3, 2, 2), dtype=torch.uint8, generator=generator(1))


@pytest.mark.parametrize("kind", KINDS)
def test_moments_are_those_of_the_preprocessed_images_and_a_one(images, kind):
    preprocess = KINDS[kind]((3, 2, 2)).fit(images)
    x = torch.cat([preprocess(images).double().flatten(1), torch.ones(60, 1)], 1)
    expected = sum(torch.outer(row, row) for row in x) / 60
    made = transformed(second_moments(images), preprocess)
    torch.testing.assert_close(made, expected, atol=1e-6, rtol=1e-5)


def test_moments_are_what_curves_the_loss_of_a_softmax_classifier(images):
    """∇²L at W = 0 is (I/K − 11ᵀ/K²) ⊗ E[x̃ x̃ᵀ], as autograd differentiates it twice."""
    k, x = 3, images.double() / 255
    labels = torch.arange(60) % k
    model = models.SoftmaxClassifier((3, 2, 2), k).double()
    names = ["scores.weight", "scores.bias"]

    def loss(flat):
        rows = flat.view(k, -1)  # of (W, b)
        scores = torch.func.functional_call(
            model, dict(zip(names, (rows[:, :-1], rows[:, -1]), strict=True)), (x,)
        )
        return torch.nn.functional.cross_entropy(scores, labels)

    at = torch.zeros(k * 13, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(loss, at)
    classes = torch.eye(k, dtype=torch.float64) / k - torch.ones(k, k) / k**2
    torch.testing.assert_close(hessian, torch.kron(classes, second_moments(images)))


def test_spectra_descend_and_centring_lowers_the_largest(measured):
    spectra = measured.spectra
    assert all(s.values == sorted(s.values, reverse=True) for s in spectra.values())
    assert all(s.ranks[0] == 1 and s.ranks[-1] == 3073 for s in spectra.values())
    assert spectra["none"].largest > 3 * spectra["channel mean"].largest
    _, data = SmallLab().assemble("model=softmax")
    x = data.train_inputs().double().flatten(1) / 255
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    largest = torch.linalg.matrix_norm(x, 2).item() ** 2 / len(x)
    assert spectra["none"].largest == pytest.approx(largest)


@pytest.mark.parametrize(
    ("kind", "change", "name"),
    [
        ("none", {"condition": 1.5e8}, "centring"),
        ("channel mean and std", {"condition": 1e7}, "scaling"),
        ("mean image", {"accuracy": [0.4, 0.41, 0.42]}, "mean image better than none"),
        ("channel mean", {"accuracy": [0.4, 0.41, 0.42]}, "channel mean better than none"),
        (
            "channel mean and std",
            {"accuracy": [0.5, 0.51, 0.52]},
            "channel mean and std as good as channel mean",
        ),
    ],
)
def test_other_measurements_are_judged_otherwise(textbook, kind, change, name):
    assert set(verdicts(textbook).values()) == {"holds"}
    where = textbook.spectra if "condition" in change else textbook.mlp.variants
    where[kind] = replace(where[kind], **change)
    assert verdicts(textbook)[name] == "does not hold"


def test_a_difference_within_luck_on_few_test_images_is_none(textbook):
    found = judged(preprocess, textbook)
    assert found["mean image better than none"].at_least == pytest.approx(1.386, abs=1e-3)
    textbook.mlp.tested = 100
    assert verdicts(textbook)["mean image better than none"] == "does not hold"
    assert verdicts(textbook)["channel mean and std as good as channel mean"] == "holds"


def test_what_is_drawn_holds_the_numbers(textbook):
    spectra, rates, table = preprocess.draw(textbook)
    assert [type(item) for item in (spectra, rates, table)] == [Plot, Plot, Table]
    assert [trace.y[0] for trace in spectra.figure.data] == pytest.approx([1.0] * 4, rel=1e-3)
    for trace, variant in zip(rates.figure.data, textbook.mlp.variants.values(), strict=True):
        assert list(trace.y) == pytest.approx([100 * v for v in variant.validation], abs=0.01)
    assert table.rows[0][3] == "1e+09"
    assert table.rows[-1][-1] == "46.0, 47.0, 48.0"
