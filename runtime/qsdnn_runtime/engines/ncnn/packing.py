"""Packed blobs on plain memory.

A packed blob holds an image's channels in blocks, the places within a block innermost: other
engines call that nChw16c. The bytes of a packed blob are those of an unpacked blob that has a
channel for each block, and rows that are as many times longer as a block has channels. ncnn's
Python package cannot hand out the memory of a packed blob, but lets us write into a blob's header;
so a header makes one of the other, and nothing moves.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from qsdnn_runtime.engine import EngineError

from .net import extract, import_library, load_net, make_options

# Enough channels for the widest blocks; the ReLU packs, and lets through what is not negative.
_CHANNELS = 64
_PROBE = "7767517\n2 2\nInput x 0 1 0 0=3 1=2 2=%d\nReLU y 1 1 0 1\n" % _CHANNELS


def as_rows(view: np.ndarray, pack: int) -> np.ndarray:
    """An image that lies in blocks, as an array of rows: (blocks, height, width · pack).

    Args:
        view: The image (channels, height, width), contiguous, its elements in blocks.
        pack: The number of channels in a block.
    """
    channels, height, width = view.shape
    return view.reshape(channels // pack, height, width * pack)


def packed(rows: Any, pack: int) -> Any:
    """The packed blob on the memory of an unpacked one.

    Args:
        rows: A blob as `as_rows` makes it, without gaps between channels; the caller keeps the
            memory of the blob alive.
        pack: The number of channels in a block.
    """
    blob = import_library().Mat(rows)
    blob.cstep = blob.w * blob.h // pack
    blob.w //= pack
    blob.elemsize *= pack
    blob.elempack = pack
    return blob


def unpacked(blob: Any) -> np.ndarray:
    """The memory of a packed blob, as rows: see `as_rows`."""
    rows, pack = import_library().Mat(blob), blob.elempack
    rows.w *= pack
    rows.cstep *= pack
    rows.elemsize //= pack
    rows.elempack = 1
    return np.asarray(rows)


def block_channels() -> int:
    """The number of channels ncnn packs here; 1 when it cannot be handed packed blobs."""
    with tempfile.NamedTemporaryFile(prefix="qsdnn-ncnn-") as nothing:
        net = load_net(_PROBE, nothing.name, make_options(threads=1))
    image = np.arange(_CHANNELS * 2 * 3, dtype=np.float32).reshape(_CHANNELS, 2, 3)
    try:
        extractor = net.create_extractor()
        extractor.input(0, import_library().Mat(image).clone())
        pack = int(extract(extractor, 1).elempack)
        if pack == 1:
            return 1
        blocked = np.ascontiguousarray(image.reshape(-1, pack, 2, 3).transpose(0, 2, 3, 1))
        extractor = net.create_extractor()
        extractor.input(0, packed(blocked.reshape(-1, 2, 3 * pack), pack).clone())
        blob = extract(extractor, 1)
        if blob.elempack == pack and np.array_equal(unpacked(blob).ravel(), blocked.ravel()):
            return pack
    except (AttributeError, TypeError, EngineError):  # ncnn's package is of another version
        pass
    finally:
        net.clear()
    return 1
