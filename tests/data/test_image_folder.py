import struct

import numpy as np
import pytest
import torch
from PIL import Image

from lecture4.data import load_image_folder
from lecture4.data.image_folder import read_image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def plain(colour=RED, size=(10, 10)):
    return Image.new("RGB", size, colour)


@pytest.fixture
def root(tmp_path):
    """Two classes; class c has images of one colour each."""
    for split, n in (("train", 3), ("test", 2)):
        for name, colour in (("cat", RED), ("dog", BLUE)):
            for i in range(n):
                save(plain(colour, (9 + i, 20 - i)), tmp_path / split / name / f"{i}.png")
    return tmp_path


def colour_of(path, image_size=6):
    """The one colour of the image."""
    pixels = read_image(path, image_size)
    assert pixels.shape == (3, image_size, image_size)
    assert pixels.dtype == torch.uint8
    assert (pixels == pixels[:, :1, :1]).all()
    return tuple(pixels[:, 0, 0].tolist())


def test_reads_both_splits(root):
    save(plain(GREEN), root / "train" / "cat" / "extra.png")
    dataset = load_image_folder(root, image_size=8)
    assert dataset.class_names == ["cat", "dog"]
    assert dataset.train_inputs.shape == (7, 3, 8, 8)
    assert dataset.test_inputs.shape == (4, 3, 8, 8)
    assert dataset.train_inputs.dtype == torch.uint8
    assert dataset.train_labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert dataset.test_labels.tolist() == [0, 0, 1, 1]
    assert dataset.train_labels.dtype == torch.int64
    for images, labels in (
        (dataset.train_inputs, dataset.train_labels),
        (dataset.test_inputs, dataset.test_labels),
    ):
        colours = [tuple(image[:, 0, 0].tolist()) for image in images]
        assert {c for c, k in zip(colours, labels, strict=True) if k == 0} <= {RED, GREEN}
        assert {c for c, k in zip(colours, labels, strict=True) if k == 1} == {BLUE}
    assert tuple(dataset.train_inputs[3, :, 0, 0].tolist()) == GREEN


def test_home_and_text_paths(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert len(load_image_folder(f"~/{root.name}", 4).train_labels) == 6
    assert len(load_image_folder(str(root), 4).train_labels) == 6


@pytest.mark.parametrize("image_size", [1, 8, 50])
def test_height_and_width_keep_their_places(tmp_path, image_size):
    """Left half red, right half blue, upper half brighter."""
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, :40, 0] = pixels[:, 40:, 2] = 100
    pixels[:20] *= 2
    image = read_image(save(Image.fromarray(pixels), tmp_path / "a.png"), image_size)
    assert image.shape == (3, image_size, image_size)
    if image_size > 1:
        assert image[:, 0, 0].tolist() == [200, 0, 0]
        assert image[:, 0, -1].tolist() == [0, 0, 200]
        assert image[:, -1, 0].tolist() == [100, 0, 0]
        assert image[:, -1, -1].tolist() == [0, 0, 100]


def test_an_image_of_the_right_size_is_not_changed(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = read_image(save(Image.fromarray(pixels), tmp_path / "a.png"), 12)
    assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels)


def test_a_fine_pattern_is_averaged_when_made_smaller(tmp_path):
    pixels = np.zeros((64, 64), dtype=np.uint8)
    pixels[::2, ::2] = pixels[1::2, 1::2] = 255
    image = read_image(save(Image.fromarray(pixels), tmp_path / "a.png"), 8)
    assert (image.double() - 127.5).abs().max() < 10


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (Image.new("1", (9, 7), 1), (255, 255, 255)),
        (Image.new("1", (9, 7), 0), (0, 0, 0)),
        (Image.new("L", (9, 7), 100), (100, 100, 100)),
        (Image.new("LA", (9, 7), (100, 255)), (100, 100, 100)),
        (Image.new("LA", (9, 7), (100, 0)), (255, 255, 255)),
        (Image.new("RGB", (9, 7), (1, 2, 3)), (1, 2, 3)),
        (Image.new("RGBA", (9, 7), (1, 2, 3, 255)), (1, 2, 3)),
        (Image.new("RGBA", (9, 7), (1, 2, 3, 0)), (255, 255, 255)),
        (Image.new("RGBA", (9, 7), (255, 0, 0, 102)), (255, 153, 153)),
        (Image.new("I;16", (9, 7), 65535), (255, 255, 255)),
        (Image.new("I;16", (9, 7), 100 * 257), (100, 100, 100)),
        (Image.new("I;16", (9, 7), 240 * 257), (240, 240, 240)),
        (Image.new("I;16", (9, 7), 300), (1, 1, 1)),
        (Image.new("P", (9, 7), 0).convert("RGB"), (0, 0, 0)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "-".join(map(str, value)),
)
def test_modes_of_png(tmp_path, image, colour):
    assert colour_of(save(image, tmp_path / "a.png")) == colour


def palette_image(index):
    image = Image.new("P", (9, 7), index)
    image.putpalette([10, 20, 30, 40, 50, 60])
    return image


@pytest.mark.parametrize(("index", "colour"), [(0, (10, 20, 30)), (1, (40, 50, 60))])
def test_palette(tmp_path, index, colour):
    assert colour_of(save(palette_image(index), tmp_path / "a.png")) == colour


@pytest.mark.parametrize(("index", "colour"), [(0, (255, 255, 255)), (1, (40, 50, 60))])
@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_palette_with_transparency(tmp_path, index, colour, transparency):
    path = save(palette_image(index), tmp_path / "a.png", transparency=transparency)
    assert colour_of(path) == colour


def test_a_transparent_colour_of_an_rgb_image(tmp_path):
    path = save(plain((1, 2, 3)), tmp_path / "a.png", transparency=(1, 2, 3))
    assert colour_of(path) == (255, 255, 255)


@pytest.mark.parametrize(
    ("image", "name", "colour"),
    [
        (Image.new("F", (9, 7), 0.5), "a.tiff", (128, 128, 128)),
        (Image.new("F", (9, 7), 1.0), "a.tiff", (255, 255, 255)),
        (Image.new("I", (9, 7), 65535), "a.tiff", (255, 255, 255)),
        (Image.new("I;16", (9, 7), 100 * 257), "a.tif", (100, 100, 100)),
        (Image.new("RGB", (9, 7), RED), "a.bmp", RED),
        (Image.new("RGB", (9, 7), RED), "a.ppm", RED),
        (Image.new("RGB", (9, 7), RED), "a.PNG", RED),
    ],
)
def test_other_formats(tmp_path, image, name, colour):
    assert colour_of(save(image, tmp_path / name)) == colour


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
def test_jpeg(tmp_path, mode):
    image = Image.new("RGB", (16, 16), (200, 80, 40)).convert(mode)
    path = save(image, tmp_path / "a.jpg", quality=95)
    expected = image.convert("RGB").getpixel((0, 0))
    assert colour_of(path) == pytest.approx(expected, abs=4)


def test_the_cameras_orientation_is_applied(tmp_path):
    """Orientation 6: what is stored on the left is seen at the top."""
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:, 8:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(Image.fromarray(pixels), tmp_path / "a.png", exif=exif)
    image = read_image(path, 16)
    assert (image[:, :8] == 0).all()
    assert (image[:, 8:] == 255).all()


def test_suffixes_in_capitals_hidden_files_and_others(root):
    save(plain(), root / "train" / "cat" / "A.JPG")
    save(plain(), root / "train" / "cat" / "B.Png")
    save(plain(), root / "train" / "cat" / "deeper" / "c.jpeg")
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    (root / "train" / "cat" / "._a.png").write_text("a file that macOS leaves")
    (root / "train" / ".cache").mkdir()
    (root / "train" / "labels.csv").write_text("a,b")
    dataset = load_image_folder(root, 4)
    assert torch.bincount(dataset.train_labels).tolist() == [6, 3]
    assert dataset.class_names == ["cat", "dog"]


def error_of(root):
    with pytest.raises(ValueError, match=".") as caught:
        load_image_folder(root, 4)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_such_folder(tmp_path):
    message = error_of(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere" / "train") in message
    assert "train/CLASS/*.png" in message


def test_no_test_folder(root):
    (root / "test").rename(root / "elsewhere")
    assert f"{root / 'test'} is not there" in error_of(root)


def test_empty_folder(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
    assert f"{tmp_path / 'train'} is empty" in error_of(tmp_path)


def test_a_class_without_images(root):
    (root / "train" / "fox").mkdir()
    (root / "train" / "fox" / "notes.txt").write_text("none yet")
    message = error_of(root)
    assert f"{root / 'train' / 'fox'} holds no image" in message
    assert ".png" in message


def test_one_class(tmp_path):
    for split in ("train", "test"):
        save(plain(), tmp_path / split / "cat" / "a.png")
    message = error_of(tmp_path)
    assert "one class, cat" in message
    assert str(tmp_path / "train") in message


@pytest.mark.parametrize("only", ["train", "test"])
def test_different_classes(root, only):
    save(plain(), root / only / "fox" / "a.png")
    message = error_of(root)
    assert "same classes" in message
    assert f"only {only} has fox" in message


def test_as_many_but_different_classes(root):
    (root / "test" / "dog").rename(root / "test" / "fox")
    message = error_of(root)
    assert "same classes" in message
    assert "only train has dog" in message
    assert "only train has dog, fox" not in message


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", ["broken.png", "broken.jpg", "broken.bmp"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_truncated_image_is_named(root, split, name):
    path = save(noise(), root / split / "dog" / name)
    truncate(path)
    assert f"{path} cannot be read as an image" in error_of(root)


@pytest.mark.parametrize("content", [b"", b"I am a text file", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_only_has_an_images_name_is_named(root, content):
    path = root / "train" / "cat" / "text.png"
    path.write_bytes(content)
    assert f"{path} cannot be read as an image" in error_of(root)


def test_a_png_with_an_altered_byte_is_named(root):
    path = save(noise(), root / "train" / "cat" / "altered.png")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert f"{path} cannot be read as an image" in error_of(root)


def test_a_dangling_link_is_named(root):
    path = root / "train" / "cat" / "link.png"
    path.symlink_to(root / "gone.png")
    assert f"{path} cannot be read as an image" in error_of(root)


def test_an_image_too_large_to_be_one_is_named(root, monkeypatch):
    path = save(plain(size=(100, 100)), root / "train" / "cat" / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    assert f"{path} cannot be read as an image" in error_of(root)


def test_whatever_a_decoder_raises_names_the_file(tmp_path, monkeypatch):
    def decode(self):
        raise struct.error("unpack requires a buffer of 4 bytes")

    path = save(plain(), tmp_path / "odd.png")
    monkeypatch.setattr(Image.Image, "load", decode)
    with pytest.raises(ValueError, match=r"odd.png cannot be read as an image \(unpack requires"):
        read_image(path, 6)
