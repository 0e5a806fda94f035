"""Each layer that the page's script computes is that of torch; what has no page is refused."""

import base64
import copy
import json

import numpy as np
import pytest
import torch
from looking import CLASSES, NETS, convnet, described, fitted, some_images
from PIL import Image
from torch import nn

from lecture4.data.decode import RESIZES
from lecture4.data.preprocess import ChannelMean, FullScale, MeanImage
from lecture4.lesson.page.look_inside import describe, render_inside
from lecture4.models import MLP, SoftmaxClassifier
from lecture4.models.pipeline import Pipeline
from lecture4.runs.predictor import Predictor

COMPUTE = """(text) => {
  const data = JSON.parse(text);
  const net = inside.net.load(data);
  return data.images.map(({ pixels }) => {
    const image = Float32Array.from(inside.net.bytes(pixels));
    return inside.net.forward(net, image).map((v, l) => ({ shape: net[l].shape, values: [...v] }));
  });
}"""


def rounded(pipeline):
    """The net with the weights that travel in the page."""
    own = copy.deepcopy(pipeline)
    with torch.no_grad():
        for layer in own.model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                factor = layer.weight.abs().max()
                layer.weight.copy_((layer.weight / factor).half().float() * factor)
    return own


@torch.no_grad()
def layer_outputs(pipeline, inputs):
    """What each layer and residual block computes, in order, but for flatten and dropout."""
    outputs = []
    layers = [pipeline.preprocess, *pipeline.model.modules()]
    hooks = [
        layer.register_forward_hook(lambda layer, given, output: outputs.append(output))
        for layer in layers
        if getattr(layer, "residual", False)
        or not (any(layer.children()) or isinstance(layer, nn.Flatten | nn.Dropout | nn.Sequential))
    ]
    pipeline(inputs)
    for hook in hooks:
        hook.remove()
    return outputs


# The arithmetic.


@pytest.mark.parametrize("name", NETS)
def test_every_layer_is_that_of_torch(inside, name):
    pipeline = fitted(*NETS[name])
    images = some_images(2)
    found = inside.page.evaluate(COMPUTE, json.dumps(described(pipeline)))
    expected = layer_outputs(rounded(pipeline), images)
    assert len(found[0]) == len(expected)
    for layer, output in enumerate(expected):
        given = torch.stack([torch.tensor(image[layer]["values"]) for image in found])
        assert found[0][layer]["shape"] == [*output.shape[1:], 1, 1][:3]
        size = output.abs().max().item()
        torch.testing.assert_close(given, output.flatten(1), rtol=0, atol=2e-6 * max(1, size))
    scores = Predictor(pipeline, CLASSES).scores(images)
    torch.testing.assert_close(given, scores, rtol=0, atol=1e-2)


def test_one_channel_and_large_images(inside):
    shape = (1, 40, 40)
    pipeline = fitted(convnet({"channels": 3, "kernel_size": 7, "stride": 3}), MeanImage, shape)
    found = inside.page.evaluate(COMPUTE, json.dumps(described(pipeline, shape)))
    scores = Predictor(pipeline, CLASSES).scores(some_images(2, shape))
    given = torch.tensor([image[-1]["values"] for image in found])
    torch.testing.assert_close(given, scores, rtol=0, atol=1e-2)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_no_weight_over_or_underflows(inside, factor):
    pipeline = fitted(lambda shape: MLP(shape, 4, [8]), ChannelMean)
    with torch.no_grad():
        pipeline.model.hidden[0].weight.mul_(factor)
        pipeline.model.hidden[0].bias.zero_()
    found = inside.page.evaluate(COMPUTE, json.dumps(described(pipeline)))
    expected = layer_outputs(pipeline, some_images(2))[1]
    given = torch.tensor([image[1]["values"] for image in found])
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-3 * expected.abs().max().item())


def test_softmax_does_not_overflow(inside):
    p = inside.page.evaluate("inside.net.softmax([1000, 999, -1000])")
    assert p == pytest.approx(torch.tensor([1000.0, 999, -1000]).softmax(0).tolist(), abs=1e-6)
    power = "(s) => inside.words.power(s)"
    assert [inside.page.evaluate(power, s) for s in (0, 1000, -1000)] == [
        "1",
        "2.0e434",
        "5.1e−435",
    ]


def test_numbers_have_three_digits(inside):
    found = inside.page.evaluate(
        "[0, 0.0163261, -1.23456, 4213, 1e-5, -0.004, NaN].map(inside.words.amount)"
    )
    assert found == ["0", "0.0163", "−1.23", "4,210", "1.0e−5", "−0.004", "NaN"]
    found = inside.page.evaluate("[0, -0.001, -1.236, 12.34, 123.4].map(inside.words.brief)")
    assert found == ["0.00", "0.00", "−1.24", "12.3", "123"]


def test_sizes_and_their_arithmetic(inside):
    captions = inside.page.locator(".stack figcaption").all_inner_texts()
    assert captions[:3] == [
        "Preprocessing 3 colours of 12×12",
        "Convolution 3×3 5 maps of 12×12 (12 + 2·1 − 3)/1 + 1 = 12",
        "Max pooling 2×2 5 maps of 6×6 (12 + 2·0 − 2)/2 + 1 = 6",
    ]
    assert captions[-1] == "Scores 4 numbers, one for each class"
    odd = {"kind": "convolution", "kernel": [3, 2], "stride": [2, 1], "padding": [0, 1]}
    words = inside.page.evaluate(
        "(layer) => inside.words.arithmetic(layer)", odd | {"from": [3, 8, 8], "shape": [6, 3, 9]}
    )
    assert words == "height ⌊(8 + 2·0 − 3)/2⌋ + 1 = 3, width (8 + 2·1 − 2)/1 + 1 = 9"


# What is refused.


def test_models_of_points_and_broken_weights_are_refused():
    points = Pipeline(FullScale((2,)), SoftmaxClassifier((2,), 2))
    with pytest.raises(ValueError, match="classifies points of 2 coordinates; a page shows models"):
        describe(points, ["a", "b"])
    broken = fitted(*NETS["mlp"])
    with torch.no_grad():
        broken.model.scores.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="weights that are not finite numbers"):
        describe(broken, CLASSES)


def test_a_page_of_more_than_12_mb_is_refused():
    large = Pipeline(FullScale((3, 100, 100)), MLP((3, 100, 100), 4, [150]))
    with pytest.raises(
        ValueError, match=r"would have 12.2 MB for 4,500,754 weights and 0 images; 12"
    ):
        describe(large, CLASSES)
    small = Pipeline(FullScale((3, 100, 100)), SoftmaxClassifier((3, 100, 100), 4))
    images = [("x", torch.zeros(3, 100, 100, dtype=torch.uint8))]
    assert describe(small, CLASSES, images)
    with pytest.raises(ValueError, match="and 300 images; 12 MB is the limit"):
        describe(small, CLASSES, 300 * images)
    most = [(str(i), torch.zeros(3, 100, 100, dtype=torch.uint8)) for i in range(280)]
    assert 11.2e6 < len(render_inside(describe(small, CLASSES, most))) < 12e6


@pytest.mark.parametrize("how", RESIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_resized_as_pillow_does(inside, how, channels):
    """Bit for bit along one side; along two, Pillow 13 may begin with the columns."""
    draw = np.random.default_rng(0)
    for width, height in [(1, 1), (5, 40), (33, 32), (64, 47), (101, 7), (32, 50)]:
        picture = Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
        raw = np.asarray(picture).transpose(2, 0, 1).tobytes()
        found = inside.page.evaluate(
            """([text, width, height, shape, how]) => {
              const pixels = inside.net.bytes(text);
              return [...inside.image.fit({ pixels, width, height }, shape, how)];
            }""",
            [base64.b64encode(raw).decode(), width, height, [channels, 32, 32], how],
        )
        resized = RESIZES[how](picture.convert("RGB" if channels == 3 else "L"), (32, 32))
        expected = np.array(resized).reshape(32, 32, channels).transpose(2, 0, 1).ravel()
        apart = np.abs(np.array(found) - expected.astype(int))
        assert apart.max() <= (1 if width != 32 != height else 0), (width, height)
