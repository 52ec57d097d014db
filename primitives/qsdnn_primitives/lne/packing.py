"""Weights in the order in which kernels read them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qsdnn.mapping import forget
from qsdnn_primitives.lne.winograd import transformed

Array = NDArray[np.float32]


def cut(width: int, most: int) -> list[int]:
    """Sizes of at most `most` that make `width`, as even as can be; larger ones first."""
    count = -(-width // most)
    small, large = divmod(width, count)
    return [small + 1] * large + [small] * (count - large)


def pack_tiles(weights: Array, lanes: int, group: int) -> Iterator[Array]:
    """Weights (outputs, inputs, rows, columns) for tiles of at most `group` blocks of outputs.

    Each group of blocks: [block of inputs][row][column][input][outputs of the group]. They are made
    one after the other, so that large weights are never in memory twice.
    """
    outputs, inputs, *window = weights.shape
    whole, start = inputs // lanes * lanes, 0
    for size in cut(-(-outputs // lanes), group):
        part = np.zeros((size * lanes, inputs, *window), np.float32)
        taken = weights[start * lanes : (start + size) * lanes]
        part[: len(taken)] = taken
        if taken.flags.c_contiguous:  # read once
            forget(weights)
        full = part[:, :whole].reshape(size * lanes, whole // lanes, lanes, *window)
        yield full.transpose(1, 3, 4, 2, 0).reshape(-1)
        yield part[:, whole:].transpose(2, 3, 1, 0).reshape(-1)
        start += size
    forget(weights)


def pack_winograd(weights: Array, lanes: int, group: int, m: int) -> Array:
    """Weights (outputs, inputs, r, r) transformed for F(m, r): n² matrices, each as for tiles."""
    outputs, inputs, r, _ = weights.shape
    blocks, planes = -(-outputs // lanes), (m + r - 1) ** 2
    packed = np.zeros((planes, blocks * lanes * inputs), np.float32)
    start = 0
    for size in cut(blocks, group):
        first, last = start * lanes, min((start + size) * lanes, outputs)
        room = packed[:, first * inputs : (start + size) * lanes * inputs]
        room = room.reshape(planes, inputs, size * lanes)
        room[:, :, : last - first] = transformed(weights[first:last], m)
        start += size
    return packed.reshape(-1)


def pack_depthwise(weights: Array, lanes: int) -> Array:
    """Weights (channels, 1, rows, columns): [block][row][column][channel]."""
    channels, _, *window = weights.shape
    blocks = -(-channels // lanes)
    padded = np.zeros((blocks * lanes, *window), np.float32)
    padded[:channels] = weights[:, 0]
    return np.ascontiguousarray(
        padded.reshape(blocks, lanes, *window).transpose(0, 2, 3, 1)
    ).reshape(-1)


def pack_channels(values: Array, lanes: int, channels: int) -> Array:
    """One number for each channel, up to whole blocks."""
    padded = np.zeros(-(-channels // lanes) * lanes, np.float32)
    padded[:channels] = values.reshape(-1)
    return padded


def joined_groups(groups: int, inputs: int, outputs: int, lanes: int) -> int:
    """The groups of a convolution that are joined to one of whole blocks of channels.

    Args:
        groups: The number of groups.
        inputs: The input channels of a group.
        outputs: The output channels of a group.
        lanes: The channels in a block.
    """
    for n in range(1, groups):
        if groups % n == 0 and n * outputs % lanes == 0 and n * inputs % lanes == 0:
            return n
    return groups


def join_groups(weights: Array, groups: int, joined: int) -> Array:
    """Weights of a grouped convolution with groups joined: between them, the weights are zeros.

    Args:
        weights: The weights (outputs, inputs of a group, rows, columns).
        groups: The number of groups.
        joined: The groups that become one.
    """
    if joined == 1:
        return weights
    outputs, inputs, *window = weights.shape
    made = outputs // groups
    dense = np.zeros((outputs, joined * inputs, *window), np.float32)
    for group in range(groups):
        rows = slice(group * made, (group + 1) * made)
        at = group % joined * inputs
        dense[rows, at : at + inputs] = weights[rows]
    return dense
