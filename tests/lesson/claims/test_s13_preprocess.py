import json

import pytest
import torch

from lecture4 import models
from lecture4.data.randomness import generator
from lecture4.lesson.claims.s13_preprocess import (
    CLAIM,
    KINDS,
    MLP,
    _compare,
    second_moments,
    transformed,
)
from lecture4.lesson.lab import Lab, Plot, Run, Table

SMALL = ("data=shapes", "data.train_size=400", "data.test_size=100", "data.val_size=100")


class SmallLab(Lab):
    def compose(self, *overrides, seed=None):
        return super().compose(*SMALL, *overrides, seed=seed)

    def pick(self, quick, full):
        few = {11_250: 600, 45_000: 1200}
        return few.get(super().pick(quick, full), super().pick(quick, full))


class ScriptedLab(SmallLab):
    """Trains nothing: every kind does best at 0.1, and diverges beyond."""

    def train(self, *overrides, seed=None):
        words = dict(word.split("=", 1) for word in overrides)
        rate, kind = float(words["optim.lr"]), list(KINDS).index(words["preprocess"])
        accuracy = 0.3 + rate + kind / 100 + seed / 1000
        self.commands.append(f"{' '.join(overrides)} seed={seed}")
        history = [] if rate > 0.2 else [{"val/accuracy": accuracy}]
        if not history:
            accuracy = 0.1
        return Run("", seed, history, accuracy, 0.0, 1, not history, {})


@pytest.fixture(scope="module")
def measured():
    return json.loads(json.dumps(CLAIM.measure(ScriptedLab()), allow_nan=False))


@pytest.mark.slow
def test_the_claim_runs_on_a_few_shapes():
    m = json.loads(json.dumps(CLAIM.measure(SmallLab()), allow_nan=False))
    assert len(CLAIM.judge(m)) == 6
    assert len(CLAIM.draw(m)) == 3


@pytest.mark.slow
def test_the_full_budget_adds_the_softmax_classifier():
    m = json.loads(json.dumps(CLAIM.measure(ScriptedLab(budget="full")), allow_nan=False))
    assert list(m["nets"]) == ["MLP", "softmax classifier"]
    assert m["images"] == 300
    assert m["nets"]["softmax classifier"]["none"]["rate"] == 0.1
    _, of_mlp, of_softmax, table = CLAIM.draw(m)
    assert "no finding uses it" in of_softmax.caption
    assert "no finding" not in of_mlp.caption
    assert [row[5] for row in table.rows] == ["0.1"] * 4
    assert [row[7] for row in table.rows] == ["0.1*"] * 4  # the last of the rates
    assert len(table.header) == len(table.rows[0]) == 9


@pytest.fixture
def told(measured):
    """As on images whose pixels have a mean, and as many images as pixels."""
    made = json.loads(json.dumps(measured)) | {"tested": 10_000}
    conditions = dict(zip(KINDS, (1e9, 1e8, 1e8, 1.1e8), strict=True))
    accuracies = dict(zip(KINDS, (0.4, 0.45, 0.46, 0.46), strict=True))
    for kind in KINDS:
        made["spectra"][kind]["condition"] = conditions[kind]
        made["nets"]["MLP"][kind]["accuracy"] = [accuracies[kind] + d for d in (0, 0.01, 0.02)]
    return made


def verdicts(m):
    return [finding.verdict for finding in CLAIM.judge(m)]


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


def test_measurements_are_paired_by_seed_at_each_sides_best_rate(measured):
    assert measured["seeds"] == [0, 1, 2]
    for kind, of in measured["nets"]["MLP"].items():
        assert of["validation"][of["rates"].index(of["rate"])] == max(of["validation"])
        assert of["rate"] == 0.1
        assert of["validation"][-1] == 0.1  # chance: it diverged
        assert not of["at_edge"]
        assert of["accuracy"][2] == pytest.approx(0.402 + list(KINDS).index(kind) / 100)


def test_the_best_rate_alone_is_trained_on_every_seed():
    lab = ScriptedLab()
    _compare(lab, MLP, (0.01, 0.03, 0.1, 0.3), [0, 1, 2])
    for kind in KINDS:
        of_kind = [command for command in lab.commands if f" preprocess={kind} " in command]
        assert [c.split("optim.lr=")[1] for c in of_kind] == [
            *(f"{rate} seed=0" for rate in (0.01, 0.03, 0.1, 0.3)),
            "0.1 seed=1",
            "0.1 seed=2",
        ]
        assert all("trainer.max_epochs=2 data.train_share=1.0" in c for c in of_kind)


def test_trainings_that_all_diverge_are_judged_and_drawn(told):
    class Lost(ScriptedLab):
        def train(self, *overrides, seed=None):
            return Run("", seed, [], 0.1, 0.0, 1, True, {})

    lost = _compare(Lost(), MLP, (0.01, 0.03, 0.1, 0.3), [0, 1, 2])
    told["nets"]["MLP"] = json.loads(json.dumps(lost, allow_nan=False))
    assert verdicts(told)[2:5] == ["does not hold"] * 3
    assert len(CLAIM.draw(told)) == 3


def test_spectra_descend_and_centring_lowers_the_largest(measured):
    spectra = measured["spectra"]
    assert all(s["values"] == sorted(s["values"], reverse=True) for s in spectra.values())
    assert all(s["ranks"][0] == 1 and s["ranks"][-1] == 3073 for s in spectra.values())
    assert spectra["none"]["largest"] > 3 * spectra["channel_mean"]["largest"]
    _, data = SmallLab().assemble("model=softmax")
    x = data.train_inputs().double().flatten(1) / 255
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    largest = torch.linalg.matrix_norm(x, 2).item() ** 2 / len(x)
    assert spectra["none"]["largest"] == pytest.approx(largest)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda m: m["spectra"]["none"].update(condition=1.5e8), 0),
        (lambda m: m["spectra"]["channel_standardize"].update(condition=1e7), 1),
        (lambda m: m["nets"]["MLP"]["mean_image"].update(accuracy=[0.4, 0.41, 0.42]), 3),
        (lambda m: m["nets"]["MLP"]["channel_standardize"].update(accuracy=[0.5, 0.51, 0.52]), 5),
        (lambda m: m.update(classes=2), 2),  # 46 % are less than chance
    ],
)
def test_other_measurements_are_judged_otherwise(told, change, finding):
    assert verdicts(told) == ["holds"] * 6
    change(told)
    expected = ["holds"] * 6
    expected[finding] = "does not hold"
    assert verdicts(told) == expected


def test_the_channel_mean_must_help_too(told):
    told["nets"]["MLP"]["channel_mean"]["accuracy"] = [0.4, 0.41, 0.42]
    assert verdicts(told)[4] == "does not hold"


def test_a_difference_within_luck_on_few_test_images_is_none(told):
    assert CLAIM.judge(told)[3].at_least == pytest.approx(1.386, abs=1e-3)
    told["tested"] = 100
    assert verdicts(told)[3:] == ["does not hold", "does not hold", "holds"]


def test_what_is_drawn_holds_the_numbers(told):
    spectra, rates, table = CLAIM.draw(told)
    assert [type(item) for item in (spectra, rates, table)] == [Plot, Plot, Table]
    assert [trace.y[0] for trace in spectra.figure.data] == pytest.approx([1.0] * 4, rel=1e-3)
    for trace, of in zip(rates.figure.data, told["nets"]["MLP"].values(), strict=True):
        assert list(trace.y) == pytest.approx([100 * v for v in of["validation"]], abs=0.01)
    assert table.rows[0][3] == "1e+09"
    assert table.rows[-1][-1] == "46.0, 47.0, 48.0"
