import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lecture4.data.augment import Flip, NoAugment, _alternating
from lecture4.data.randomness import mix

SHAPE = (3, 8, 6)


def random_images(n, shape=SHAPE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8)


def every_version(image, crop):
    """Each crop of the image padded by reflection, plain and mirrored: (moves, 2, C, H, W)."""
    _, height, width = image.shape
    padded = F.pad(image[None].double(), (crop,) * 4, mode="reflect")[0].to(image.dtype)
    moves = itertools.product(range(2 * crop + 1), repeat=2)
    crops = [padded[:, dy : dy + height, dx : dx + width] for dy, dx in moves]
    return torch.stack([torch.stack([c, c.flip(2)]) for c in crops])


def versions_drawn(images, augmented, crop):
    """Which version each augmented image is; fails where it is none."""
    drawn = []
    for image, new in zip(images, augmented, strict=True):
        same = (every_version(image, crop) == new).flatten(2).all(2).nonzero()
        assert len(same) >= 1
        drawn.append(tuple(same[0].tolist()))
    return drawn


@pytest.mark.parametrize("crop", [0, 1, 2, 5])
def test_each_image_is_a_crop_or_mirror_of_itself(crop):
    images = random_images(300)
    augmented = Flip(SHAPE, crop)(images, 0, 1, torch.arange(300))
    assert augmented.dtype == torch.uint8
    versions_drawn(images, augmented, crop)


def test_every_version_occurs_about_as_often():
    images = random_images(5000)
    drawn = versions_drawn(images, Flip(SHAPE, 2)(images, 3, 0, torch.arange(5000)), 2)
    counts = torch.zeros(25, 2)
    for move, mirrored in drawn:
        counts[move, mirrored] += 1
    assert (counts > 0).all()
    chi_square = ((counts - 100) ** 2 / 100).sum().item()
    assert chi_square < 95  # 49 degrees of freedom
    assert counts[:, 1].sum().item() == pytest.approx(2500, abs=180)


def test_flip_alone_mirrors_about_half_and_moves_none():
    images = random_images(4000)
    augmented = Flip(SHAPE)(images, 0, 0, torch.arange(4000))
    mirrored = (augmented == images.flip(3)).flatten(1).all(1)
    same = (augmented == images).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert mirrored.double().mean().item() == pytest.approx(0.5, abs=0.03)


def test_copies_of_one_image_get_different_draws():
    images = random_images(1).expand(500, -1, -1, -1)
    augmented = Flip(SHAPE, 2)(images, 0, 0, torch.arange(500))
    assert len(augmented.unique(dim=0)) == 50


def test_channels_move_together():
    images = random_images(50, (1, 8, 6)).expand(-1, 3, -1, -1)
    augmented = Flip(SHAPE, 2)(images, 0, 0, torch.arange(50))
    assert torch.equal(augmented[:, :1].expand_as(augmented), augmented)


def test_a_draw_depends_on_its_index_and_not_on_the_batch():
    images, augment = random_images(60), Flip(SHAPE, 2)
    index = torch.arange(1000, 1060)
    together = augment(images, 5, 2, index)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    assert torch.equal(augment(images[order], 5, 2, index[order]), together[order])
    one_by_one = [augment(images[i : i + 1], 5, 2, index[i : i + 1]) for i in range(60)]
    assert torch.equal(torch.cat(one_by_one), together)
    torch.rand(10)
    assert torch.equal(augment(images, 5, 2, index), together)


@pytest.mark.parametrize("words", [(6, 2), (5, 3), (2, 5)])
def test_another_seed_or_epoch_draws_anew(words):
    images, augment, index = random_images(60), Flip(SHAPE, 2), torch.arange(60)
    before, after = augment(images, 5, 2, index), augment(images, *words, index)
    same = (before == after).flatten(1).all(1)
    assert same.sum() < 10


def test_without_words_torchs_generator_decides():
    images, augment = random_images(60), Flip(SHAPE, 2)
    torch.manual_seed(0)
    first, second = augment(images), augment(images)
    torch.manual_seed(0)
    assert torch.equal(augment(images), first)
    assert not torch.equal(first, second)
    versions_drawn(images, first, 2)


def test_with_words_torchs_generator_is_left_alone():
    before = torch.get_rng_state()
    Flip(SHAPE, 2)(random_images(5), 0, torch.arange(5))
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_is_the_identity():
    images = random_images(20)
    assert torch.equal(Flip(SHAPE, 2).eval()(images, 0, 0, torch.arange(20)), images)


def test_the_batch_is_not_changed():
    images = random_images(20)
    before = images.clone()
    Flip(SHAPE, 2)(images, 0, 0, torch.arange(20))
    assert torch.equal(images, before)


def test_floats_are_moved_as_they_are():
    images, index = random_images(20), torch.arange(20)
    augment = Flip(SHAPE, 2)
    assert torch.equal(augment(images.float(), 1, index), augment(images, 1, index).float())


@pytest.mark.parametrize("words", [(), (0, 3, torch.arange(0))])
@pytest.mark.parametrize("kind", [Flip, NoAugment])
def test_an_empty_batch_stays_empty(kind, words):
    empty = torch.zeros(0, 3, 6, 5, dtype=torch.uint8)
    assert kind((3, 6, 5)).train()(empty, *words).shape == (0, 3, 6, 5)


def test_none_is_the_identity_on_anything():
    points = torch.randn(5, 2)
    assert NoAugment((2,))(points, 0, 0, torch.arange(5)) is points


@pytest.mark.parametrize("shape", [(2,), (8, 8)])
def test_refuses_points(shape):
    with pytest.raises(ValueError, match="augment=none") as caught:
        Flip(shape)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("shape", [SHAPE, (2, 3, 2, 2), (3, 8)])
def test_what_is_no_batch_of_large_enough_images_is_refused(shape):
    with pytest.raises(ValueError, match=r"Flip with crop=2 takes images \(N, C, H, W\)"):
        Flip(SHAPE, 2)(torch.zeros(shape))


@pytest.mark.parametrize("index", [torch.arange(3), torch.arange(20).int(), 7])
def test_words_that_give_no_draw_for_each_image_are_refused(index):
    with pytest.raises(ValueError, match=r"20 images needs an int64 tensor of shape \(20,\)"):
        Flip(SHAPE)(random_images(20), 0, index)


def test_images_of_one_pixel_stay_as_they_are():
    images = random_images(5, (3, 1, 1))
    assert torch.equal(Flip((3, 1, 1))(images), images)


@pytest.mark.parametrize("crop", [-1, 6, 20, 1.5, True])
def test_refuses_a_crop_that_cannot_be(crop):
    with pytest.raises(ValueError, match=f"crop={crop} must be at least 0 and less than .* 6"):
        Flip(SHAPE, crop)


def test_the_key_of_a_draw_is_all_its_words():
    """Draws of (seed, epoch) = (1, 2) and (2, 1) must differ, and so must swapped epochs."""
    assert len({int(mix(a, b, c)) for a in range(5) for b in range(5) for c in range(5)}) == 125


ALTERNATING = Flip(SHAPE, alternate=True)


def mirrored(images, augmented):
    return (augmented == images.flip(3)).flatten(1).all(1)


def test_alternating_shows_each_image_both_ways_in_two_epochs():
    images, index = random_images(4000), torch.arange(4000)
    first, second, third = (ALTERNATING(images, 7, epoch, index) for epoch in (0, 1, 2))
    assert torch.equal(second, first.flip(3))
    assert torch.equal(third, first)
    drawn = mirrored(images, first)
    assert (drawn ^ (first == images).flatten(1).all(1)).all()
    assert drawn.double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (drawn != mirrored(images, ALTERNATING(images, 8, 0, index))).sum() > 1500


def test_alternating_follows_the_index_and_not_the_batch():
    images, index = random_images(60), torch.arange(1000, 1060)
    together = ALTERNATING(images, 5, 3, index)
    one_by_one = [ALTERNATING(images[i : i + 1], 5, 3, index[i : i + 1]) for i in range(60)]
    assert torch.equal(torch.cat(one_by_one), together)


def test_alternating_leaves_the_shifts_as_they_are():
    images, index = random_images(300), torch.arange(300)
    alternating, free = (Flip(SHAPE, 2, alternate=a)(images, 0, 4, index) for a in (True, False))
    moves = [versions_drawn(images, augmented, 2) for augmented in (alternating, free)]
    assert [move for move, _ in moves[0]] == [move for move, _ in moves[1]]
    assert moves[0] != moves[1]


@pytest.mark.parametrize("words", [(), (0, torch.arange(5))])
def test_alternating_needs_the_epoch(words):
    with pytest.raises(ValueError, match="seed, epoch and index"):
        ALTERNATING(random_images(5), *words)


def test_cutout_fills_one_square_inside_each_image():
    n, side, fill = 6000, 3, torch.tensor([10.4, 20.0, 30.0]).view(3, 1, 1)
    images = torch.full((n, *SHAPE), 200, dtype=torch.uint8)
    cut = Flip(SHAPE, cutout=side, fill=fill)(images, 0, 0, torch.arange(n))
    assert cut.dtype == torch.uint8
    inside = cut[:, 0] != 200  # (N, H, W)
    assert torch.equal(cut, torch.where(inside[:, None], fill.round(), images).byte())
    assert (inside.sum((1, 2)) == side * side).all()
    rows, columns = inside.any(2), inside.any(1)
    places = rows.int().argmax(1) * 4 + columns.int().argmax(1)  # 6 × 4 corners
    for line in (rows, columns):
        assert (line.sum(1) == side).all()
        first = line.int().argmax(1)
        assert line.gather(1, first[:, None] + torch.arange(side)).all()
    counts = torch.bincount(places, minlength=24)
    assert ((counts - 250) ** 2 / 250).sum().item() < 50  # 23 degrees of freedom


def test_cutout_leaves_the_rest_as_it_was():
    images, index = random_images(200), torch.arange(200)
    whole, cut = (Flip(SHAPE, 2, cutout=c, fill=7.0)(images, 0, 1, index) for c in (0, 4))
    assert ((cut == whole) | (cut == 7)).all()
    assert (cut != whole).flatten(1).any(1).all()


@pytest.mark.parametrize("cutout", [-1, 7])
def test_refuses_a_square_that_cannot_be(cutout):
    with pytest.raises(ValueError, match=f"cutout={cutout} must be at least 0 and at most .* 6"):
        Flip(SHAPE, cutout=cutout)


def test_torch_computes_what_numpy_does():
    """On a GPU torch places the pixels, on the CPU NumPy."""
    images, augment = random_images(50), Flip(SHAPE, 2, alternate=True, cutout=3, fill=9.0)
    u = torch.rand(5, 50, 1, dtype=torch.float64)
    made = []
    for xp, (_, *drawn) in ((torch, u), (np, u.numpy())):
        mirrored = _alternating(3, 1, torch.arange(50), xp=xp)
        moved = augment._moved(images, mirrored, *drawn[:2], xp)
        made.append(augment._cut(moved, *drawn[2:], xp=xp))
    assert torch.equal(*made)
    assert (made[0] == 9).flatten(1).sum(1).min() >= 3 * 3 * 3
