"""The blas engine, host and board half together, against onnxruntime."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from qsdnn import examples
from qsdnn.engine import EngineInfo
from qsdnn.graph import load_graph
from qsdnn.graph.layer import Graph
from qsdnn.primitive import Primitive
from qsdnn.segment import Segment
from qsdnn_primitives.blas import ENGINE
from qsdnn_runtime.engine import SegmentSpec
from qsdnn_runtime.engines.blas import LOADER
from qsdnn_runtime.engines.blas.executable import BlasExecutable

Arrays = dict[str, np.ndarray]
INFO = EngineInfo(name="blas", version="")
RANDOM = np.random.default_rng(0)
TOLERANCE = 1e-4  # of an output's largest magnitude


def draw(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, dtype=np.float32)


def one_node(
    op_type: str,
    inputs: Sequence[np.ndarray | None],
    constants: Sequence[int] = (),
    *,
    outputs: int = 1,
    shape: Sequence[int] | None = None,  # of the outputs, where ONNX does not infer it
    opset: int = 21,
    **attributes: Any,
) -> tuple[onnx.ModelProto, Arrays]:
    """A model of one node, and its inputs: those not named as constants."""
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None and i not in constants}
    graph = helper.make_graph(
        [helper.make_node(op_type, names, [f"y{i}" for i in range(outputs)], **attributes)],
        op_type.lower(),
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for n, x in feeds.items()
        ],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, shape) for i in range(outputs)],
        [numpy_helper.from_array(inputs[i], f"x{i}") for i in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model, feeds


def graph_of(model: onnx.ModelProto, folder: Path) -> Graph:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return load_graph(path, workdir=folder)


def offers(graph: Graph) -> list[Sequence[Primitive]]:
    return [ENGINE.primitives(layer, INFO) for layer in graph.layers]


def load(
    graph: Graph,
    choices: Sequence[Primitive],
    folder: Path,
    outputs: Sequence[str] | None = None,
) -> BlasExecutable:
    segment = Segment(
        family="blas",
        layers=graph.layers,
        choices=tuple(choices),
        inputs=graph.inputs,
        outputs=tuple(outputs or graph.outputs),
        graph=graph,
    )
    artifact = ENGINE.build(segment, folder)
    spec = SegmentSpec(
        artifact=folder / artifact.file,
        family="blas",
        inputs=segment.inputs,
        outputs=segment.outputs,
        options=artifact.options,
        layers={
            layer.index: str(choice) for layer, choice in zip(graph.layers, choices, strict=True)
        },
    )
    return LOADER.load(spec, threads=1)


def reference(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> Arrays:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def assert_close(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    for name, value in wanted.items():
        assert found[name].shape == value.shape
        scale = max(1e-6, float(np.abs(value).max()))
        np.testing.assert_allclose(found[name], value, rtol=0, atol=TOLERANCE * scale)


def check_every_primitive(model: onnx.ModelProto, feeds: Arrays) -> None:
    """Holds each primitive a model's layers are offered against onnxruntime, one at a time."""
    wanted = reference(model, feeds)
    with tempfile.TemporaryDirectory() as name:
        graph = graph_of(model, Path(name))
        offered = offers(graph)
        assert all(offered), "a layer is offered nothing"
        for algorithm in sorted({p.algorithm for row in offered for p in row}):
            choices = [next((p for p in r if p.algorithm == algorithm), r[0]) for r in offered]
            executable = load(graph, choices, Path(name))
            assert_close(executable.call(feeds), wanted)
            applied = executable.applied()
            for layer, choice in zip(graph.layers, choices, strict=True):
                assert applied[layer.index].primitive == str(choice)
            executable.close()


# --- Convolutions ---------------------------------------------------------------------------------


@st.composite
def convolutions(draw_: st.DrawFn, group_kind: str) -> tuple[onnx.ModelProto, Arrays]:
    """Any 2-D Conv: sizes, strides, dilations and paddings of each dimension on their own."""
    small = st.integers(1, 3)
    groups = 1 if group_kind == "dense" else draw_(st.integers(2, 4))
    each = 1 if group_kind == "depthwise" else draw_(small)
    channels, filters = groups * each, groups * draw_(small)
    kernel = draw_(st.tuples(st.integers(1, 5), st.integers(1, 4)))
    strides, dilations = draw_(st.tuples(small, small)), draw_(st.tuples(small, small))
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": groups}
    auto_pad = draw_(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto_pad == "NOTSET":
        attributes["pads"] = draw_(st.tuples(*[st.integers(0, 3)] * 4))
    else:
        attributes["auto_pad"] = auto_pad
    if auto_pad.startswith("SAME"):
        attributes["dilations"], span = (1, 1), list(kernel)
    size = [s + draw_(st.integers(0, 9)) for s in span]
    x = draw(draw_(st.integers(1, 2)), channels, *size)
    operands = [x, draw(filters, channels // groups, *kernel)]
    if draw_(st.booleans()):
        operands.append(draw(filters))
    return one_node("Conv", operands, range(1, len(operands)), **attributes)


@settings(max_examples=40, deadline=None)
@given(convolutions("dense"))
def test_convolution(case: tuple[onnx.ModelProto, Arrays]) -> None:
    check_every_primitive(*case)


@st.composite
def square_convolutions(draw_: st.DrawFn) -> tuple[onnx.ModelProto, Arrays]:
    """What tiles can run: sizes that they do not divide, paddings that differ at each side."""
    taps = draw_(st.sampled_from([3, 5, 7]))
    channels, filters = draw_(st.integers(1, 5)), draw_(st.integers(1, 5))
    size = [taps + draw_(st.integers(0, 20)) for _ in range(2)]
    pads = draw_(st.tuples(*[st.integers(0, taps)] * 4))
    operands = [
        draw(draw_(st.integers(1, 2)), channels, *size),
        draw(filters, channels, taps, taps),
    ]
    if draw_(st.booleans()):
        operands.append(draw(filters))
    return one_node("Conv", operands, range(1, len(operands)), pads=pads)


@settings(max_examples=40, deadline=None)
@given(square_convolutions())
def test_square_convolution(case: tuple[onnx.ModelProto, Arrays]) -> None:
    check_every_primitive(*case)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_pruned_convolution(kernel: int, stride: int) -> None:
    weights = draw(24, 16, kernel, kernel)
    weights[RANDOM.random(weights.shape) > 0.03] = 0  # whole filters among them
    operands = [draw(2, 16, 33, 30), weights, draw(24)]
    check_every_primitive(*one_node("Conv", operands, (1, 2), strides=[stride] * 2))


@settings(max_examples=20, deadline=None)
@given(convolutions("grouped"))
def test_grouped_convolution(case: tuple[onnx.ModelProto, Arrays]) -> None:
    check_every_primitive(*case)


@settings(max_examples=20, deadline=None)
@given(convolutions("depthwise"))
def test_depthwise_convolution(case: tuple[onnx.ModelProto, Arrays]) -> None:
    check_every_primitive(*case)


@pytest.mark.parametrize(
    ("x", "weights", "attributes"),
    [
        pytest.param((2, 3, 19), (4, 3, 5), {"pads": [2, 1], "dilations": [2]}, id="1-D"),
        pytest.param((1, 2, 5, 6, 7), (3, 2, 3, 2, 3), {"pads": [1] * 6}, id="3-D"),
        pytest.param((1, 40, 70, 65), (20, 40, 3, 3), {"pads": [1] * 4}, id="bands"),
        pytest.param((1, 40, 70, 65), (40, 1, 3, 3), {"pads": [1] * 4, "group": 40}, id="blocks"),
        pytest.param((1, 260, 40, 40), (300, 260, 3, 3), {}, id="kn2row bands"),
        pytest.param((1, 8, 90, 90), (70, 8, 5, 5), {"pads": [2] * 4}, id="tile bands"),
    ],
)
def test_convolution_of_other_sizes(
    x: Sequence[int], weights: Sequence[int], attributes: dict[str, Any]
) -> None:
    operands = [draw(*x), draw(*weights), draw(weights[0])]
    check_every_primitive(*one_node("Conv", operands, (1, 2), **attributes))


# --- Pools ----------------------------------------------------------------------------------------


@st.composite
def pools(draw_: st.DrawFn) -> tuple[onnx.ModelProto, Arrays]:
    """MaxPool and AveragePool, as onnxruntime takes them: padding below the kernel's size."""
    kernel = draw_(st.tuples(st.integers(2, 4), st.integers(2, 4)))
    pads = [draw_(st.integers(0, k - 1)) for k in kernel * 2]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "pads": pads,
        "strides": draw_(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "ceil_mode": draw_(st.integers(0, 1)),
    }
    op_type = draw_(st.sampled_from(["MaxPool", "AveragePool"]))
    if op_type == "AveragePool":
        attributes["count_include_pad"] = draw_(st.integers(0, 1))
    else:
        attributes["dilations"] = draw_(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    size = draw_(st.tuples(st.integers(7, 12), st.integers(7, 12)))
    for axis, (n, k) in enumerate(zip(size, kernel, strict=True)):
        # Where ceil_mode adds a window in the padding, ONNX and onnxruntime differ on its count.
        span = (k - 1) * attributes.get("dilations", (1, 1))[axis] + 1
        begin, end, stride = pads[axis], pads[axis + 2], attributes["strides"][axis]
        windows = -(-(n + begin + end - span) // stride) + 1
        assume(not attributes["ceil_mode"] or (windows - 1) * stride < n + begin)
    return one_node(op_type, [draw(draw_(st.integers(1, 2)), 3, *size)], **attributes)


@settings(max_examples=40, deadline=None)
@given(pools())
def test_pool(case: tuple[onnx.ModelProto, Arrays]) -> None:
    check_every_primitive(*case)


# --- Every other operator -------------------------------------------------------------------------

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


@pytest.mark.parametrize("case", OPERATORS.values(), ids=OPERATORS.keys())
def test_operator(case: Callable[[], tuple[onnx.ModelProto, Arrays]]) -> None:
    check_every_primitive(*case())


# --- Whole networks -------------------------------------------------------------------------------

NETWORKS = ("tiny-cnn", "tiny-multi", "tiny-transformer", "kws9", "ds_kws9")


def feeds_of(graph: Graph) -> Arrays:
    return {name: draw(*(graph.tensors[name].shape or ())) for name in graph.inputs}


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str, tmp_path: Path) -> None:
    model = examples.build(name)
    feeds = feeds_of(graph_of(model, tmp_path))
    check_every_primitive(model, feeds)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(NETWORKS[:3]), st.data())
def test_any_mix_and_any_outputs(name: str, data: st.DataObject) -> None:
    """Which tensors leave a segment decides what may share memory; no value may depend on it."""
    with tempfile.TemporaryDirectory() as folder:
        graph = graph_of(examples.build(name), Path(folder))
        choices = [data.draw(st.sampled_from(row)) for row in offers(graph)]
        inner = [tensor for layer in graph.layers for tensor in layer.outputs]
        some = [tensor for tensor in inner if data.draw(st.booleans())] or list(graph.outputs)
        feeds = feeds_of(graph)
        wanted = load(graph, choices, Path(folder), inner).call(feeds)
        assert_close(
            load(graph, choices, Path(folder), some).call(feeds),
            {tensor: wanted[tensor] for tensor in some},
        )
        assert_close(wanted, reference(examples.build(name), feeds))


def test_bound_runs_allocate_nothing(tmp_path: Path) -> None:
    graph = graph_of(examples.build("tiny-cnn"), tmp_path)
    executable = load(graph, [row[0] for row in offers(graph)], tmp_path)
    feeds = feeds_of(graph)
    outputs = {n: np.empty(graph.tensors[n].shape or (), np.float32) for n in graph.outputs}
    executable.bind(feeds, outputs)
    executable.run()
    first = {name: value.tobytes() for name, value in outputs.items()}
    tracemalloc.start()
    try:
        executable.run()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            executable.run()
            assert {name: value.tobytes() for name, value in outputs.items()} == first
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1024
    assert peak - before < 16 * 1024  # numpy's own buffers; the smallest image takes 16 KiB
