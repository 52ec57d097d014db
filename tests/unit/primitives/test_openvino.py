"""OpenVINO's host half: what it takes must come out as ONNX says."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from qsdnn.engine import Engine, EngineInfo
from qsdnn.model.layer import Layer
from qsdnn_primitives.openvino import ENGINE, OPERATORS
from qsdnn_runtime.engine import SegmentSpec, find_loader

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")


def _names(model, *capabilities, pinned=""):
    return [str(primitive) for primitive in _offers(model, *capabilities, pinned=pinned)]


def _offers(model, *capabilities, pinned=""):
    inferred = onnx.shape_inference.infer_shapes(model)
    graph = ir.from_proto(inferred).graph
    layer = Layer(
        index=0,
        name="layer",
        kind="other",
        nodes=tuple(graph),
        inputs=tuple(str(value.name) for value in graph.inputs),
        outputs=tuple(str(value.name) for value in graph.outputs),
        pinned=pinned,
    )
    info = EngineInfo(name="openvino", version="1", capabilities=capabilities)
    return ENGINE.primitives(layer, info)


def _model(op, dtypes=("float32",), shape=(1, 4, 7, 7), out=None, **attributes):
    names = [f"x{i}" for i in range(len(dtypes))]
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.dtype(d)), shape)
        for n, d in zip(names, dtypes, strict=True)
    ]
    made = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, out)
    node = helper.make_node(op, names, ["y"], "0:0", **attributes)
    graph = helper.make_graph([node], "g", infos, [made])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _conv(op, weights, shape=(1, 4, 7, 7), **attributes):
    model = _model(op, shape=shape, **attributes)
    model.graph.node[0].input.append("w")
    model.graph.initializer.append(numpy_helper.from_array(np.ones(weights, np.float32), "w"))
    return model


def test_precisions_are_those_the_board_read_back_for_the_kind():
    relu, pool = _model("Relu"), _model("GlobalAveragePool", out=(1, 4, 1, 1))
    told = [f"GlobalAveragePool:auto/{precision}" for precision in ("bf16", "fp16", "int8")]
    assert isinstance(ENGINE, Engine)
    assert _names(pool) == ["openvino/auto/fp32"]
    assert _names(pool, "FP32", "INT8", "BF16", "FP16") == ["openvino/auto/fp32"]
    assert _names(relu, *told) == ["openvino/auto/fp32"]
    assert _names(pool, *told[1:2]) == ["openvino/auto/fp32", "openvino/auto/fp16"]
    some = ["openvino/auto/fp32", "openvino/auto/bf16", "openvino/auto/int8"]
    assert _names(pool, *told) == some  # one graph has bf16 or fp16, not both


def test_all_precisions_share_one_graph_and_differ_in_format():
    pool = _model("GlobalAveragePool", out=(1, 4, 1, 1))
    told = [f"GlobalAveragePool:auto/{precision}" for precision in ("bf16", "int8")]
    assert [p.domain for p in _offers(pool, *told)] == ["openvino", "openvino/bf16", "openvino/u8"]


def test_what_does_not_survive_in_integers_is_not_offered_in_them():
    """A 1x1 convolution that is strided and padded; a Concat that is not of channels."""
    told = ["pointwise:auto/int8", "Concat:auto/int8"]
    strided = {"strides": [2, 2]}
    assert len(_names(_conv("Conv", (8, 4, 1, 1), **strided), *told)) == 2
    assert len(_names(_conv("Conv", (8, 4, 1, 1), **strided, pads=[0, 0, 0, 1]), *told)) == 1
    sides = {"dtypes": ("float32", "float32")}
    assert len(_names(_model("Concat", **sides, out=(1, 8, 7, 7), axis=1), *told)) == 2
    assert len(_names(_model("Concat", **sides, out=(1, 4, 14, 7), axis=2), *told)) == 1


@pytest.mark.parametrize(
    ("kind", "weights", "attributes"),
    [
        ("conv", (8, 4, 3, 3), {}),
        ("conv", (8, 4, 1, 3), {}),
        ("pointwise", (8, 4, 1, 1), {"pads": [1, 0, 0, 1]}),
        ("depthwise", (4, 1, 3, 3), {"group": 4}),
        ("grouped", (8, 1, 3, 3), {"group": 4}),
        ("grouped", (4, 2, 3, 3), {"group": 2}),
    ],
)
def test_algorithms_are_those_the_board_says_it_has(kind, weights, attributes):
    told = [f"{kind}:jit_avx2/fp32", f"{kind}:jit_avx2/bf16", "other:gemm_acl/fp32", "BF16"]
    assert _names(_conv("Conv", weights, **attributes), *told) == [
        *("openvino/auto/fp32", "openvino/jit_avx2/fp32", "openvino/jit_avx2/bf16"),
    ]


def test_layers_of_no_kind_have_no_algorithms():
    told = [f"{kind}:jit_avx2/fp32" for kind in ("", "conv", "pointwise", "depthwise", "grouped")]
    assert _names(_conv("ConvTranspose", (4, 8, 3, 3)), *told) == ["openvino/auto/fp32"]
    assert _names(_conv("Conv", (8, 4, 3), shape=(1, 4, 7)), *told) == ["openvino/auto/fp32"]
    assert _names(_model("Relu"), *told) == ["openvino/auto/fp32"]


@pytest.mark.parametrize(
    "model",
    [
        _model("Einsum", equation="abcd->abcd"),
        _model("Relu", dtypes=("float16",)),
        _model("Add", dtypes=("int64", "int64")),
        _model("Relu", shape=(1, "n")),
        _model("Relu", shape=(0, 3)),
        _model("Dropout"),
        _model("Sum"),
        _model("MaxPool", out=(1, 4, 3, 3), ceil_mode=1, kernel_shape=[1, 1], strides=[3, 3],
               pads=[0, 0, 1, 1]),
    ],
    ids=["operator", "float16", "int64", "dynamic", "empty", "dropout", "sum", "ceil"],
)  # fmt: skip
def test_what_it_may_not_compute_alike_is_left_to_others(model):
    assert _names(model) == []


def test_pinned_layers_are_left_to_onnxruntime():
    assert _names(_model("Relu"), pinned="because") == []


def test_pools_with_ceil_mode_are_taken_where_both_count_alike():
    pool = {"ceil_mode": 1, "kernel_shape": [3, 3], "strides": [2, 2]}
    assert _names(_model("MaxPool", **pool)) == ["openvino/auto/fp32"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the cases of casts overflow on purpose
def test_every_case_of_onnx_that_it_takes_comes_out_right(tmp_path):
    """ONNX's own tests, with all but activations made constant, through OpenVINO."""
    seen, wrong = set(), []
    for case in _cases():
        model, feeds, outputs = case
        if not _names(model):
            continue
        seen |= {node.op_type for node in model.graph.node}
        try:
            for got, want in zip(_run(model, feeds, outputs, tmp_path), outputs, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
        except Exception as error:
            wrong.append((model.graph.name, str(error)))
    assert wrong == []
    assert OPERATORS - seen <= {"Dropout"}  # alone it would pass its input on


def _cases():
    for kind in KINDS:
        for case in load_model_tests(kind=kind):
            folder = Path(case.model_dir or "")
            model = case.model or onnx.load(folder / "model.onnx")
            inputs, outputs = (case.data_sets or _read(folder) or [([], [])])[0]
            if not outputs or not all(isinstance(v, np.ndarray) for v in (*inputs, *outputs)):
                continue
            yield *_with_constants(model, inputs), outputs


def _read(folder):
    """The first data set of a case on disk; nothing when it has other than tensors."""
    sides = []
    for side in ("input", "output"):
        paths = sorted(folder.glob(f"test_data_set_0/{side}_*.pb"), key=lambda p: (len(p.name), p))
        try:
            sides.append([numpy_helper.to_array(onnx.load_tensor(path)) for path in paths])
        except (TypeError, ValueError, onnx.onnx_cpp2py_export.checker.ValidationError):
            return None
    return [tuple(sides)]


def _with_constants(model, inputs):
    """A copy whose inputs are those that are float32, and indices; the rest is weights."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    weights = {tensor.name for tensor in copy.graph.initializer}
    given = [value for value in model.graph.input if value.name not in weights]
    indices = {node.input[1] for node in copy.graph.node if node.op_type == "Gather"}
    feeds = {}
    del copy.graph.input[:]
    for value, array in zip(given, inputs, strict=False):
        if array.dtype == np.float32 or value.name in indices:
            copy.graph.input.append(value)
            feeds[value.name] = np.array(array)
        else:
            copy.graph.initializer.append(numpy_helper.from_array(array, value.name))
    return copy, feeds


def _run(model, feeds, outputs, folder):
    path = folder / "model.onnx"
    onnx.save(model, path)
    names = tuple(value.name for value in model.graph.output)
    spec = SegmentSpec(path, "openvino", tuple(feeds), names, {}, {})
    executable = find_loader("openvino").load(spec, 1)
    results = {
        n: np.full(want.shape, -7, want.dtype) for n, want in zip(names, outputs, strict=True)
    }
    executable.bind(feeds, results)
    executable.run()
    executable.close()
    return list(results.values())
