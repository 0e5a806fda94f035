"""The LightningModule: the step, the objective, the metrics."""

import copy
import json
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from lecture4.byhand.optim import EMA, Lookahead, NoAverage
from lecture4.data import make_shapes, stratified_split
from lecture4.data.augment import Flip, NoAugment
from lecture4.data.preprocess import ChannelStandardize, FullScale
from lecture4.data.randomness import generator, mix
from lecture4.models import MLP, ConvNet, SoftmaxClassifier
from lecture4.training import formulas
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule
from lecture4.training.parameter_groups import weights
from lecture4.training.schedule import constant, cosine
from lecture4.training.trainer import bare_trainer

SHAPE = (3, 32, 32)
FORMULAS = pytest.mark.parametrize("name", ["torch", "byhand"])


def classifier(model: nn.Module | None = None, name: str = "torch", **settings) -> Classifier:
    torch.manual_seed(0)
    of_points = {"preprocess": FullScale((4,)), "augment": NoAugment((4,)), "schedule": constant}
    return Classifier(
        model=model or SoftmaxClassifier((4,), 3, init="he"),
        class_names=["a", "b", "c"],
        formulas=formulas.find(name),
        **{"optimizer": partial(torch.optim.SGD, lr=0.1), **of_points, **settings},
    )


def batch(n: int = 8):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(n, 4, generator=draw), torch.arange(n) % 3, torch.arange(n)


def with_optimizer(module: Classifier) -> Classifier:
    """Give the module what a Trainer would, for a step without one."""
    optimizer = module.make_optimizer(module.model)
    schedule = module.schedule(optimizer, 10)
    module.average.total_steps = 10
    module.optimizers, module.lr_schedulers = lambda: optimizer, lambda: schedule
    module.backpropagate = torch.Tensor.backward
    return module


def by_definition(module: Classifier, smoothing: float = 0.0) -> torch.Tensor:
    inputs, labels, _ = batch()
    p = torch.softmax(module(inputs), 1)
    target = (1 - smoothing) * torch.eye(3)[labels] + smoothing / 3
    return -(target * p.log()).sum(1).mean()


def objective(module: Classifier) -> torch.Tensor:
    inputs, labels, _ = batch()
    return module.objective(module(inputs), labels)


EPOCHS, BATCH = 2, 32


@pytest.fixture(scope="module")
def dataset():
    return make_shapes(train_size=330, test_size=20)


def net(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return MLP(SHAPE, 10, hidden=[16], dropout=0.5).to(dtype)


def lightning(
    dataset,
    precision: str = "32-true",
    share: float = 1.0,
    average=NoAverage,
    kind: type[Classifier] = Classifier,
    **settings,
) -> nn.Module:
    """Train as train.py does."""
    model = net()
    data = DataModule(dataset, val_size=30, batch_size=BATCH, train_share=share)
    module = kind(
        model=model,
        average=average(model),
        preprocess=ChannelStandardize(SHAPE).fit(data.train_inputs()),
        augment=Flip(SHAPE, crop=2),
        class_names=dataset.class_names,
        optimizer=partial(torch.optim.SGD, lr=0.05, momentum=0.9),
        schedule=cosine,
        formulas=formulas.find("torch"),
        **settings,
    )
    options = {"accelerator": "cpu", "precision": precision, "max_epochs": EPOCHS}
    bare_trainer(options, [], logger=False, enable_checkpointing=False).fit(module, data)
    return module.model


def written_out(
    dataset,
    autocast=None,
    dtype=torch.float32,
    share=1.0,
    penalty=0.0,
    clip=None,
    after_step=lambda model, t, total: None,
) -> nn.Module:
    """The same training as a loop in plain PyTorch."""
    train, _ = stratified_split(dataset.train_labels, 30, 0)
    model = net(dtype)
    prepare = ChannelStandardize(SHAPE).fit(dataset.train_inputs[train]).to(dtype)
    augment = Flip(SHAPE, crop=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    steps = int(share * (len(train) // BATCH))
    schedule = cosine(optimizer, EPOCHS * steps)
    for epoch in range(EPOCHS):
        order = train[torch.randperm(len(train), generator=generator(0, epoch))]
        for step, index in enumerate(order.split(BATCH)[:steps]):
            torch.manual_seed((mix(0, epoch) + step) % 2**63)
            with torch.autocast("cpu", autocast, enabled=autocast is not None):
                scores = model(prepare(augment(dataset.train_inputs[index], 0, epoch, index)))
                loss = cross_entropy(scores, dataset.train_labels[index])
                loss = loss + penalty * sum(w.square().sum() for w in weights(model))
            optimizer.zero_grad()
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            schedule.step()
            after_step(model, epoch * steps + step + 1, EPOCHS * steps)
    return model


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({}, {}),
        ({"precision": "64-true"}, {"dtype": torch.float64}),
        ({"precision": "bf16-mixed"}, {"autocast": torch.bfloat16}),
        ({"share": 0.5}, {"share": 0.5}),
        ({"penalty": formulas.TORCH.penalty("l2"), "penalty_strength": 0.01}, {"penalty": 0.01}),
        ({"gradient_clip_val": 0.1}, {"clip": 0.1}),
    ],
    ids=["float32", "float64", "bfloat16", "share", "penalty", "clip"],
)
def test_training_gives_the_weights_of_the_loop_written_out(dataset, settings, same):
    ours, theirs = lightning(dataset, **settings), written_out(dataset, **same)
    assert not torch.equal(ours.scores.weight, net().scores.weight)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def with_every_option(name: str, optimizer: str, **settings) -> Classifier:
    """A ConvNet with batch norm, dropout, penalty, smoothing, clipping, augmentation and a mean."""
    found = formulas.find(name)
    blocks = [{"channels": 4, "norm": "batch", "pool": {"kernel_size": 2}}, {"channels": 4}]
    model = ConvNet((3, 8, 8), 3, blocks, dropout=0.5, layers=found.nn)
    return classifier(
        model,
        name,
        preprocess=ChannelStandardize((3, 8, 8)),
        augment=Flip((3, 8, 8), crop=1),
        optimizer=found.optimizer(optimizer, lr=0.1, **settings),
        penalty=found.penalty("l2"),
        penalty_strength=0.1,
        label_smoothing=0.1,
        gradient_clip_val=1.0,
        average=Lookahead(model, every=2),
    )


@FORMULAS
@pytest.mark.parametrize("optimizer", ["SGD", "Muon"])
def test_no_step_of_a_chunk_waits_for_the_device(name, optimizer, monkeypatch):
    """On the meta device there are no numbers: item(), bool() and cpu() of a tensor raise."""
    module = with_every_option(name, optimizer, momentum=0.9).to("meta")
    images = torch.empty(6, 3, 8, 8, dtype=torch.uint8, device="meta")
    labels = torch.empty(6, dtype=torch.int64, device="meta")
    ended = []
    monkeypatch.setattr(module, "end_chunk", lambda: ended.append(module.record.steps))
    with_optimizer(module).training_step([(images, labels, labels)] * 3)
    assert ended == [3]
    with pytest.raises((RuntimeError, NotImplementedError)):
        module.record.end_chunk()  # the chunk's end is the one place that fetches numbers


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # a prototype of torch
@FORMULAS
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "Muon"])
def test_no_step_of_a_chunk_waits_for_the_gpu(name, optimizer, monkeypatch):
    settings = {"normalize": True} if optimizer == "Muon" else {"fused": None}
    module = with_every_option(name, optimizer, **settings).cuda()
    images = torch.zeros(8, 3, 8, 8, dtype=torch.uint8, device="cuda")
    labels = torch.arange(8, device="cuda") % 3
    chunk = [(images, labels, labels)] * 3
    with_optimizer(module).training_step(chunk)  # the first steps choose kernels
    ended = []
    monkeypatch.setattr(module, "end_chunk", lambda: ended.append(module.record.steps))
    try:
        torch.cuda.set_sync_debug_mode("error")
        module.training_step(chunk)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert ended == [6]


@pytest.mark.parametrize("kind", [EMA, Lookahead])
def test_the_mean_of_the_weights_is_validated_and_left_in_the_model(dataset, kind):
    seen, means = [], []
    mean = dict(net().named_parameters())

    class Watched(Classifier):
        def validation_step(self, batch):
            seen.append(copy.deepcopy(self.model.state_dict()))
            super().validation_step(batch)

    @torch.no_grad()
    def average(model, t, total):
        if t % 4 == 0:
            d = 0.9**4 * (t / total) ** 1.5
            for name, w in model.named_parameters():
                mean[name] = torch.lerp(mean[name], w, 1 - d)
                if kind is Lookahead:
                    w.copy_(mean[name])
        if t % (total // EPOCHS) == 0:
            means.append(dict(mean))

    settings = {"decay": 0.9, "every": 4, "power": 1.5}
    ours = lightning(dataset, average=partial(kind, **settings), kind=Watched)
    theirs = written_out(dataset, after_step=average)
    for found, mean_then in zip([*seen, ours.state_dict()], [*means, means[-1]], strict=True):
        assert all(torch.equal(found[name], w) for name, w in mean_then.items())
    assert not torch.equal(theirs.scores.weight, ours.scores.weight)


def test_a_checkpoint_holds_the_mean_that_was_validated(job, monkeypatch):
    validated, work = {}, Classifier.validation_step

    def watch(self, batch):
        validated.update(copy.deepcopy(self.model.state_dict()))
        work(self, batch)

    monkeypatch.setattr(Classifier, "validation_step", watch)
    words = ["model=mlp", "model.hidden=[8]", "average=ema", "average.every=1"]
    _, folder = job(*words, "data.batch_size=20", "trainer.max_epochs=1")
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(state[f"model.{name}"], w) for name, w in validated.items())
    assert not torch.equal(state["model.scores.weight"], state["average.scores/weight"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_step(value):
    module = with_optimizer(classifier(optimizer=partial(torch.optim.SGD, lr=0.25)))
    inputs, labels, index = batch()
    broken = inputs.clone()
    broken[0] = value
    chunk = [(inputs, labels, index), (broken, labels, index), (inputs, labels, index)]
    module.record.losses = [0.5] * 4  # an epoch that has begun
    module.trainer = type("Trainer", (), {"global_step": 107, "current_epoch": 2})()
    with pytest.raises(
        FloatingPointError, match=r"the loss became nan at step 105 \(epoch 3\).*0\.25"
    ):
        module.training_step(chunk)


def test_objective_is_mean_cross_entropy():
    module = classifier()
    torch.testing.assert_close(objective(module), by_definition(module))


@FORMULAS
@pytest.mark.parametrize(
    "settings",
    [{"label_smoothing": 0.2}, {"penalty": formulas.BYHAND.penalty("l2"), "penalty_strength": 0.5}],
)
def test_the_reported_loss_is_without_smoothing_and_penalty(settings, name):
    module = with_optimizer(classifier(name=name, **settings))
    expected = by_definition(module).item()
    module.training_step([batch()])
    assert module.record.losses == [pytest.approx(expected, rel=1e-5)]


def test_label_smoothing_changes_the_objective():
    module = classifier(label_smoothing=0.2)
    torch.testing.assert_close(objective(module), by_definition(module, 0.2))


@FORMULAS
@pytest.mark.parametrize(("kind", "power"), [("l2", 2), ("l1", 1)])
def test_the_penalty_is_over_weights_and_not_biases(kind, power, name):
    module = classifier(name=name, penalty=formulas.find(name).penalty(kind), penalty_strength=0.5)
    with torch.no_grad():
        module.model.scores.bias.fill_(100.0)
    expected = by_definition(module) + 0.5 * module.model.scores.weight.abs().pow(power).sum()
    torch.testing.assert_close(objective(module), expected)


@FORMULAS
def test_penalty_gradient_of_the_lecture(name):
    """∇ of λ Σ w² is 2 λ w, on top of the data's gradient."""
    plain = classifier(name=name)
    penalised = classifier(
        name=name, penalty=formulas.find(name).penalty("l2"), penalty_strength=0.5
    )
    objective(plain).backward()
    objective(penalised).backward()
    w = plain.model.scores.weight
    torch.testing.assert_close(penalised.model.scores.weight.grad, w.grad + 2 * 0.5 * w)
    torch.testing.assert_close(penalised.model.scores.bias.grad, plain.model.scores.bias.grad)


def test_test_metrics_do_not_depend_on_the_batches(job):
    results = []
    for size in (7, 60):
        _, folder = job("model=softmax", "trainer.max_epochs=1", f"data.eval_batch_size={size}")
        results.append(json.loads((folder / "results.json").read_text()))
    for name in ("test_accuracy", "val_accuracy"):
        assert results[0][name] == results[1][name]
    assert results[0]["test_loss"] == pytest.approx(results[1]["test_loss"], rel=1e-6)


MODELS = {
    "softmax": ["model=softmax"],
    "byhand": ["model=mlp", "model.hidden=[8]", "model.dropout=0.1", "formulas=byhand",
               "optim=adam", "penalty=l2", "penalty.strength=1e-3"],
    "convnet": ["model.blocks=[{channels: 4, norm: batch, pool: {}}]", "augment=flip_crop"],
    "search": ["model=softmax", "optim=random_search"],
}  # fmt: skip


@pytest.fixture(scope="module", params=MODELS)
def trained(request):
    """A classifier, its data, and the Trainer that fitted it for an epoch."""
    from running import SMALL, compose

    from lecture4.training.assemble import assemble

    cfg = compose(*SMALL, *MODELS[request.param], "trainer.accelerator=cpu", "trainer.max_epochs=1")
    module, data = assemble(cfg)
    trainer = bare_trainer(dict(cfg.trainer), [], logger=False, enable_checkpointing=False)
    before = copies(module)
    trainer.fit(module, data)
    return module, data, trainer, before


def copies(module: Classifier) -> list[Classifier]:
    by_value = pytest.importorskip("cloudpickle").dumps(module)
    return [pickle.loads(pickle.dumps(module)), pickle.loads(by_value), copy.deepcopy(module)]


def test_a_classifier_can_be_copied_before_and_after_training(trained):
    module, data, trainer, before = trained
    inputs = data.dataset.test_inputs
    for copied in copies(module):
        assert torch.equal(copied.eval()(inputs), module.eval()(inputs))
    for copied in before:  # and the copy can be trained
        trainer = bare_trainer(
            {"accelerator": "cpu", "precision": "32-true", "max_epochs": 1},
            [], logger=False, enable_checkpointing=False,
        )  # fmt: skip
        trainer.fit(copied.train(), DataModule(dataset=data.dataset, val_size=60))


@pytest.mark.parametrize("kind", ["inputs", "pairs", "loader", "data module"])
def test_a_trainer_predicts_scores(trained, kind):
    module, data, trainer, _ = trained
    inputs, labels = data.dataset.test_inputs, data.dataset.test_labels
    loader = {
        "inputs": lambda: DataLoader(inputs, batch_size=25),
        "pairs": lambda: DataLoader(TensorDataset(inputs, labels), batch_size=25),
        "loader": data.test_dataloader,
        "data module": lambda: data,
    }[kind]()
    scores = torch.cat(trainer.predict(module, loader))
    torch.testing.assert_close(scores, module.eval()(inputs), rtol=1e-4, atol=1e-5)
