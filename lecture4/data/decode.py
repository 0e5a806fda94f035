"""The pixels of an image file: one rule for training and prediction."""

import os
import stat

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin

from lecture4.support.console import printable

SMOOTH = Image.Resampling.BILINEAR  # averages over all pixels when it reduces


def read_image(
    path: str | os.PathLike, image_size: int, channels: int = 3, resize: str = "stretch"
) -> torch.Tensor:
    """Read an image of any size and mode as uint8 (channels, image_size, image_size).

    Of several frames the first is read; the EXIF orientation is applied; transparent pixels become
    white. White is the largest number of 8 and of 16 bits, of which the high byte is kept, and 1.0
    of floats. A JPEG of at least four times ``image_size`` is decoded at 1/2, 1/4 or 1/8.

    Args:
        path: of a regular file.
        image_size: side of the square.
        channels: 3 (RGB) or 1 (grey).
        resize: ``stretch`` changes the aspect ratio, ``crop`` keeps the centre, ``pad`` adds black.

    Raises:
        ValueError: the file cannot be read as an image, or its numbers do not say which is white:
            floats outside [0, 1], integers of 32 bits, signed ones.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for a writer
            raise ValueError("it is not a regular file")
        with Image.open(path) as file:
            file.draft(None, (2 * image_size, 2 * image_size))
            _check_scale(file)
            ImageOps.exif_transpose(file, in_place=True)
            image = _to_8_bits(file)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            mode = "RGB" if channels == 3 else "L"
            image = image if image.mode == mode else image.convert(mode)
            image = RESIZES[resize](image, (image_size, image_size))
    except Exception as error:  # decoders raise all kinds of errors on broken files
        raise ValueError(f"{printable(path)} cannot be read as an image ({error})") from error
    pixels = np.array(image).reshape(image_size, image_size, channels)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()  # HWC -> CHW


def try_image(path: str, pixels: tuple[int, int, str]) -> torch.Tensor | ValueError:
    """The result of ``read_image``, or its error, for a pool of threads that reads many files."""
    try:
        return read_image(path, *pixels)
    except ValueError as error:
        return error


def _check_scale(image: ImageFile.ImageFile) -> None:
    """Refuse a file of whose numbers Pillow does not tell which is white, before it is decoded."""
    advice = "save it with 8 or 16 unsigned bits"
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits, signed = image.tag_v2.get(258, (1,))[0], image.tag_v2.get(339, (1,))[0] == 2
        if signed or (image.mode.startswith("I") and bits != 16):
            kind = "signed integers" if signed else "integers"
            raise ValueError(f"white is not defined in {kind} of {bits} bits; {advice}")
        if image.mode.startswith(("I", "F")) and image.tag_v2.get(262) != 1:
            raise ValueError(f"it stores white as 0 in {bits} bits; {advice}")
    elif image.mode == "I" and image.format not in ("PNG", "PPM"):  # theirs have 16 bits
        raise ValueError(f"white is not defined in integers of 32 bits; {advice}")
    if "transparency" in image.info and image.tile:
        raw = image.tile[0][3]
        if raw == "RGB;16B":  # Pillow keeps 8 of the 16 bits that are compared
            raise ValueError("a colour of 16 bits is transparent; save it with an alpha channel")
        if raw in ("L;2", "L;4"):  # Pillow scales the pixels to 8 bits, and not this number
            image.info["transparency"] *= 85 if raw == "L;2" else 17


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Convert floats and 16 bits, which ``Image.convert`` would clip."""
    if image.mode == "F":
        pixels = np.asarray(image, np.float64)
        if not ((pixels >= 0) & (pixels <= 1)).all():
            raise ValueError(
                f"its floats reach from {pixels.min():g} to {pixels.max():g}; 0 must be black and "
                f"1 white"
            )
        return Image.fromarray((255 * pixels).round().astype(np.uint8))
    if image.mode.startswith("I"):
        words = np.asarray(image)  # of 16 bits
        grey = Image.fromarray((words >> 8).astype(np.uint8))
        if (transparent := image.info.get("transparency")) is not None:
            grey.putalpha(Image.fromarray(np.where(words == transparent, 0, 255).astype(np.uint8)))
        return grey
    return image


def _pad(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize to fit into ``size`` (ImageOps.pad fails if a side becomes 0), on black."""
    side = max(image.size)
    width, height = (max(1, round(of * n / side)) for of, n in zip(size, image.size, strict=True))
    square = Image.new(image.mode, size)
    corner = (size[0] - width) // 2, (size[1] - height) // 2
    square.paste(image.resize((width, height), SMOOTH), corner)
    return square


RESIZES = {  # how an image becomes a square
    "stretch": lambda image, size: image.resize(size, SMOOTH),
    "crop": lambda image, size: ImageOps.fit(image, size, SMOOTH),
    "pad": _pad,
}
