import json

import pytest
import torch
from claiming import SmallLab
from running import SMALL

from lecture4.byhand import nn
from lecture4.byhand.optim import Adam
from lecture4.lesson.lab import Lab, accuracy, scores_of

RUN = (*SMALL, "model=mlp", "model.hidden=[16]", "trainer.max_epochs=2", "trainer.accelerator=cpu")


def test_a_training_is_that_of_train_py(job, tmp_path):
    run = Lab().train(*RUN, seed=3)
    metric, folder = job(*RUN[4:], "seed=3")
    results = json.loads((folder / "results.json").read_text())
    assert run.accuracy == results["test_accuracy"]
    assert max(run.curve("val/accuracy")) == metric
    assert run.parameters == results["parameters"]
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(run.weights[name], best[name]) for name in best)
    assert run.command == "python train.py " + " ".join(
        f"'{w}'" if "[" in w else w for w in (*RUN, "seed=3")
    )


def test_the_pages_data_is_used_where_none_is_named():
    lab = Lab(data="shapes")
    assert lab.compose("model=softmax").data.source._target_ == "lecture4.data.make_shapes"
    assert (
        lab.compose("data=rings", "model=softmax").data.source._target_
        == "lecture4.data.make_rings"
    )
    there = Lab(data="cifar10", root="/somewhere").compose("model=softmax")
    assert there.data.root == "/somewhere"


def test_a_dataset_is_loaded_once():
    lab = Lab()
    first = lab.assemble(*RUN)[1].dataset
    assert lab.assemble(*RUN, seed=5)[1].dataset is first
    assert lab.assemble(*RUN, "data.train_size=200")[1].dataset is not first


def test_seeds_and_budget():
    lab = Lab(budget="quick", seed=7)
    assert lab.seeds(4) == [7, 8, 9, 10]
    assert lab.pick(1, 2) == 1
    assert Lab(budget="full").pick(1, 2) == 2
    assert lab.compose("model=softmax").seed == 7


def test_a_training_is_kept_and_not_done_again(tmp_path, monkeypatch):
    first = Lab(cache=tmp_path).train(*RUN)
    monkeypatch.setattr("lecture4.lesson.lab.trainings._train", None)  # cannot be called
    lab = Lab(cache=tmp_path)
    again = lab.train(*RUN)
    assert again.history == first.history
    assert all(torch.equal(again.weights[name], w) for name, w in first.weights.items())
    assert lab.commands == [first.command]
    with pytest.raises(TypeError):
        lab.train(*RUN, "optim.lr=0.02")


def test_a_diverged_training_is_no_error():
    run = Lab().train(*RUN, "optim.lr=1e30")
    assert run.diverged
    assert run.accuracy == 0.1
    assert run.weights == {}


def test_the_trained_classifier_comes_back():
    lab = Lab()
    run = lab.train(*RUN, seed=1)
    classifier, data = lab.restore(run, *RUN)
    assert not classifier.training
    with torch.no_grad():
        scores = classifier(data.dataset.test_inputs)
    accuracy = (scores.argmax(1) == data.dataset.test_labels).double().mean().item()
    assert accuracy == run.accuracy


def test_what_is_done_is_told():
    told = []
    Lab(note=told.append).train(*RUN, seed=2)
    assert told == [" ".join([*RUN, "seed=2"])]


def test_a_comparison_takes_each_variant_at_its_rate_of_best_validation_accuracy():
    lab = Lab()
    variants = {"ReLU": [], "tanh": ["model.activation=tanh"]}
    compared = lab.compare(RUN, variants, (1e-9, 0.01, 1e30), [0, 1, 2])
    assert list(compared.variants) == ["ReLU", "tanh"]
    assert (compared.chance, compared.tested, compared.images) == (0.1, 60, 2 * 128)
    for name, variant in compared.variants.items():
        assert variant.validation[2] == 0.1  # diverged
        assert variant.best == 1
        assert compared.setting(name) == "0.01"
        alone = lab.train(*RUN, *variants[name], "optim.lr=0.01", seed=2)
        assert variant.accuracy[2] == alone.accuracy
        assert variant.curves[2] == alone.curve("val/accuracy")
        assert variant.parameters == alone.parameters
    trained = [command for command in lab.commands if "optim.lr=0.01" in command]
    assert len(trained) == 2 * 3 + 2  # each seed, and the two trainings of this test
    assert len(lab.commands) == len(trained) + 2 * 2  # the other rates, first seed alone


def test_rates_are_compared_for_several_optimizers():
    rates = {"sgd": (0.01, 0.03), "adam": (1e-3,)}
    small = SmallLab(script=lambda words, seed: 0.3 + float(words["optim.lr"]))
    compared = small.compare(["model=mlp"], {"MLP": []}, rates, [0, 1, 2])
    assert compared.settings == [("sgd", 0.01), ("sgd", 0.03), ("adam", 1e-3)]
    assert compared.setting("MLP") == "sgd 0.03*"
    words = [command.split() for command in small.commands]
    assert [w[w.index("model=mlp") + 1 : -1] for w in words] == [
        ["optim=sgd", "optim.lr=0.01"],
        ["optim=sgd", "optim.lr=0.03"],
        ["optim=adam", "optim.lr=0.001"],
        ["optim=sgd", "optim.lr=0.03"],
        ["optim=sgd", "optim.lr=0.03"],
    ]


@pytest.mark.parametrize(("images", "epochs"), [(3_000, 1), (9_000, 1), (9_001, 2), (27_000, 3)])
def test_a_length_is_as_many_images_as_asked(images, epochs):
    lab = Lab()
    words = lab.length(images)
    cfg = lab.compose(*words)
    assert cfg.trainer.max_epochs == epochs
    assert epochs * cfg.data.train_share * 9_000 == pytest.approx(images, rel=1e-3)


def test_the_images_of_an_epoch_are_those_that_it_shows():
    lab = Lab()
    settings = "model=softmax", "data.batch_size=100", "data.train_share=0.25"
    chunks = lab.assemble(*settings)[1].train_dataloader()
    shown = sum(len(labels) for chunk in chunks for _, labels, _ in chunk)
    assert lab.images_an_epoch(*settings) == shown == 2_200  # 22 of the 90 batches


def test_formulas_by_hand_are_one_setting():
    lab = Lab()
    words = "model=softmax", "optim=adam", "formulas=byhand"
    classifier = lab.assemble(*words)[0]
    assert classifier.optimizer.func is Adam
    assert type(classifier.model.scores) is nn.Linear


def test_what_diverged_is_restored_as_it_began():
    lab = Lab()
    run = lab.train(*RUN, "optim.lr=1e30")
    weight = lab.restore(run, *RUN)[0].model.scores.weight
    assert torch.equal(weight, lab.assemble(*RUN)[0].model.scores.weight)


def test_accuracy_is_the_share_of_highest_scores_at_the_label():
    assert accuracy(torch.nn.Identity(), torch.eye(4), torch.tensor([0, 1, 2, 0])) == 0.75


def test_scores_are_the_same_in_parts():
    model = torch.nn.Linear(3, 2)
    inputs = torch.randn(7, 3)
    scores = scores_of(model, inputs, at_once=2)
    assert torch.allclose(scores, model(inputs))
    assert not scores.requires_grad
