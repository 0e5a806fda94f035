"""Preprocessing and model in one module."""

import torch

from lecture4.data.preprocess import ChannelMean
from lecture4.models import SoftmaxClassifier
from lecture4.models.pipeline import Pipeline


def test_the_model_sees_preprocessed_inputs():
    images = torch.randint(0, 256, (5, 3, 2, 2), dtype=torch.uint8)
    prepare = ChannelMean((3, 2, 2)).fit(images)
    model = SoftmaxClassifier((3, 2, 2), 4, "he")
    pipeline = Pipeline(prepare, model)
    assert torch.equal(pipeline(images), model(prepare(images)))
    assert not torch.equal(pipeline(images), model(images / 255))


def test_its_keys_are_a_checkpoint_s():
    pipeline = Pipeline(ChannelMean((3, 2, 2)), SoftmaxClassifier((3, 2, 2), 4))
    parts = {name.partition(".")[0] for name in pipeline.state_dict()}
    assert parts == {"preprocess", "model"}
