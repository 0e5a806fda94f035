import dataclasses
import math
import os

import numpy as np
import pytest
import torch

from lecture4.data import Dataset, make_rings
from lecture4.data import load_cifar10 as read_cifar10
from lecture4.data.preprocess import (
    ChannelMean,
    ChannelStandardize,
    FullScale,
    MeanImage,
    Polar,
)
from lecture4.training.datamodule import DataModule

SHAPE = (3, 5, 4)
FITTED = [MeanImage, ChannelMean, ChannelStandardize]


def random_images(n=2500, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([256, 100, 30])[:, None, None]
    return (torch.rand(n, *SHAPE, generator=generator) * scale).to(torch.uint8)


def in_numpy(kind, images):
    """Mean and std of x = image/255, in float64."""
    x = images.numpy().astype(np.float64) / 255
    if kind is MeanImage:
        return x.mean(0), np.ones(())
    mean = x.mean((0, 2, 3), keepdims=True)[0]
    return mean, x.std((0, 2, 3), keepdims=True)[0] if kind is ChannelStandardize else np.ones(())


@pytest.mark.parametrize("kind", FITTED)
def test_statistics_are_those_of_numpy(kind):
    images = random_images()
    preprocess = kind(SHAPE)
    assert preprocess.fit(images) is preprocess
    mean, std = in_numpy(kind, images)
    assert preprocess.mean.shape == mean.shape
    np.testing.assert_allclose(preprocess.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(preprocess.std, np.broadcast_to(std, mean.shape), rtol=1e-6)


@pytest.mark.parametrize("kind", FITTED)
def test_output_is_the_formula(kind):
    images, others = random_images(), random_images(40, seed=1)
    mean, std = in_numpy(kind, images)
    x = kind(SHAPE).fit(images)(others)
    assert x.dtype == torch.float32
    assert x.shape == others.shape
    expected = (others.numpy().astype(np.float64) / 255 - mean) / std
    np.testing.assert_allclose(x, expected, atol=1e-5)


def test_fitted_images_are_centred_and_scaled():
    images = random_images()
    x = ChannelStandardize(SHAPE).fit(images)(images).double()
    assert x.mean((0, 2, 3)).abs().max() < 1e-5
    assert x.std((0, 2, 3), correction=0).allclose(torch.ones(3, dtype=torch.float64), atol=1e-5)
    assert MeanImage(SHAPE).fit(images)(images).double().mean(0).abs().max() < 1e-5


def test_none_divides_images_by_255_and_leaves_points():
    images, points = random_images(10), torch.randn(10, 2)
    plain = FullScale(SHAPE).fit(images)
    assert plain(images).allclose(images / 255, atol=1e-6)
    assert torch.equal(FullScale((2,)).fit(points)(points), points)


@pytest.mark.parametrize("kind", [FullScale, *FITTED])
def test_inputs_are_not_changed(kind):
    images = random_images(20)
    floats = images / 255
    before, floats_before = images.clone(), floats.clone()
    preprocess = kind(SHAPE).fit(images)
    preprocess(images)
    preprocess(floats)
    assert torch.equal(images, before)
    assert torch.equal(floats, floats_before)


@pytest.mark.parametrize("kind", FITTED)
def test_fitting_again_forgets_the_first_fit(kind):
    first, second = random_images(50), random_images(70, seed=3)
    twice, once = kind(SHAPE).fit(first).fit(second), kind(SHAPE).fit(second)
    assert torch.equal(twice.mean, once.mean)
    assert torch.equal(twice.std, once.std)


@pytest.mark.parametrize("kind", [FullScale, *FITTED])
def test_floats_are_in_units_of_white_in_fit_and_in_forward(kind):
    images, others = random_images(), random_images(40, seed=1)
    of_bytes, of_floats = kind(SHAPE).fit(images), kind(SHAPE).fit(images / 255)
    torch.testing.assert_close(of_floats.state_dict(), of_bytes.state_dict(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(of_floats(others / 255), of_bytes(others), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [FullScale, *FITTED])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool, torch.complex64])
def test_numbers_without_a_unit_are_refused(kind, dtype):
    images = random_images(10).to(dtype)
    with pytest.raises(ValueError, match=f"uint8 images or floats, not {dtype}"):
        kind(SHAPE)(images)
    if kind in FITTED:
        with pytest.raises(ValueError, match=f"uint8 images or floats, not {dtype}"):
            kind(SHAPE).fit(images)


@pytest.mark.parametrize("kind", [FullScale, *FITTED])
@pytest.mark.parametrize("wrong", [2.0, 255.0, -0.1, math.nan])
def test_images_of_floats_outside_0_to_1_are_refused_in_fit_and_in_forward(kind, wrong):
    images = random_images(10)
    floats = images / 255
    floats[3, 1, 2, 2] = wrong
    with pytest.raises(ValueError, match=r"must lie between 0 and 1.*divide by 255"):
        kind(SHAPE).fit(images)(floats)
    if kind in FITTED:
        with pytest.raises(ValueError, match="must lie between 0 and 1"):
            kind(SHAPE).fit(floats)


@pytest.mark.parametrize("kind", [FullScale, *FITTED])
def test_a_single_image_passes_and_another_shape_is_refused(kind):
    images = random_images(10)
    fitted = kind(SHAPE).fit(images)
    assert torch.equal(fitted(images[0]), fitted(images[:1])[0])
    for shape in ((2, 1, 5, 4), (4,), (3,)):
        with pytest.raises(ValueError, match=rf"{kind.__name__} of inputs of shape \(3, 5, 4\)"):
            fitted(torch.zeros(shape, dtype=torch.uint8))


@pytest.mark.parametrize("kind", [FullScale, *FITTED])
def test_statistics_of_channels_hold_for_images_of_any_size(kind):
    fitted = kind(SHAPE).fit(random_images(10))
    smaller = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    if kind is MeanImage:
        with pytest.raises(ValueError, match=r"MeanImage of inputs of shape \(3, 5, 4\)"):
            fitted(smaller)
    else:
        assert fitted(smaller).shape == smaller.shape


def test_images_of_one_pixel_and_of_none():
    pixels = torch.tensor([[[[0]]], [[[255]]]], dtype=torch.uint8)
    assert ChannelStandardize((1, 1, 1)).fit(pixels)(pixels).flatten().tolist() == [-1, 1]
    with pytest.raises(ValueError, match="takes images"):
        MeanImage((3, 0, 4))


def test_polar_refuses_complex_points_and_other_shapes():
    for wrong in (torch.ones(3, 2, dtype=torch.complex64), torch.ones(2, 3)):
        with pytest.raises(ValueError, match="Polar"):
            Polar((2,))(wrong)
    assert Polar((2,))(torch.tensor([3, 4])).tolist() == pytest.approx([5, math.atan2(4, 3)])


@pytest.mark.parametrize("kind", [FullScale, *FITTED, Polar])
def test_an_empty_batch_stays_empty(kind):
    shape = (2,) if kind is Polar else SHAPE
    for dtype in (torch.uint8, torch.float32):
        empty = kind(shape)(torch.zeros(0, *shape, dtype=dtype))
        assert (empty.shape, empty.dtype) == ((0, *shape), torch.float32)


@pytest.mark.parametrize("kind", FITTED)
@pytest.mark.parametrize("shape", [(0, *SHAPE), (7, 1, 5, 4), (7, 3, 5, 5), (7, 3)])
def test_statistics_of_no_images_or_of_others_are_refused(kind, shape):
    with pytest.raises(ValueError, match=r"at least one image of shape \(3, 5, 4\)") as error:
        kind(SHAPE).fit(torch.zeros(shape, dtype=torch.uint8))
    assert str(shape) in str(error.value)
    with pytest.raises(ValueError, match="at least one image"):
        kind(SHAPE).fit(random_images(5), torch.arange(0))


@pytest.mark.parametrize("kind", FITTED)
def test_statistics_of_rows_are_those_of_a_copy_and_gather_few_at_once(kind, monkeypatch):
    images = random_images(2500)
    index = torch.randperm(2500)[:2100]
    expected = kind(SHAPE).fit(images[index]).state_dict()
    gathered, select = [], torch.Tensor.index_select

    def record(inputs, dim, some):
        gathered.append(len(some))
        return select(inputs, dim, some)

    monkeypatch.setattr(torch.Tensor, "index_select", record)
    found = kind(SHAPE).fit(images, index).state_dict()
    assert gathered == [256] * 8 + [52]
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    gathered.clear()
    monkeypatch.setattr("lecture4.data.preprocess.CHUNK", 100 * 60)
    kind(SHAPE).fit(images, index)
    assert gathered == [100] * 21


def test_statistics_of_the_brightest_images_are_exact():
    """A chunk's sum of squares just fits into float32."""
    images = torch.full((300, *SHAPE), 255, dtype=torch.uint8)
    images[::2, 0] = 254
    preprocess = ChannelStandardize(SHAPE).fit(images)
    assert preprocess.mean.flatten().tolist() == pytest.approx([254.5 / 255, 1, 1], rel=1e-7)
    assert preprocess.std.flatten().tolist() == pytest.approx([0.5 / 255, 1, 1], rel=1e-6)


@pytest.mark.parametrize("kind", FITTED)
def test_state_dict_round_trip(kind, tmp_path):
    images = random_images(100)
    fitted, fresh = kind(SHAPE).fit(images), kind(SHAPE)
    assert not torch.equal(fresh(images), fitted(images))
    torch.save(fitted.state_dict(), tmp_path / "state.pt")
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(fresh(images), fitted(images))


@pytest.mark.parametrize("kind", FITTED)
@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_channel_stays_finite(kind, value):
    images = random_images(1500)
    images[:, 1] = value
    x = kind(SHAPE).fit(images)(images)
    assert x.isfinite().all()
    assert x[:, 1].abs().max() < 1e-5


def test_a_nearly_constant_channel_is_still_scaled():
    images = torch.full((1000, *SHAPE), 200, dtype=torch.uint8)
    images[0, :, 0, 0] = 201
    preprocess = ChannelStandardize(SHAPE).fit(images)
    p = 1 / images[:, 0].numel()
    assert preprocess.std.flatten().tolist() == pytest.approx(
        [math.sqrt(p * (1 - p)) / 255] * 3, rel=1e-3
    )


def leak_module(train_inputs, test_inputs):
    labels = torch.arange(len(train_inputs)) % 4
    names = ["a", "b", "c", "d"]
    test_labels = torch.arange(len(test_inputs)) % 4
    return DataModule(Dataset(names, train_inputs, labels, test_inputs, test_labels), val_size=0.25)


@pytest.mark.parametrize("kind", FITTED)
def test_nothing_leaks_from_validation_or_test(kind):
    images, test = random_images(400), random_images(100, seed=9)
    data = leak_module(images, test)
    statistics = kind(SHAPE).fit(data.train_inputs()).state_dict()

    other_val = images.clone()
    other_val[data.val_index] = 255 - other_val[data.val_index]
    changed = kind(SHAPE).fit(leak_module(other_val, 255 - test).train_inputs()).state_dict()
    assert all(torch.equal(statistics[name], changed[name]) for name in statistics)

    other_train = images.clone()
    other_train[data.train_index[0]] = 255 - other_train[data.train_index[0]]
    changed = kind(SHAPE).fit(leak_module(other_train, test).train_inputs()).state_dict()
    assert not torch.equal(statistics["mean"], changed["mean"])


def test_train_inputs_are_the_training_split():
    images = random_images(40)
    data = leak_module(images, images[:8])
    assert torch.equal(data.train_inputs(), images[data.train_index])
    assert len(data.train_inputs()) == 30


@pytest.mark.parametrize(
    ("point", "r", "theta"),
    [
        ((3.0, 4.0), 5.0, math.atan2(4, 3)),
        ((0.0, 2.0), 2.0, math.pi / 2),
        ((-1.0, 0.0), 1.0, math.pi),
        ((-1.0, -1.0), math.sqrt(2), -3 * math.pi / 4),
        ((0.0, 0.0), 0.0, 0.0),
    ],
)
def test_polar(point, r, theta):
    output = Polar((2,))(torch.tensor([point]))
    assert output.dtype == torch.float32
    assert output.tolist()[0] == pytest.approx([r, theta], abs=1e-6)


def test_polar_of_many_points_goes_back():
    points = make_rings(100, 10).train_inputs
    r, theta = Polar((2,))(points).unbind(1)
    assert torch.stack([r * theta.cos(), r * theta.sin()], 1).allclose(points, atol=1e-6)


@pytest.mark.parametrize("kind", FITTED)
@pytest.mark.parametrize("shape", [(2,), (5, 5), (1, 3, 5, 5)])
def test_image_preprocessing_refuses_what_is_no_image(kind, shape):
    with pytest.raises(ValueError, match=r"preprocess=none") as caught:
        kind(shape)
    assert kind.__name__ in str(caught.value)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("shape", [(3,), (3, 32, 32), (1,)])
def test_polar_refuses_what_is_no_point(shape):
    with pytest.raises(ValueError, match="Polar takes points") as caught:
        Polar(shape)
    assert str(shape) in str(caught.value)
    assert "data=rings" in str(caught.value)


def test_statistics_are_buffers_and_not_parameters():
    preprocess = ChannelStandardize(SHAPE)
    assert set(dict(preprocess.named_buffers())) == {"mean", "std"}
    assert not list(preprocess.parameters())


@pytest.mark.skipif("CIFAR10_ROOT" not in os.environ, reason="CIFAR10_ROOT names no real data")
def test_the_std_of_cifar10_is_that_of_all_pixels():
    dataset = read_cifar10(os.environ["CIFAR10_ROOT"])
    preprocess = ChannelStandardize((3, 32, 32)).fit(dataset.train_inputs)
    std = preprocess.std.flatten().tolist()
    assert [round(s, 4) for s in std] == [0.2470, 0.2435, 0.2616]
    mean = preprocess.mean.flatten().tolist()
    assert [round(m, 4) for m in mean] == [0.4914, 0.4822, 0.4465]


def test_datasets_are_frozen():
    dataset = make_rings(10, 10)
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.class_names = []
