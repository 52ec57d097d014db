"""Models of one node for each operator in plain form, and the networks that engines are held to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from qsdnn.model.layer import Graph
from tests.unit.runtime.blas_case import Arrays, draw, one_node

I64 = np.int64
X = (2, 6, 5, 4)

UNARY = (
    *("Abs", "Ceil", "Erf", "Exp", "Floor", "HardSwish", "Mish", "Neg", "Reciprocal", "Relu"),
    *("Sigmoid", "Softplus", "Softsign", "Tanh", "Elu", "Selu", "HardSigmoid", "LeakyRelu"),
    *("Gelu", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "Softmax", "LogSoftmax"),
    *("Transpose", "Identity"),
)

OPERATORS: dict[str, Callable[[], tuple[onnx.ModelProto, Arrays]]] = {
    **{name: lambda name=name: one_node(name, [3 * draw(*X)]) for name in UNARY},
    "Log": lambda: one_node("Log", [np.abs(draw(*X)) + 0.1]),
    "Sqrt": lambda: one_node("Sqrt", [np.abs(draw(*X))]),
    "Sigmoid far out": lambda: one_node("Sigmoid", [100 * draw(*X)]),
    "Softmax 12": lambda: one_node("Softmax", [draw(*X)], opset=12, axis=2),
    "Softmax first": lambda: one_node("Softmax", [draw(*X)], axis=1),
    "Gelu tanh": lambda: one_node("Gelu", [draw(40, 1000)], approximate="tanh"),
    "Gelu tiles": lambda: one_node("Gelu", [draw(40, 1000)]),
    "Elu alpha": lambda: one_node("Elu", [draw(*X)], alpha=0.3),
    "PRelu": lambda: one_node("PRelu", [draw(*X), draw(6, 1, 1)], [1]),
    "Clip": lambda: one_node("Clip", [draw(*X), np.float32(-0.5), np.float32(0.5)], [1, 2]),
    "Clip max": lambda: one_node("Clip", [draw(*X), None, np.float32(0.5)], [2]),
    "Clip 6": lambda: one_node("Clip", [draw(*X)], opset=10, min=0.0, max=6.0),
    **{
        name: lambda name=name: one_node(name, [draw(*X), draw(*X)])
        for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean")
    },
    "Add channel": lambda: one_node("Add", [draw(*X), draw(6, 1, 1)], [1]),
    "Add spreads": lambda: one_node("Add", [draw(1, 6, 1, 4), draw(2, 1, 5, 1)]),
    "Sum of three": lambda: one_node("Sum", [draw(*X), draw(4), draw(*X)]),
    "Mean of three": lambda: one_node("Mean", [draw(4), draw(1), draw(*X)]),
    "Pow 2": lambda: one_node("Pow", [draw(*X), np.array([2], I64)], [1]),
    "Pow 0.5": lambda: one_node("Pow", [np.abs(draw(*X)), np.float32(0.5)], [1]),
    "Pow 3": lambda: one_node("Pow", [draw(*X), np.float32(3)], [1]),
    "Pow each": lambda: one_node("Pow", [np.abs(draw(*X)), draw(4)]),
    "BatchNormalization": lambda: one_node(
        "BatchNormalization", [draw(*X), *(np.abs(draw(6)) for _ in range(4))], range(1, 5)
    ),
    "LayerNormalization": lambda: one_node(
        "LayerNormalization", [draw(2, 7, 12), draw(12), draw(12)], [1, 2], axis=-1
    ),
    "LayerNormalization of two": lambda: one_node(
        "LayerNormalization", [draw(*X), draw(5, 4)], [1], axis=2, epsilon=0.1
    ),
    "InstanceNormalization": lambda: one_node(
        "InstanceNormalization", [draw(*X), draw(6), draw(6)], [1, 2]
    ),
    "GroupNormalization": lambda: one_node(
        "GroupNormalization", [draw(*X), draw(6), draw(6)], [1, 2], shape=X, num_groups=3
    ),
    "LRN": lambda: one_node("LRN", [3 * draw(2, 7, 3, 4)], size=5, alpha=0.5, bias=2.0),
    "LRN power": lambda: one_node("LRN", [draw(2, 7, 3, 4)], size=3, alpha=0.5, beta=0.6),
    "LRN wide": lambda: one_node("LRN", [draw(2, 3, 3, 4)], size=9, alpha=0.5),
    "ReduceMean": lambda: one_node("ReduceMean", [draw(*X), np.array([-1, 1])], [1]),
    "ReduceMean 13": lambda: one_node("ReduceMean", [draw(*X)], opset=13, axes=[2, 3], keepdims=0),
    "ReduceSum": lambda: one_node("ReduceSum", [draw(*X)]),
    "ReduceMax": lambda: one_node("ReduceMax", [draw(*X), np.array([0])], [1], keepdims=0),
    "ReduceMin": lambda: one_node("ReduceMin", [draw(*X), np.array([3])], [1]),
    "Gemm": lambda: one_node("Gemm", [draw(3, 8), draw(5, 8), draw(5)], [1, 2], transB=1),
    "Gemm scaled": lambda: one_node(
        "Gemm", [draw(8, 3), draw(8, 5), draw(3, 1)], [1, 2], transA=1, alpha=0.5, beta=2.0
    ),
    "Gemm of one row": lambda: one_node(
        "Gemm", [draw(8, 1), draw(8, 5), draw(5)], [1, 2], transA=1, alpha=0.5, beta=2.0
    ),
    "Gemm of one row, transposed": lambda: one_node(
        "Gemm", [draw(1, 8), draw(5, 8)], [1], transB=1
    ),
    "MatMul of one row": lambda: one_node("MatMul", [draw(1, 1, 8), draw(8, 5)], [1]),
    "Gemm of activations": lambda: one_node("Gemm", [draw(3, 8), draw(8, 5), draw(3, 5)]),
    "MatMul": lambda: one_node("MatMul", [draw(2, 3, 4, 8), draw(8, 5)], [1]),
    "MatMul batch": lambda: one_node("MatMul", [draw(2, 3, 4, 8), draw(3, 8, 5)]),
    "MatMul vector": lambda: one_node("MatMul", [draw(2, 4, 8), draw(8)], [1]),
    "MatMul row": lambda: one_node("MatMul", [draw(8), draw(2, 8, 5)]),
    "Reshape": lambda: one_node("Reshape", [draw(*X), np.array([0, -1, 2])], [1]),
    "Unsqueeze": lambda: one_node("Unsqueeze", [draw(*X), np.array([0, 3])], [1]),
    "Squeeze": lambda: one_node("Squeeze", [draw(2, 1, 3, 1), np.array([-1])], [1]),
    "Transpose perm": lambda: one_node("Transpose", [draw(*X)], perm=[0, 2, 3, 1]),
    "Transpose of nothing": lambda: one_node("Transpose", [draw(1, 5, 1, 4)], perm=[2, 1, 0, 3]),
    "Concat": lambda: one_node("Concat", [draw(*X), draw(2, 1, 5, 4), draw(2, 3, 5, 4)], axis=-3),
    "Split": lambda: one_node("Split", [draw(*X), np.array([1, 3, 2])], [1], outputs=3, axis=1),
    "Slice": lambda: one_node(
        "Slice",
        [draw(*X), np.array([-1, 1]), np.array([-99, 99]), np.array([1, -2]), np.array([-2, 3])],
        [1, 2, 3, 4],
    ),
    "Slice 9": lambda: one_node("Slice", [draw(*X)], opset=9, starts=[1], ends=[-1], axes=[1]),
    "Pad": lambda: one_node(
        "Pad", [draw(*X), np.array([1, 0, 2, 3]), np.float32(7), np.array([1, 3])], [1, 2, 3]
    ),
    **{
        f"Pad {mode}": lambda mode=mode: one_node(
            "Pad", [draw(*X), np.array([0, 2, 1, 3, 1, 0, 4, 0])], [1], mode=mode
        )
        for mode in ("reflect", "edge")
    },
    "Gather": lambda: one_node("Gather", [draw(*X), np.array([[0, -1], [3, 3]])], [1], axis=1),
    "Gather one": lambda: one_node("Gather", [draw(*X), np.array(2, I64)], [1], axis=2),
    "Embedding": lambda: one_node("Gather", [draw(9, 4), np.array([[1, 8, -9]])], [0]),
    "Expand": lambda: one_node("Expand", [draw(2, 1, 4), np.array([3, 2, 5, 1])], [1]),
    **{
        f"DepthToSpace {mode}": lambda mode=mode: one_node(
            "DepthToSpace", [draw(2, 8, 3, 4)], blocksize=2, mode=mode
        )
        for mode in ("DCR", "CRD")
    },
    "SpaceToDepth": lambda: one_node("SpaceToDepth", [draw(2, 3, 4, 6)], blocksize=2),
}

NETWORKS = ("tiny-cnn", "tiny-multi", "tiny-transformer", "kws9", "ds_kws9")


def feeds_of(graph: Graph) -> Arrays:
    return {name: draw(*(graph.tensors[name].shape or ())) for name in graph.inputs}
