"""Products of matrices, constant or not: Gemm and MatMul."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from qsdnn_primitives.lne.activation import limits
from qsdnn_primitives.lne.arguments import activation_arguments
from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.kernel import Tile
from qsdnn_primitives.lne.packing import Array, pack_channels, pack_tiles
from qsdnn_primitives.lne.program import Packed, Value
from qsdnn_primitives.lne.shape import passes, pixels_of, tile_of
from qsdnn_primitives.lne.tensor import Tensor
from qsdnn_primitives.lne.tiles import is_half
from qsdnn_primitives.lne.values import constant_of
from qsdnn_primitives.plain.node import Op, UnsupportedError, is_constant, static_shape

_MOST_PAIRS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrices:
    """An operand: matrices by the dimensions of a batch.

    Attributes:
        value: The value.
        batch: The dimensions before those of a matrix.
        rows: The rows of a matrix.
        columns: The columns of a matrix.
        turned: Whether a matrix lies with its columns as rows.
    """

    value: ir.Value
    batch: tuple[int, ...]
    rows: int
    columns: int
    turned: bool

    def numbers(self, batch: tuple[int, ...]) -> list[int]:
        """The number of the matrix for each place of a batch that this one spreads to."""
        own = np.arange(prod(self.batch)).reshape(self.batch)
        return [int(number) for number in np.broadcast_to(own, batch).reshape(-1)]

    def arrays(self) -> Array:
        """The matrices of a constant: (number, rows, columns), a view."""
        own = (self.columns, self.rows) if self.turned else (self.rows, self.columns)
        found = constant_of(self.value).reshape(-1, *own)
        return found.transpose(0, 2, 1) if self.turned else found


def product(builder: Builder, fused: Fused) -> None:
    """Adds the steps of Gemm or MatMul: pair after pair, each of rows with a matrix."""
    op = fused.op
    left, right, rows, pairs = pairs_of(op)
    k, n = right.rows, right.columns
    x = rows_of(builder, left)
    columns = Columns(builder, op, right, rows)
    y = builder.plain_of(fused.output)
    for number, (first, second) in enumerate(pairs):
        _rows(
            builder, fused, (x, first * rows * k), columns.packed(second), (y, number * rows * n),
            (rows, k, n), columns.group, rows > 1 or len(pairs) > 1,
        )  # fmt: skip


def pairs_of(op: Op) -> tuple[Matrices, Matrices, int, list[tuple[int, int]]]:
    """Both operands, the rows on the left of a product, and the numbers of each pair that meets."""
    left, right = _operands(op)
    if left.turned and not is_constant(left.value):
        raise UnsupportedError("it transposes its rows")
    batch = np.broadcast_shapes(left.batch, right.batch)
    pairs = list(zip(left.numbers(batch), right.numbers(batch), strict=True))
    if pairs == [(number, 0) for number in range(len(pairs))]:
        return left, right, left.rows * len(pairs), [(0, 0)]  # all rows with one matrix
    if len(pairs) > _MOST_PAIRS:
        raise UnsupportedError(f"it has {len(pairs)} products")
    return left, right, left.rows, pairs


def rows_of(builder: Builder, left: Matrices) -> Tensor | Array:
    """The operand on the left, row after row."""
    return (
        np.ascontiguousarray(left.arrays())
        if is_constant(left.value)
        else builder.plain(left.value)
    )


def _operands(op: Op) -> tuple[Matrices, Matrices]:
    """Both operands; a vector is a row on the left, and a column on the right."""
    shapes = [static_shape(value) for value in op.inputs[:2]]
    shapes = [(1, *shapes[0])[-max(len(shapes[0]), 2) :], shapes[1]]
    if len(shapes[1]) == 1:
        shapes[1] = (*shapes[1], 1)
    turns = [bool(op.attributes.get(name)) for name in ("transA", "transB")]
    found = []
    for value, shape, turned in zip(op.inputs, shapes, turns, strict=False):
        rows, columns = shape[:-3:-1] if turned else shape[-2:]
        found.append(
            Matrices(value=value, batch=shape[:-2], rows=rows, columns=columns, turned=turned)
        )
    return found[0], found[1]


class Columns:
    """The matrices on the right, packed for tiles: each once.

    Attributes:
        group: The blocks of columns that tiles hold.

    Args:
        builder: The builder.
        op: The product.
        right: The matrices.
        rows: The rows that meet each of them.
    """

    def __init__(self, builder: Builder, op: Op, right: Matrices, rows: int) -> None:
        self._builder, self._op, self._right = builder, op, right
        self._packed: dict[int, Tensor | Packed] = {}
        blocks = -(-right.columns // builder.lanes)
        most = 8 if rows == 1 else 4
        _, self.group = tile_of(rows, blocks, right.rows, builder.lanes, most_blocks=most)

    def packed(self, number: int) -> Tensor | Packed:
        """One of the matrices."""
        if number not in self._packed:
            constant = is_constant(self._right.value)
            self._packed[number] = self._weights(number) if constant else self._step(number)
        return self._packed[number]

    def _weights(self, number: int) -> Packed:
        right, lanes, group = self._right, self._builder.lanes, self.group
        alpha = float(self._op.attributes.get("alpha", 1.0))

        def make() -> Iterator[Array]:
            columns = right.arrays()[number].T
            columns = columns if alpha == 1.0 else columns * np.float32(alpha)
            return pack_tiles(columns[:, :, None, None], lanes, group)

        return Packed(
            key=(right.value.name, "columns", lanes, group, right.turned, alpha, number),
            size=-(-right.columns // lanes) * lanes * right.rows,
            make=make,
        )

    def _step(self, number: int) -> Tensor:
        """Adds a step that packs a matrix that is computed."""
        right, lanes = self._right, self._builder.lanes
        z, (k, n) = self._builder.plain(right.value), (right.rows, right.columns)
        packed = self._builder.new_plain((k, -(-n // lanes) * lanes))
        found: dict[str, Value] = {
            "x": (z, number * k * n), "y": packed, "k": k, "n": n,
            "x_row": 1 if right.turned else n, "x_column": k if right.turned else 1,
            "group": self.group,
        }  # fmt: skip
        self._builder.add("pack_columns", (z,), packed, lambda: found)
        return packed


def row_bias(op: Op, n: int) -> Array:
    """What Gemm adds to each row."""
    if len(op.inputs) < 3:
        return np.zeros(n, np.float32)
    added = constant_of(op.inputs[2]) * np.float32(op.attributes.get("beta", 1.0))
    return np.broadcast_to(added.reshape(-1), (n,)).astype(np.float32)


def _rows(
    builder: Builder,
    fused: Fused,
    x: tuple[Tensor | Array, int],
    weights: Tensor | Packed,
    y: tuple[Tensor, int],
    sizes: tuple[int, int, int],
    group: int,
    exact: bool,
) -> None:
    """Adds a product of rows with packed columns.

    Args:
        builder: The builder.
        fused: The product.
        x: The rows.
        weights: The columns.
        y: What to write.
        sizes: The numbers of rows, of their elements, and of columns.
        group: The blocks of columns that tiles hold.
        exact: Whether something else lies behind a row that is written.
    """
    (rows, k, n), lanes = sizes, builder.lanes
    blocks = -(-n // lanes)
    low, high, function = limits(fused.function)
    pixels = pixels_of(rows, min(group, blocks), k, lanes)
    bias = pack_channels(row_bias(fused.op, n), lanes, n)
    found: dict[str, Value] = {
        "x": x, "w": weights, "b": bias, "y": y, "kind": int(Tile.STRIDED), "blocks": k // lanes,
        "rest": k % lanes, "rows": 1, "columns": 1, "height": 1, "width": rows, "x_block": lanes,
        "x_pixel": k, "y_blocks": blocks, "y_block": lanes, "y_pixel": n,
        "tail": n % lanes if exact else 0, "pixels": pixels, "group": group,
        "half": is_half(n, lanes), "low": low, "high": high, **passes(
            pixels * k, -(-rows // pixels), k // lanes, lanes * min(group, blocks) * lanes,
            builder.l2_floats,
        ), **activation_arguments(function),
    }  # fmt: skip
    reads = [place for place in (x[0], weights) if isinstance(place, Tensor)]
    builder.add("convolution", tuple(reads), y[0], lambda: found, lambda: 1024 if n % lanes else 0)
