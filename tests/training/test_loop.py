"""The short way through a batch ends where Lightning's ends."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from running import assert_same

from lecture4.data import shapes
from lecture4.data.augment import Flip
from lecture4.data.preprocess import ChannelStandardize
from lecture4.models import MLP
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule
from lecture4.training.loop import EpochLoop
from lecture4.training.schedule import cosine


class Listener(pl.Callback):
    """Listens to a hook that the short way leaves out."""

    calls = 0

    def on_after_backward(self, trainer, pl_module):
        self.calls += 1


def fit(own_loop: bool, callbacks=(), **options) -> tuple[pl.Trainer, Classifier]:
    torch.manual_seed(0)
    dataset = shapes(train_size=200, test_size=10)
    data = DataModule(dataset, val_size=40, batch_size=32)
    module = Classifier(
        MLP(dataset.input_shape, 10, hidden=[16], dropout=0.5),
        ChannelStandardize(dataset.input_shape).fit(data.train_inputs()),
        Flip(dataset.input_shape, crop=2),
        dataset.class_names,
        partial(torch.optim.SGD, lr=0.05, momentum=0.9),
        cosine,
    )
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        **options,
    )
    if own_loop:
        EpochLoop.install(trainer)
    trainer.fit(module, data)
    return trainer, module


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
def test_same_weights_and_same_checkpoint_as_lightning(precision):
    ours, theirs = (fit(own_loop, precision=precision) for own_loop in (True, False))
    assert ours[0].fit_loop.epoch_loop._short
    checkpoints = [trainer._checkpoint_connector.dump_checkpoint() for trainer, _ in (ours, theirs)]
    assert checkpoints[0]["global_step"] == 10
    assert_same(*checkpoints)


@pytest.mark.parametrize(
    "options", [{"gradient_clip_val": 0.01}, {"accumulate_grad_batches": 2}, {}]
)
def test_takes_lightnings_way_where_it_differs(options):
    listener = Listener()
    callbacks = [] if options else [listener]
    (ours, module), (_, other) = (fit(own, callbacks, **options) for own in (True, False))
    assert not ours.fit_loop.epoch_loop._short
    assert_same(module.state_dict(), other.state_dict())
    assert listener.calls == (0 if options else 20)


def test_a_limit_on_batches_is_kept():
    (ours, module), (_, other) = (fit(own, limit_train_batches=3) for own in (True, False))
    assert ours.fit_loop.epoch_loop._short
    assert ours.global_step == 6
    assert_same(module.state_dict(), other.state_dict())
