"""Images before inference: crop, resize, normalize, and the order that a network reads.

An image is an array (height, width, channels) of uint8 until it is normalized.
"""

from __future__ import annotations

import math
from typing import Mapping, Sequence, Tuple

import numpy as np

from .stage import AppError, Before, Sample


def grayscale(sample: Sample) -> Sample:
    """One channel, the luma of ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B, rounded."""
    image = _image(sample)
    if image.shape[2] == 1:
        return sample
    luma = image[:, :, :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return sample.having(_rounded(luma)[:, :, None])


def color(sample: Sample, order: str = "RGB") -> Sample:
    """Three channels in an order: grey is repeated, and a fourth channel is dropped."""
    image = _image(sample)
    if sorted(order) != sorted("RGB"):
        raise AppError("no order of colours: '%s'; write RGB or BGR" % order)
    image = image.repeat(3, axis=2) if image.shape[2] == 1 else image[:, :, :3]
    return sample.having(image[:, :, ["RGB".index(letter) for letter in order]])


def crop(sample: Sample, size: Sequence[int]) -> Sample:
    """The middle of an image.

    Args:
        sample: The image.
        size: The height and the width.

    Raises:
        AppError: The image is smaller.
    """
    image = _image(sample)
    height, width = _pair(size)
    if image.shape[0] < height or image.shape[1] < width:
        have = (image.shape[1], image.shape[0], width, height)
        raise AppError("an image of %d×%d cannot be cropped to %d×%d" % have)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return _part(sample, left, top, image[top : top + height, left : left + width])


def region(sample: Sample, box: Sequence[float], margin: float = 0.0) -> Sample:
    """The part of an image in a box, as far as the image reaches.

    Args:
        sample: The image.
        box: The box, in pixels of the image: left, top, right, bottom.
        margin: The part of the box's size that is added at each side.

    Raises:
        AppError: No pixel of the image lies in the box.
    """
    image = _image(sample)
    left, top, right, bottom = box
    wide, high = margin * (right - left), margin * (bottom - top)
    x0, y0 = max(0, math.floor(left - wide)), max(0, math.floor(top - high))
    x1 = min(image.shape[1], math.ceil(right + wide))
    y1 = min(image.shape[0], math.ceil(bottom + high))
    if x1 <= x0 or y1 <= y0:
        raise AppError("no pixel lies in the box %s" % [round(float(v), 1) for v in box])
    return _part(sample, x0, y0, image[y0:y1, x0:x1])


def resize(sample: Sample, size: Sequence[int], keep: str = "no") -> Sample:
    """An image of another size, by triangular filters as wide as what is made smaller.

    Each row is filtered, rounded, and then each column: what Pillow's ``BILINEAR`` gives, up to one
    step of 255.

    Args:
        sample: The image, of uint8.
        size: The height and the width.
        keep: What is kept of the proportions: ``no``: nothing, each side is scaled for itself;
            ``inside``: the image is made to fit, and padded with 114 to the right and below;
            ``cover``: its shorter side is made to fit, and the middle is taken.
    """
    image = _image(sample)
    if image.dtype != np.uint8:
        raise AppError("only an image of bytes can be resized: resize before normalizing")
    height, width = _pair(size)
    rows, columns = image.shape[:2]
    if keep not in ("no", "inside", "cover"):
        raise AppError("resize keeps 'no', 'inside' or 'cover', not '%s'" % keep)
    if keep == "no":
        return _scaled(sample, height, width)
    choose = min if keep == "inside" else max
    factor = choose(height / rows, width / columns)
    made = (max(1, round(rows * factor)), max(1, round(columns * factor)))
    if keep == "cover":
        whole = _scaled(sample, max(height, made[0]), max(width, made[1]))
        return crop(whole, (height, width))
    inside = _scaled(sample, min(height, made[0]), min(width, made[1]))
    padded = np.full((height, width, image.shape[2]), 114, np.uint8)
    padded[: inside.values.shape[0], : inside.values.shape[1]] = inside.values
    return inside.having(padded)


def normalize(
    sample: Sample,
    scale: float = 1 / 255,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Sample:
    """(values · scale − mean) / std in float32, channel by channel of an image."""
    mean_, std_ = np.array(mean, np.float32), np.array(std, np.float32)
    if not std_.all():
        raise AppError("normalize: std has a zero")
    try:
        return sample.having((sample.values.astype(np.float32) * np.float32(scale) - mean_) / std_)
    except ValueError:
        raise AppError(
            "normalize: %d means and %d deviations for values of shape %s"
            % (len(mean_), len(std_), sample.values.shape)
        ) from None


def layout(sample: Sample, order: str = "NCHW") -> Sample:
    """The tensor that a network reads, of one image: ``NCHW``, ``NHWC``, ``CHW`` or ``HWC``."""
    image = _image(sample)
    if order not in ("NCHW", "NHWC", "CHW", "HWC"):
        raise AppError("no layout of images: '%s'; write NCHW or NHWC" % order)
    values = image.transpose(2, 0, 1) if "CH" in order else image
    return sample.having(np.ascontiguousarray(values[None] if order[0] == "N" else values))


STAGES: Mapping[str, Before] = {
    "color": color,
    "crop": crop,
    "grayscale": grayscale,
    "layout": layout,
    "normalize": normalize,
    "region": region,
    "resize": resize,
}
"""The stages of images, by name."""


def _image(sample: Sample) -> np.ndarray:
    if sample.values.ndim != 3:
        raise AppError("no image: values of shape %s" % (sample.values.shape,))
    return sample.values


def _pair(size: Sequence[int]) -> Tuple[int, int]:
    if len(size) != 2 or min(size) < 1:
        raise AppError("a size is a height and a width, not %s" % list(size))
    return int(size[0]), int(size[1])


def _part(sample: Sample, left: int, top: int, values: np.ndarray) -> Sample:
    x, y = sample.to_source(np.array([left, top], float))
    return sample.having(values, origin=(float(x), float(y)))


def _scaled(sample: Sample, height: int, width: int) -> Sample:
    image = sample.values
    rows, columns = image.shape[:2]
    values = image.astype(np.float32)
    if width != columns:
        values = _rounded(_filtered(values, weights_of(columns, width), 1)).astype(np.float32)
    if height != rows:
        values = _filtered(values, weights_of(rows, height), 0)
    scale = (sample.scale[0] * columns / width, sample.scale[1] * rows / height)
    return sample.having(_rounded(values), scale=scale)


def _filtered(values: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """An image whose lines along an axis went through filters (made, size): one matrix product."""
    lines = np.moveaxis(values, axis, 0)
    made = weights @ lines.reshape(len(lines), -1)
    return np.moveaxis(made.reshape(len(weights), *lines.shape[1:]), 0, axis)


def weights_of(size: int, made: int) -> np.ndarray:
    """The weights (made, size) by which triangular filters turn a line into one of another size."""
    factor = size / made
    support = max(factor, 1.0)
    middles = (np.arange(made) + 0.5) * factor
    first = np.maximum((middles - support + 0.5).astype(int), 0)
    last = np.minimum((middles + support + 0.5).astype(int), size)
    places = np.arange(size)
    weights = 1.0 - np.abs((places + 0.5 - middles[:, None]) / support)
    inside = (places >= first[:, None]) & (places < last[:, None])
    weights = np.where(inside, np.maximum(weights, 0.0), 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
