"""Inputs of applications: files of images, sounds and signals, or arrays of a program."""

from __future__ import annotations

import re
import wave
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Union

import numpy as np

from .stage import AppError, Sample

Source = Union[str, Path, np.ndarray]
"""A file, or the array that is in it."""

_NUMBER = re.compile(rb"(?:\s|#[^\n]*\n)*(\d+)")


def read_image(source: Source, rate_hz: Optional[float] = None) -> Sample:
    """An image (height, width, channels) of bytes.

    Netpbm's formats (``.pgm``, ``.ppm``) and ``.npy`` are always read; others where Pillow is
    installed.

    Raises:
        AppError: The file is no image that can be read here, or is truncated.
    """
    values = source if isinstance(source, np.ndarray) else _image_of(Path(source))
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.dtype != np.uint8 or values.shape[2] not in (1, 3, 4):
        raise AppError(
            "no image of bytes (height, width, 1, 3 or 4 channels): %s of shape %s"
            % (values.dtype, values.shape)
        )
    if 0 in values.shape:
        raise AppError("an image without pixels: shape %s" % (values.shape,))
    return Sample(values)


def read_sound(source: Source, rate_hz: Optional[float] = None) -> Sample:
    """A sound (channels, length) from −1 to 1, of a ``.wav`` file of whole numbers or ``.npy``.

    Args:
        source: The file, or the array.
        rate_hz: The samples a second of an array, which does not say.

    Raises:
        AppError: The file is no sound that can be read here.
    """
    if isinstance(source, np.ndarray):
        return read_signal(source, rate_hz)
    path = Path(source)
    if path.suffix.lower() == ".npy":
        return read_signal(path, rate_hz)
    try:
        with wave.open(str(path), "rb") as file:
            count, width, told = file.getnframes(), file.getsampwidth(), file.getframerate()
            channels, content = file.getnchannels(), file.readframes(count)
    except FileNotFoundError:
        raise AppError("%s: no such file" % path) from None
    except (wave.Error, EOFError, OSError) as error:
        raise AppError(
            "%s: no WAV file of whole numbers: %s" % (path, error or "truncated")
        ) from error
    if len(content) < count * width * channels:
        raise AppError(
            "%s: truncated: %d of %d bytes" % (path, len(content), count * width * channels)
        )
    return Sample(_of_integers(content, width).reshape(-1, channels).T.copy(), float(told))


def read_signal(source: Source, rate_hz: Optional[float] = None) -> Sample:
    """A signal (channels, length) of an ``.npy`` or ``.csv`` file, a column a channel.

    Args:
        source: The file, or the array.
        rate_hz: The samples a second.

    Raises:
        AppError: The file is no signal that can be read here.
    """
    if isinstance(source, np.ndarray):
        values = source
    elif Path(source).suffix.lower() == ".npy":
        values = _array(Path(source))
    else:
        values = _table(Path(source))
    if values.ndim == 1:
        values = values[None]
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.size:
        raise AppError(
            "no signal (channels, length): %s of shape %s" % (values.dtype, values.shape)
        )
    found = values.astype(np.float32)
    if not np.isfinite(found).all():
        raise AppError("the signal has numbers that are not finite")
    return Sample(found, rate_hz)


READERS: Dict[str, Callable[..., Sample]] = {
    "audio": read_sound,
    "image": read_image,
    "signal": read_signal,
}
"""The readers of inputs, by kind."""


def _image_of(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        return _array(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AppError("%s: %s" % (path, error.strerror)) from error
    if content[:2] in (b"P5", b"P6"):
        return _netpbm(path, content)
    try:
        from PIL import Image
    except ImportError:
        raise AppError(
            "%s: only PGM, PPM and NPY are read without Pillow: pip install pillow" % path
        ) from None
    try:
        with Image.open(path) as image:
            known = image.mode if image.mode in ("L", "RGB", "RGBA") else "RGB"
            return np.asarray(image.convert(known))
    except Exception as error:  # each format raises its own
        raise AppError("%s: no image: %s" % (path, error)) from error


def _netpbm(path: Path, content: bytes) -> np.ndarray:
    numbers, position = [], 2
    for _ in range(3):
        match = _NUMBER.match(content, position)
        if match is None:
            raise AppError("%s: a Netpbm file without its size" % path)
        numbers.append(int(match.group(1)))
        position = match.end()
    width, height, most = numbers
    if not 0 < most < 256 or not width or not height:
        raise AppError("%s: only images of bytes are read, up to 255, not %d" % (path, most))
    channels = 3 if content[:2] == b"P6" else 1
    pixels = np.frombuffer(content, np.uint8, offset=position + 1)
    if len(pixels) < width * height * channels:
        raise AppError(
            "%s: truncated: %d of %d pixels" % (path, len(pixels) // channels, width * height)
        )
    image = pixels[: width * height * channels].reshape(height, width, channels)
    return image if most == 255 else (image.astype(np.uint16) * 255 // most).astype(np.uint8)


def _array(path: Path) -> np.ndarray:
    try:
        found: Any = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise AppError("%s: no such file" % path) from None
    except (OSError, ValueError, EOFError) as error:
        raise AppError("%s: no array: %s" % (path, error)) from error
    if not isinstance(found, np.ndarray):
        raise AppError("%s: an archive of arrays, not one" % path)
    return found


def _table(path: Path) -> np.ndarray:
    try:
        rows = np.loadtxt(path, delimiter=",", ndmin=2, comments="#")
    except FileNotFoundError:
        raise AppError("%s: no such file" % path) from None
    except (OSError, ValueError) as error:
        raise AppError("%s: no table of numbers: %s" % (path, error)) from error
    return np.asarray(rows.T)


def _of_integers(content: bytes, width: int) -> np.ndarray:
    """Whole numbers of 1 to 4 bytes as floats from −1 to 1."""
    if width == 1:  # the only ones without a sign
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / 128
    if width == 3:
        triples = np.frombuffer(content, np.uint8).reshape(-1, 3)
        words = np.zeros((len(triples), 4), np.uint8)
        words[:, 1:] = triples
        return (words.view("<i4").reshape(-1) / 2.0**31).astype(np.float32)
    values = np.frombuffer(content, "<i%d" % width)
    return (values / 2.0 ** (8 * width - 1)).astype(np.float32)
