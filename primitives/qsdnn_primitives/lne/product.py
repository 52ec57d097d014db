"""Products of rows with a matrix, constant or not: Gemm and MatMul."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

import numpy as np

from qsdnn_primitives.lne.activation import limits
from qsdnn_primitives.lne.builder import Builder, activation_arguments, constant_of
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.kernel import Tile
from qsdnn_primitives.lne.packing import Array, pack_channels, pack_tiles
from qsdnn_primitives.lne.program import Packed, Value
from qsdnn_primitives.lne.shape import band_of, pixels_of, tile_of
from qsdnn_primitives.lne.tensor import Tensor
from qsdnn_primitives.plain.node import Op, UnsupportedError, is_constant, static_shape

_MOST_PAIRS = 64


def product(builder: Builder, fused: Fused) -> None:
    """Adds the steps of Gemm or MatMul of rows (m, k) with a constant matrix (k, n)."""
    op = fused.op
    if not is_constant(op.inputs[1]):
        _between_rows(builder, fused)
        return
    shape, size = static_shape(op.inputs[0]), static_shape(op.inputs[1])
    turned = bool(op.attributes.get("transB"))
    if len(size) != 2 or is_constant(op.inputs[0]):
        raise UnsupportedError("it is not a product of rows and one matrix")
    k, n = size[::-1] if turned else size
    if op.attributes.get("transA") and 1 not in shape:
        raise UnsupportedError("it transposes its rows")
    lanes, blocks = builder.lanes, -(-n // builder.lanes)
    x, y = builder.plain(op.inputs[0]), builder.plain_of(fused.output)
    rows = prod(shape) // k
    _, group = tile_of(rows, blocks, k, lanes, most_blocks=8 if rows == 1 else 4)

    def make() -> Array:
        weights = constant_of(op.inputs[1]) * np.float32(op.attributes.get("alpha", 1.0))
        columns = weights if turned else weights.T
        return pack_tiles(columns[:, :, None, None], lanes, group)

    alpha = float(op.attributes.get("alpha", 1.0))
    packed = Packed(
        key=(op.inputs[1].name, "columns", lanes, group, turned, alpha),
        size=blocks * lanes * k,
        make=make,
    )
    _rows(
        builder, fused, (x, 0), (y, 0), rows, k, n, group, lambda: packed, _bias(op, n)
    )  # fmt: skip


def _bias(op: Op, n: int) -> Array:
    """What Gemm adds to each row."""
    if len(op.inputs) < 3:
        return np.zeros(n, np.float32)
    added = constant_of(op.inputs[2]) * np.float32(op.attributes.get("beta", 1.0))
    if added.size not in (1, n) or (added.ndim == 2 and added.shape[0] != 1):
        raise UnsupportedError("it adds a matrix")
    return np.broadcast_to(added.reshape(-1), (n,)).astype(np.float32)


def _between_rows(builder: Builder, fused: Fused) -> None:
    """Adds the steps of a product of two activations, as in attention: pair after pair."""
    op = fused.op
    left, right = static_shape(op.inputs[0]), static_shape(op.inputs[1])
    if op.kind != "MatMul" or is_constant(op.inputs[0]) or left[:-2] != right[:-2] or len(left) < 2:
        raise UnsupportedError("it is not a product of pairs of matrices")
    pairs, (rows, k), n = prod(left[:-2]), left[-2:], right[-1]
    if pairs > _MOST_PAIRS:
        raise UnsupportedError(f"it has {pairs} products")
    x, z = builder.plain(op.inputs[0]), builder.plain(op.inputs[1])
    y = builder.plain_of(fused.output)
    blocks = -(-n // builder.lanes)
    _, group = tile_of(rows, blocks, k, builder.lanes)
    for pair in range(pairs):
        packed = builder.new_plain((k, blocks * builder.lanes))

        def columns(packed: Tensor = packed, start: int = pair * k * n) -> dict[str, Value]:
            return {
                "x": (z, start), "y": packed, "k": k, "n": n, "x_row": n, "x_column": 1,
                "group": group,
            }  # fmt: skip

        builder.add("pack_columns", (z,), packed, columns)
        _rows(
            builder, fused, (x, pair * rows * k), (y, pair * rows * n), rows, k, n, group,
            partial(_same, packed), np.zeros(n, np.float32), packed,
        )  # fmt: skip


def _same(tensor: Tensor) -> Value:
    return tensor


def _rows(
    builder: Builder,
    fused: Fused,
    x: tuple[Tensor, int],
    y: tuple[Tensor, int],
    rows: int,
    k: int,
    n: int,
    group: int,
    weights: Callable[[], Value],
    bias: Array,
    read: Tensor | None = None,
) -> None:
    """Adds a product of rows (rows, k) with packed columns (k, n)."""
    lanes = builder.lanes
    blocks = -(-n // lanes)
    low, high, function = limits(fused.function)
    pixels = pixels_of(rows, min(group, blocks), k, lanes)

    def arguments() -> dict[str, Value]:
        return {
            "x": x, "w": weights(), "b": pack_channels(bias, lanes, n), "y": y,
            "kind": int(Tile.STRIDED), "blocks": k // lanes, "rest": k % lanes, "rows": 1,
            "columns": 1, "height": 1, "width": rows, "x_block": lanes, "x_pixel": k,
            "y_blocks": blocks, "y_block": lanes, "y_pixel": n,
            "tail": n % lanes if rows > 1 or read is not None else 0, "pixels": pixels,
            "group": group, "low": low, "high": high,
            "band": band_of(pixels * k, -(-rows // pixels), builder.l2_floats),
            **activation_arguments(function),
        }  # fmt: skip

    builder.add("convolution", (x[0], read), y[0], arguments, lambda: 1024 if n % lanes else 0)
