"""The model of tiles: which size of tile, and how much at a time, for a layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache

from qsdnn_primitives.lne.packing import cut
from qsdnn_primitives.lne.tiles import LARGEST

_LATENCY, _SUMS, _LOADS = 4.0, 2.0, 2.0
"""Cycles of a multiply-add; multiply-adds and loads that begin in one cycle. Typical of server
and desktop cores since 2015; smaller cores change all of them about alike."""

_NARROW, _LONG = 24, 256
"""The pixels of a short row, and products enough to pay for a copy: of resnet50, googlenet and
mobilenet-v2, as measured."""

_FIRST_CACHE = 1 << 13
"""The floats in a first-level cache: 32 KB, as most have."""

_FEW = 3
"""The tiles of a band that read weights seldom enough to read them from further away."""

_PRODUCTS, _CACHED, _UNCACHED, _LAST_CACHE_BYTES = 16.0, 16.0, 4.0, 4 << 20
"""Multiply-adds in a cycle; bytes that come in a cycle from the last cache and from memory; the
weights of a layer that stay in that cache till the next run."""

_LARGEST = 1.15
"""The largest tiles lose four times the digits: they have to be faster by so much."""

_EDGES = 12.0
"""Cycles at the ends of a tile: its call, its bias, its stores."""


@cache
def tile_of(
    width: int, blocks: int, channels: int, lanes: int, *, most_blocks: int = 4
) -> tuple[int, int]:
    """The pixels and blocks of the tiles that take least time on a row.

    Args:
        width: The pixels of a row.
        blocks: The blocks of output channels.
        channels: The products of one output: input channels times taps.
        lanes: The channels in a block.
        most_blocks: The most blocks of a tile.
    """
    sizes = [
        (pixels, group)
        for group, most in enumerate(LARGEST[lanes][:most_blocks], 1)
        for pixels in range(1, most + 1)
        if group <= blocks
    ]
    return min(sizes, key=lambda size: _cycles(width, blocks, channels, *size))


@cache
def pixels_of(width: int, group: int, channels: int, lanes: int) -> int:
    """The pixels of the tiles of `group` blocks that take least time on a row."""
    most = LARGEST[lanes][group - 1]
    return min(range(1, most + 1), key=lambda p: _cycles(width, group, channels, p, group))


def better_flat(width: int, channels: int) -> bool:
    """Whether an image is made faster as one line, and then copied, than row by row.

    Rows of few pixels end in small tiles, by which a tenth of the time is lost; a copy takes as
    long as some ten products of each output.

    Args:
        width: The pixels of a row.
        channels: The products of one output.
    """
    return width < _NARROW and channels >= _LONG


def _cycles(width: int, blocks: int, channels: int, pixels: int, group: int) -> float:
    total = 0.0
    for p, rows in Counter(cut(width, pixels)).items():
        for b, columns in Counter(cut(blocks, group)).items():
            step = max(p * b / _SUMS, (p + b) / _LOADS, _LATENCY)
            total += rows * columns * (step * channels + _EDGES + p * b)
    return total


def band_of(unit_floats: int, units: int, cache_floats: int) -> int:
    """The tiles whose input stays in half the second-level cache; 0 for all."""
    most = max(cache_floats // 2 // max(unit_floats, 1), 1)
    return 0 if most >= units else most


def passes(
    unit: int, units: int, blocks: int, weights: int, cache_floats: int
) -> Mapping[str, int]:
    """The arguments of a convolution that say how much of it is done at a time.

    ``band`` is that of `band_of`, and ``part`` that of `part_of` for its tiles.

    Args:
        unit: The input of a tile, in floats.
        units: The tiles.
        blocks: The blocks of input channels.
        weights: The weights of a tile for one block of input channels, in floats.
        cache_floats: The second-level cache of one core, in floats.
    """
    band = band_of(unit, units, cache_floats)
    return {"band": band, "part": part_of(weights, blocks, band or units)}


def part_of(weights: int, blocks: int, units: int) -> int:
    """The blocks of input channels of one pass; 0 for all.

    A tile reads its weights once. Where they exceed half the first-level cache, all tiles of a band
    first sum over some of the channels, then over the next.

    Args:
        weights: The weights of a tile for one block of input channels, in floats.
        blocks: The blocks of input channels.
        units: The tiles of a band.
    """
    fit = max(_FIRST_CACHE // 2 // max(weights, 1), 1)
    if fit >= blocks or units < _FEW:
        return 0
    return -(-blocks // -(-blocks // fit))


def winograd_time(m: int, r: int, height: int, width: int, pairs: int) -> float:
    """The time of Winograd's convolution for comparisons: its products, or its weights from memory.

    Args:
        m: The side of a tile.
        r: The side of the window.
        height: The rows of the output.
        width: The pixels of a row.
        pairs: Input channels times output channels.
    """
    planes, tiles = (m + r - 1) ** 2, -(-height // m) * -(-width // m)
    size_bytes = 4 * planes * pairs
    rate = _CACHED if size_bytes < _LAST_CACHE_BYTES else _UNCACHED
    exactness = _LARGEST if m > 4 else 1.0
    return exactness * max(planes * tiles * pairs / _PRODUCTS, size_bytes / rate)


def chunk_of(m: int, r: int, tiles: int, channels: int, outputs: int, cache_floats: int) -> int:
    """The tiles of a chunk for Winograd's convolution.

    A chunk's planes should stay in the second-level cache. But weights that no cache holds are read
    once for each chunk: then chunks are large.
    """
    planes = (m + r - 1) ** 2
    if planes * channels * outputs > 1 << 22:
        return min(tiles, 196)
    most = cache_floats // (planes * (channels + outputs))
    return min(tiles, max(most, 24))
