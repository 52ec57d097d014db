"""Products of matrices."""

from __future__ import annotations

import numpy as np

from qsdnn_primitives.litert.lowering import MAX_BROADCAST, Lowering
from qsdnn_primitives.litert.program import Array, Constant, Tensor, floats
from qsdnn_primitives.plain.node import Shape, UnsupportedError, is_constant, static_shape


def gemm(low: Lowering) -> None:
    """Gemm: FULLY_CONNECTED where the second factor is constant."""
    attributes = low.op.attributes
    alpha, beta = float(attributes["alpha"]), float(attributes["beta"])
    turned, turned_weight = bool(attributes["transA"]), bool(attributes["transB"])
    rows, columns = low.output_shape
    if turned or not is_constant(low.op.inputs[1]):
        options = {"adj_x": turned, "adj_y": turned_weight}
        factors = [low.take(0), low.take(1)]
        tensor = low.add("BATCH_MATMUL", factors, (rows, columns), **options)
        if alpha != 1:
            tensor = low.add("MUL", [tensor, floats([[alpha]])], (rows, columns))
        low.finish(_with_addend(low, tensor, beta))
        return
    inner = low.shape()[1]

    def convert(array: Array) -> Array:
        return (array if turned_weight else array.T) * np.float32(alpha)

    plain = turned_weight and alpha == 1
    weights = low.constant(1, (columns, inner), None if plain else convert)
    bias = _bias(low, columns, beta)
    options = {"keep_num_dims": True}
    tensor = low.add("FULLY_CONNECTED", [low.take(0), weights, bias], (rows, columns), **options)
    low.finish(tensor if bias is not None else _with_addend(low, tensor, beta))


def _bias(low: Lowering, columns: int, beta: float) -> Tensor | None:
    """The third input where it is a constant that all rows have alike; None for any other."""
    if len(low.op.inputs) < 3:
        return floats(np.zeros(columns))
    value = low.op.inputs[2]
    shape = static_shape(value)
    if not is_constant(value) or any(n != 1 for n in shape[:-1]):
        return None

    def convert(array: Array) -> Array:
        return np.broadcast_to(array.reshape(-1) * np.float32(beta), (columns,))

    plain = beta == 1 and shape == (columns,)
    return Tensor((columns,), "float32", Constant(value, None if plain else convert))


def _with_addend(low: Lowering, tensor: Tensor, beta: float) -> Tensor:
    if len(low.op.inputs) < 3:
        return tensor
    addend = low.aligned(low.op.inputs[2], 2, low.usual())
    if beta != 1:
        addend = low.add("MUL", [addend, floats([[beta]])], addend.shape)
    return low.add("ADD", [tensor, addend], tensor.shape)


def matmul(low: Lowering) -> None:
    """MatMul: FULLY_CONNECTED where the second factor is a constant matrix."""
    first, second = low.shape(0), low.shape(1)
    if is_constant(low.op.inputs[1]) and len(second) == 2:
        inner, columns = second
        weights = low.constant(1, (columns, inner), lambda array: array.T)
        left = low.take(0)
        shape = (*first[:-1], columns)
        inputs = [left, weights, None]
        low.finish(low.add("FULLY_CONNECTED", inputs, shape, keep_num_dims=True))
        return
    left, first = _matrix(low, 0, (1, *first) if len(first) == 1 else first)
    right, second = _matrix(low, 1, (*second, 1) if len(second) == 1 else second)
    if max(len(first), len(second)) > MAX_BROADCAST:
        raise UnsupportedError(f"it spreads over more than {MAX_BROADCAST} dimensions")
    batches = np.broadcast_shapes(first[:-2], second[:-2])
    shape = (*batches, first[-2], second[-1])
    low.finish(low.add("BATCH_MATMUL", [left, right], shape))


def _matrix(low: Lowering, index: int, shape: Shape) -> tuple[Tensor, Shape]:
    value = low.op.inputs[index]
    if is_constant(value):
        return low.constant(index, shape), shape
    return low.program.reshape(low.take(index), shape), shape
