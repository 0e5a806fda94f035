import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from lecture4.data.decode import RESIZES, read_image

RED = (255, 0, 0)


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def plain(colour=RED, size=(10, 10)):
    return Image.new("RGB", size, colour)


def colour_of(path, image_size=6):
    """The one colour of the image."""
    pixels = read_image(path, image_size)
    assert pixels.shape == (3, image_size, image_size)
    assert pixels.dtype == torch.uint8
    assert (pixels == pixels[:, :1, :1]).all()
    return tuple(pixels[:, 0, 0].tolist())


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
        (Image.new("F", (9, 7), 0.0), "a.tiff", (0, 0, 0)),
        (Image.new("F", (9, 7), 0.5), "a.pfm", (128, 128, 128)),
        (Image.new("I", (9, 7), 100 * 257), "a.pgm", (100, 100, 100)),
        (Image.new("I;16B", (9, 7), 100 * 257), "a.tif", (100, 100, 100)),
        (Image.new("I;16", (9, 7), 100 * 257), "a.jp2", (100, 100, 100)),
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


def png(path, bits, kind, numbers, transparent=None):
    """Write 4×4 pixels of the same numbers as a PNG, which Pillow cannot do with 2, 4 and 48 bits.

    ``kind``: 0 grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha.
    """

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    pixel = b"".join(struct.pack(">H", n) if bits == 16 else bytes([n]) for n in numbers)
    if bits < 8:  # all pixels of a byte
        pixel = bytes([sum(numbers[0] << shift for shift in range(0, 8, bits))])
    row = b"\0" + (pixel * 4)[: max(1, 4 * len(numbers) * bits // 8)]
    key = b"".join(struct.pack(">H", n) for n in transparent or ())
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, bits, kind, 0, 0, 0))
        + (chunk(b"tRNS", key) if transparent else b"")
        + chunk(b"IDAT", zlib.compress(row * 4))
        + chunk(b"IEND", b"")
    )
    return path


WHITE = (255, 255, 255)


@pytest.mark.parametrize(
    ("bits", "kind", "numbers", "transparent", "colour"),
    [
        (1, 0, (1,), (1,), WHITE),
        (1, 0, (0,), (0,), WHITE),
        (1, 0, (0,), (1,), (0, 0, 0)),
        (2, 0, (1,), (1,), WHITE),
        (2, 0, (1,), (2,), (85, 85, 85)),
        (4, 0, (3,), (3,), WHITE),
        (4, 0, (3,), None, (51, 51, 51)),
        (8, 0, (7,), (7,), WHITE),
        (16, 0, (25701,), (25701,), WHITE),
        (16, 0, (25701,), (25700,), (100, 100, 100)),
        (16, 0, (65535,), None, WHITE),
        (16, 2, (25701, 0, 65535), None, (100, 0, 255)),
        (16, 4, (25701, 0), None, WHITE),
        (16, 4, (25701, 65535), None, (100, 100, 100)),
        (16, 6, (25701, 0, 0, 0), None, WHITE),
        (16, 6, (25701, 0, 0, 65535), None, (100, 0, 0)),
    ],
)
def test_transparency_and_depth_of_png(tmp_path, bits, kind, numbers, transparent, colour):
    assert colour_of(png(tmp_path / "a.png", bits, kind, numbers, transparent), 4) == colour


def test_a_transparent_colour_of_48_bits_is_refused(tmp_path):
    path = png(tmp_path / "a.png", 16, 2, (25701, 0, 0), (25701, 0, 0))
    with pytest.raises(ValueError, match="a colour of 16 bits is transparent"):
        read_image(path, 4)


def floats(*values):
    return Image.fromarray(np.array([values], dtype=np.float32))


def tiff_of_12_bits(path):
    entries = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (279, 3)]
    directory = b"".join(struct.pack("<HHIHH", tag, 3, 1, n, 0) for tag, n in entries)
    head = b"II*\0" + struct.pack("<I", 12) + b"\xff\xff\xff\0"
    path.write_bytes(head + struct.pack("<H", len(entries)) + directory + bytes(4))
    return path


@pytest.mark.parametrize(
    ("image", "tags", "reason"),
    [
        (floats(128.0), {}, "its floats reach from 128 to 128; 0 must be black and 1 white"),
        (floats(0.5, 1.001), {}, "its floats reach from 0.5 to 1.001"),
        (floats(0.5, -0.001), {}, "its floats reach from -0.001 to 0.5"),
        (floats(0.5, np.nan), {}, "its floats reach from nan to nan"),
        (floats(0.5, np.inf), {}, "its floats reach from 0.5 to inf"),
        (floats(0.5), {262: 0}, "it stores white as 0 in 32 bits"),
        (Image.new("I;16", (9, 7), 9), {262: 0}, "it stores white as 0 in 16 bits"),
        (Image.new("I;16", (9, 7), 9), {339: 2}, "not defined in signed integers of 16 bits"),
        (Image.new("L", (9, 7), 9), {339: 2}, "not defined in signed integers of 8 bits"),
        (Image.new("I", (9, 7), 128), {}, "not defined in signed integers of 32 bits"),
    ],
)
def test_numbers_without_a_defined_white_are_refused(tmp_path, image, tags, reason):
    path = save(image, tmp_path / "odd.tiff", tiffinfo=tags)
    with pytest.raises(ValueError, match="odd.tiff cannot be read as an image") as error:
        read_image(path, 4)
    assert reason in str(error.value)


def test_12_bits_are_refused(tmp_path):
    path = tiff_of_12_bits(tmp_path / "a.tiff")
    with Image.open(path) as image:
        assert image.mode == "I;16"  # Pillow would hand out at most 4095
    with pytest.raises(ValueError, match="not defined in integers of 12 bits"):
        read_image(path, 4)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match="pipe.png cannot be read .* not a regular file"):
        read_image(tmp_path / "pipe.png", 4)


def test_one_channel_is_grey(tmp_path):
    for colour, grey in ((RED, 76), (WHITE, 255), ((1, 2, 3, 0), 255)):
        mode = "RGB" if len(colour) == 3 else "RGBA"
        image = read_image(save(Image.new(mode, (9, 7), colour), tmp_path / "a.png"), 6, channels=1)
        assert image.shape == (1, 6, 6)
        assert image.unique().tolist() == [grey]


def halves(size, *, left=RED):
    """Left half of one colour, right half green."""
    image = Image.new("RGB", size, (0, 255, 0))
    image.paste(left, (0, 0, size[0] // 2, size[1]))
    return image


def test_stretch_crop_and_pad(tmp_path):
    wide = save(halves((80, 20)), tmp_path / "wide.png")
    tall = save(halves((80, 20)).transpose(Image.Transpose.ROTATE_90), tmp_path / "tall.png")
    stretched, cropped, padded = (read_image(wide, 20, 3, how) for how in RESIZES)
    assert (stretched[0, :, 0] == 255).all()
    assert torch.equal(read_image(wide, 20), stretched)
    assert (cropped[0, :, :9] == 255).all()
    assert (cropped[1, :, 11:] == 255).all()
    assert (padded[:, :7] == 0).all()
    assert (padded[:, 13:] == 0).all()
    assert (padded[:, 8:12].amax(0) > 0).all()
    assert torch.equal(read_image(tall, 20, 3, "pad"), padded.rot90(1, (1, 2)))
    assert torch.equal(read_image(tall, 20, 3, "crop"), cropped.rot90(1, (1, 2)))
    sheared = ImageOps.fit(halves((80, 20)), (20, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(cropped.permute(1, 2, 0), np.asarray(sheared))


@pytest.mark.parametrize("how", RESIZES)
@pytest.mark.parametrize("size", [(3000, 1), (1, 3000), (1, 1), (8, 8)])
def test_any_ratio_of_sides(tmp_path, how, size):
    assert read_image(save(plain(size=size), tmp_path / "a.png"), 8, 3, how)[0].max() == 255


@pytest.mark.parametrize(("side", "reduced"), [(127, False), (128, True), (300, True)])
def test_a_large_jpeg_is_reduced_while_it_is_decoded(tmp_path, side, reduced):
    smooth = Image.radial_gradient("L").resize((side, side + 20)).convert("RGB")
    path = save(smooth, tmp_path / "a.jpg", quality=95)
    expected = np.asarray(smooth.resize((32, 32), Image.Resampling.BILINEAR), dtype=float)
    found = read_image(path, 32).permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() < 4
    whole = Image.open(path).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(found, np.asarray(whole)) != reduced


def test_the_first_frame_counts(tmp_path):
    first, second = plain(RED), plain(WHITE)
    path = save(first, tmp_path / "a.gif", save_all=True, append_images=[second])
    assert colour_of(path) == RED


def test_whatever_a_decoder_raises_names_the_file(tmp_path, monkeypatch):
    def decode(self):
        raise struct.error("unpack requires a buffer of 4 bytes")

    path = save(plain(), tmp_path / "odd.png")
    monkeypatch.setattr(Image.Image, "load", decode)
    with pytest.raises(ValueError, match=r"odd.png cannot be read as an image \(unpack requires"):
        read_image(path, 6)
