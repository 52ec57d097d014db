"""Single layers drawn at random: shapes, windows, paddings, broadcasts and attributes."""

from dataclasses import dataclass, field

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
SIZES = st.integers(1, 13)
CHANNELS = st.sampled_from([1, 2, 3, 4, 5, 8, 12, 16, 17, 24, 32])
BATCHES = st.sampled_from([1, 1, 1, 1, 1, 1, 1, 2])

PLAIN = [
    *("Relu", "Sigmoid", "Tanh", "Softplus", "Mish", "HardSwish", "Abs", "Neg", "Floor", "Ceil"),
    *("LeakyRelu", "Elu", "Selu"),
]

STEEP = {"Ceil", "Div", "Floor", "Pow", "Sqrt"}  # make much of the last bit of what they read


@dataclass
class Drawn:
    """A network of a few nodes: ``x`` (and ``z``) in, ``y`` out."""

    nodes: list
    inputs: dict
    weights: dict = field(default_factory=dict)
    outputs: tuple = ("y",)
    opset: int = OPSET

    def model(self):
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [
                helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
                for n, s in self.inputs.items()
            ],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in self.outputs],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, ir_version=8, opset_imports=opsets)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@st.composite
def images(draw, channels=CHANNELS, least=1):
    sizes = st.integers(least, max(13, least))
    return draw(BATCHES), draw(channels), draw(sizes), draw(sizes)


@st.composite
def activations(draw, node, weights):
    """The nodes of a layer: a main one, often with an activation behind it."""
    kind = draw(st.sampled_from(["", "Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSwish", "Swish"]))
    if not kind:
        node.output[0] = "y"
        return [node]
    if kind == "Clip":
        weights |= {"low": np.float32(0), "high": np.float32(6)}
        return [node, helper.make_node("Clip", ["t", "low", "high"], ["y"])]
    if kind == "Swish":
        gate = helper.make_node("Sigmoid", ["t"], ["g"])
        return [node, gate, helper.make_node("Mul", ["t", "g"], ["y"])]
    return [node, helper.make_node(kind, ["t"], ["y"])]


@st.composite
def behind_convs(draw, layers):
    """Layers whose input ``x`` a convolution makes, half of them: engines keep its layout."""
    drawn = draw(layers)
    shape = drawn.inputs.get("x", ())
    steep = any(node.op_type in STEEP for node in drawn.nodes)
    if steep or not 3 <= len(shape) <= 4 or draw(st.booleans()):
        return drawn
    for node in drawn.nodes:
        node.input[:] = ["made" if name == "x" else name for name in node.input]
    drawn.weights["made_by"] = values(shape[1], shape[1], *[1] * (len(shape) - 2), seed=3)
    drawn.nodes.insert(0, helper.make_node("Conv", ["x", "made_by"], ["made"]))
    return drawn


@st.composite
def convs(draw):
    """Half of them are 3×3 of stride 1 on enough channels: for these engines have most choice."""
    usual = draw(st.booleans())
    channels = st.sampled_from([3, 12, 16, 17, 24, 32]) if usual else CHANNELS
    batch, inputs, height, width = draw(images(channels))
    group, kernel, strides, dilations = 1, (3, 3), (1, 1), (1, 1)
    if not usual:
        group = draw(st.sampled_from([g for g in (1, 2, 4, inputs) if inputs % g == 0]))
        kernel = draw(st.sampled_from([(1, 1), (5, 5)]) | st.tuples(*[st.integers(1, 5)] * 2))
        strides = draw(st.sampled_from([(1, 1), (2, 2)]) | st.tuples(*[st.integers(1, 3)] * 2))
        dilations = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2)]))
    outputs = group * draw(st.sampled_from([1, 2, 4, 12, 20])) if group > 1 else draw(channels)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    shape = (batch, inputs, max(height, spans[0]), max(width, spans[1]))
    attributes = {"strides": strides, "dilations": dilations, "group": group}
    if draw(st.integers(0, 3)):
        attributes["pads"] = draw(st.tuples(*[st.integers(0, 3)] * 4))
    else:
        padding = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
        attributes |= {"auto_pad": padding, "dilations": (1, 1)}
    weights = {"w": values(outputs, inputs // group, *kernel, seed=1)}
    if draw(st.booleans()):
        weights["b"] = values(outputs, seed=2)
    node = helper.make_node("Conv", ["x", *weights], ["t"], **attributes)
    return Drawn(draw(activations(node, weights)), {"x": shape}, weights)


@st.composite
def transposed_convs(draw):
    batch, channels, height, width = draw(images(channels=st.sampled_from([1, 2, 4, 6, 16])))
    group = draw(st.sampled_from([g for g in (1, 1, 2, channels) if channels % g == 0]))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilations = draw(st.sampled_from([(1, 1), (1, 1), (2, 1)]))
    most = [(k - 1) * d // 2 for k, d in zip(kernel, dilations, strict=True)]
    pads = [draw(st.integers(0, m)) for m in most + most]
    extra = [draw(st.integers(0, s - 1)) for s in strides]
    weights = {"w": values(channels, draw(st.sampled_from([1, 3, 8])), *kernel, seed=1)}
    if draw(st.booleans()):
        weights["b"] = values(weights["w"].shape[1] * group, seed=2)
    node = helper.make_node(
        "ConvTranspose", ["x", *weights], ["t"], strides=strides, dilations=dilations,
        pads=pads, output_padding=extra, group=group,
    )  # fmt: skip
    shape = (batch, channels, height, width)
    if not draw(st.integers(0, 4)):  # of one dimension
        weights["w"], shape = weights["w"][:, :, 0], (batch, channels, width)
        lengths = {"strides": strides[1:], "dilations": dilations[1:], "output_padding": extra[1:]}
        node = helper.make_node(
            "ConvTranspose", ["x", *weights], ["t"], pads=pads[1::2], group=group, **lengths
        )
    nodes = draw(activations(node, weights))
    return Drawn(nodes, {"x": shape}, weights)


@st.composite
def pools(draw):
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    batch, channels, height, width = draw(images(least=max(kernel)))
    kind = draw(st.sampled_from(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"]))
    inputs = {"x": (batch, channels, height, width)}
    if kind.startswith("Global"):
        return Drawn([helper.make_node(kind, ["x"], ["y"])], inputs)
    attributes = {
        "kernel_shape": kernel,
        "strides": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "ceil_mode": draw(st.integers(0, 1)),
    }
    if draw(st.integers(0, 3)):
        attributes["pads"] = [draw(st.integers(0, k - 1)) for k in kernel + kernel]
    else:
        attributes |= {"auto_pad": draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER"]))}
        del attributes["ceil_mode"]
    if kind == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    return Drawn([helper.make_node(kind, ["x"], ["y"], **attributes)], inputs)


@st.composite
def volumes(draw):
    """Convolutions and pools of three dimensions."""
    channels, sizes = draw(st.sampled_from([1, 3, 8, 17])), st.integers(3, 6)
    shape = (draw(BATCHES), channels, draw(sizes), draw(sizes), draw(sizes))
    kernel = draw(st.tuples(*[st.integers(1, 3)] * 3))
    attributes = {
        "strides": draw(st.tuples(*[st.integers(1, 2)] * 3)),
        "pads": [draw(st.integers(0, k - 1)) for k in kernel + kernel],
    }
    kind = draw(st.sampled_from(["Conv", "Conv", "MaxPool", "AveragePool"]))
    if kind != "Conv":
        if kind == "AveragePool":
            attributes["count_include_pad"] = draw(st.integers(0, 1))
        node = helper.make_node(kind, ["x"], ["y"], kernel_shape=kernel, **attributes)
        return Drawn([node], {"x": shape})
    group = draw(st.sampled_from([1, channels]))
    weights = {"w": values(group * 4, channels // group, *kernel, seed=1)}
    if draw(st.booleans()):
        weights["b"] = values(group * 4, seed=2)
    node = helper.make_node("Conv", ["x", *weights], ["t"], group=group, **attributes)
    return Drawn(draw(activations(node, weights)), {"x": shape}, weights)


@st.composite
def products(draw):
    rows, inner, columns = draw(SIZES), draw(CHANNELS), draw(CHANNELS)
    batch = draw(BATCHES)
    kind = draw(st.sampled_from(["Gemm", "Gemm", "MatMul", "MatMul", "pairs", "sums"]))
    if kind == "pairs":
        return draw(pairs(rows, inner, columns))
    if kind == "sums":
        return draw(sums(rows, inner, columns))
    if kind == "Gemm":
        transposed = draw(st.integers(0, 1))
        weights = {"w": values(*((columns, inner) if transposed else (inner, columns)), seed=1)}
        if draw(st.booleans()):
            shape = draw(st.sampled_from([(columns,), (1, columns), (1,)]))
            weights["c"] = values(*shape, seed=2)
        factors = {
            "alpha": draw(st.sampled_from([1.0, 0.5])),
            "beta": draw(st.sampled_from([1.0, 2.0])),
        }
        node = helper.make_node("Gemm", ["x", *weights], ["t"], transB=transposed, **factors)
        return Drawn(draw(activations(node, weights)), {"x": (batch, inner)}, weights)
    shape = draw(st.sampled_from([(batch, inner), (batch, rows, inner), (batch, 2, rows, inner)]))
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return Drawn([node], {"x": shape}, {"w": values(inner, columns, seed=1)})


@st.composite
def pairs(draw, rows, inner, columns):
    """MatMul of batches that spread over one another; either factor may be constant."""
    batches = [(), (2,), (3, 1), (3, 2), (1, 2)]
    left = (*draw(st.sampled_from(batches)), rows, inner)
    right = (*draw(st.sampled_from(batches)), inner, columns)
    left, right = draw(st.sampled_from([(left, right), (left, right), (left[-1:], right)]))
    node = helper.make_node("MatMul", ["x", "z"], ["y"])
    constant = draw(st.sampled_from(["", "x", "z"]))
    shapes = {"x": left, "z": right}
    weights = {constant: values(*shapes.pop(constant), seed=1)} if constant else {}
    return Drawn([node], shapes, weights)


@st.composite
def sums(draw, rows, inner, columns):
    """Gemm of several rows, factors turned, with a matrix or a column to add."""
    turns = {"transA": draw(st.integers(0, 1)), "transB": draw(st.integers(0, 1))}
    factors = {
        "alpha": draw(st.sampled_from([1.0, 0.5])),
        "beta": draw(st.sampled_from([1.0, 2.0])),
    }
    shapes = {
        "x": (inner, rows) if turns["transA"] else (rows, inner),
        "z": (columns, inner) if turns["transB"] else (inner, columns),
    }
    if draw(st.booleans()):
        shapes["c"] = draw(st.sampled_from([(rows, columns), (rows, 1), (columns,), ()]))
    node = helper.make_node("Gemm", [*shapes], ["t"], **turns, **factors)
    constants = draw(st.sampled_from([["z", "c"], ["z"], ["x", "c"], ["c"], []]))
    weights = {
        name: values(*shape, seed=i)
        for i, (name, shape) in enumerate(shapes.items())
        if name in constants
    }
    inputs = {name: shape for name, shape in shapes.items() if name not in weights}
    return Drawn(draw(activations(node, weights)), inputs, weights)


@st.composite
def eltwises(draw):
    kind = draw(st.sampled_from(["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"]))
    shape = draw(images())[: draw(st.integers(2, 4))]
    other = tuple(1 if draw(st.integers(0, 2)) == 0 else size for size in shape)
    other = other[draw(st.integers(0, len(shape))) :]
    names = draw(st.sampled_from([["x", "z"], ["z", "x"]]))
    if kind in ("Max", "Min", "Sum", "Mean") and draw(st.booleans()):
        names = draw(st.sampled_from([["x"], ["x", "z", "x"], ["z", "z", "x", "z"]]))
    node = helper.make_node(kind, names, ["y"])
    if "z" not in names:
        return Drawn([node], {"x": shape})
    if draw(st.booleans()):
        return Drawn([node], {"x": shape}, {"z": values(*other, seed=1) + np.float32(3)})
    return Drawn([node], {"x": shape, "z": other})


@st.composite
def functions(draw):
    kind = draw(st.sampled_from([*PLAIN, "Clip", "PRelu", "HardSigmoid", "Sqrt", "Pow", "Erf"]))
    shape = draw(images())[: draw(st.integers(2, 4))]
    weights = {}
    if kind == "Clip":
        limits = draw(st.sampled_from([("low", "high"), ("low", ""), ("", "high")]))
        weights = {"low": np.float32(-0.5), "high": np.float32(1.5)}
        weights = {name: weights[name] for name in limits if name}
        return Drawn(
            [helper.make_node(kind, ["x", *limits], ["y"])], {"x": shape}, weights, opset=18
        )
    if kind == "PRelu":
        slope = draw(st.sampled_from([(1,), (shape[1],) + (1,) * (len(shape) - 2), shape[1:]]))
        weights = {"s": values(*slope, seed=1)}
    elif kind == "Pow":
        weights = {"e": np.float32(draw(st.sampled_from([2.0, 3.0, -1.0, 1.5, -2.0, 1.0, 0.0])))}
    return Drawn([helper.make_node(kind, ["x", *weights], ["y"])], {"x": shape}, weights, opset=18)


@st.composite
def norms(draw):
    batch, channels, height, width = draw(images())
    kind = draw(st.sampled_from(["BatchNormalization", "LRN", "Softmax", "LogSoftmax"]))
    shape = (batch, channels, height, width)[: draw(st.integers(2, 4))]
    if kind == "BatchNormalization":
        weights = {name: np.abs(values(channels, seed=i)) for i, name in enumerate("sbmv")}
        return Drawn([helper.make_node(kind, ["x", *weights], ["y"])], {"x": shape}, weights)
    if kind == "LRN":
        shape = (batch, channels, height, width)
        node = helper.make_node(kind, ["x"], ["y"], size=draw(st.sampled_from([1, 3, 5])), bias=1.5)
        return Drawn([node], {"x": shape})
    node = helper.make_node(kind, ["x"], ["y"], axis=draw(st.integers(-1, len(shape) - 1)))
    return Drawn([node], {"x": shape}, opset=draw(st.sampled_from([11, 13])))


@st.composite
def moves(draw):
    """What moves elements: shapes change, values do not."""
    shape = draw(images())
    kind = draw(
        st.sampled_from(
            [
                *("Concat", "Split", "Slice", "Pad", "Transpose", "Reshape", "DepthToSpace"),
                *("Gather", "Shuffle"),
            ]
        )
    )
    if kind == "Gather":
        axis = draw(st.integers(0, 3))
        numbers = st.integers(-shape[axis], shape[axis] - 1)
        chosen = draw(numbers.map(np.int64) | st.lists(numbers, min_size=1, max_size=9))
        weights = {"i": np.array(chosen, np.int64)}
        return Drawn([helper.make_node(kind, ["x", "i"], ["y"], axis=axis)], {"x": shape}, weights)
    if kind == "Shuffle":
        batch, channels, *size = shape
        groups = draw(st.sampled_from([2, 3]))
        folded, whole = (batch, groups, channels, *size), (batch, groups * channels, *size)
        nodes = [
            helper.make_node("Reshape", ["x", "f"], ["a"]),
            helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
            helper.make_node("Reshape", ["b", "s"], ["y"]),
        ]
        return Drawn(nodes, {"x": whole}, {"f": np.array(folded), "s": np.array(whole)})
    if kind == "Concat":
        axis = draw(st.integers(0, 3))
        other = tuple(draw(SIZES) if i == axis else size for i, size in enumerate(shape))
        return Drawn(
            [helper.make_node(kind, ["x", "z"], ["y"], axis=axis)], {"x": shape, "z": other}
        )
    if kind == "Split":
        axis = draw(st.integers(1, 3))
        first = draw(st.integers(1, 9))
        sizes = np.array([first, draw(st.integers(1, 9))])
        shape = tuple(int(sizes.sum()) if i == axis else size for i, size in enumerate(shape))
        node = helper.make_node(kind, ["x", "n"], ["y", "q"], axis=axis)
        return Drawn([node], {"x": shape}, {"n": sizes}, outputs=("y", "q"))
    if kind == "Slice":
        bounds = [sorted((draw(st.integers(0, n - 1)), draw(st.integers(1, n)))) for n in shape[1:]]
        limits = np.array([(low, max(high, low + 1)) for low, high in bounds]).T
        steps = np.array([draw(st.sampled_from([1, 1, 1, 2])) for _ in bounds])
        weights = {"s": limits[0], "e": limits[1], "a": np.arange(1, 4), "t": steps}
        return Drawn([helper.make_node(kind, ["x", *weights], ["y"])], {"x": shape}, weights)
    if kind == "Pad":
        mode = draw(st.sampled_from(["constant", "edge", "reflect"]))
        room = [0, draw(st.sampled_from([0, 0, 4]))] + [min(size - 1, 3) for size in shape[2:]]
        pads = [draw(st.integers(0, r)) for r in room + room]
        if mode == "reflect":
            pads[1] = pads[5] = 0
        weights = {"p": np.array(pads), "v": np.float32(0.5)}
        return Drawn(
            [helper.make_node(kind, ["x", *weights], ["y"], mode=mode)], {"x": shape}, weights
        )
    if kind == "Transpose":
        perm = draw(st.permutations(range(1, 4)))
        return Drawn([helper.make_node(kind, ["x"], ["y"], perm=[0, *perm])], {"x": shape})
    if kind == "DepthToSpace":
        mode = draw(st.sampled_from(["DCR", "CRD"]))
        shape = (shape[0], 4 * shape[1], *shape[2:])
        return Drawn([helper.make_node(kind, ["x"], ["y"], blocksize=2, mode=mode)], {"x": shape})
    flat = draw(
        st.sampled_from([(shape[0], -1), (shape[0], shape[1], -1), (shape[0], -1, 1, shape[3])])
    )
    return Drawn([helper.make_node(kind, ["x", "s"], ["y"])], {"x": shape}, {"s": np.array(flat)})


@st.composite
def resizes(draw):
    shape = draw(images())
    if not draw(st.integers(0, 4)):  # as in older operator sets
        opset, kind = draw(st.sampled_from([(9, "Upsample"), (10, "Resize")]))
        scales = [draw(st.sampled_from([1, 1.5, 2, *[0.5, 0.75][: opset == 10]])) for _ in "hw"]
        scales = np.array([1, 1, *scales], np.float32)
        mode = draw(st.sampled_from(["nearest", "linear"]))
        node = helper.make_node(kind, ["x", "s"], ["y"], mode=mode)
        shape = (*shape[:2], *(max(size, 2) for size in shape[2:]))
        return Drawn([node], {"x": shape}, {"s": scales}, opset=opset)
    mode = draw(st.sampled_from(["nearest", "linear", "cubic"]))
    points = st.sampled_from(["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])
    attributes = {"mode": mode, "coordinate_transformation_mode": draw(points)}
    if mode == "nearest":
        attributes["nearest_mode"] = draw(st.sampled_from(["floor", "round_prefer_floor", "ceil"]))
    if draw(st.booleans()):
        scales = [
            1,
            1,
            draw(st.sampled_from([1, 2, 3, 1.5, 0.5])),
            draw(st.sampled_from([1, 2, 4])),
        ]
        weights, names = {"s": np.array(scales, np.float32)}, ["x", "", "s"]
        if int(shape[2] * scales[2]) == 0:
            shape = (*shape[:2], 2, shape[3])
    else:
        weights = {"n": np.array([*shape[:2], draw(SIZES), draw(SIZES)])}
        names = ["x", "", "", "n"]
    return Drawn([helper.make_node("Resize", names, ["y"], **attributes)], {"x": shape}, weights)


@st.composite
def reductions(draw):
    shape = draw(images())[: draw(st.integers(3, 4))]
    kind = draw(st.sampled_from(["ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"]))
    axes = sorted(draw(st.sets(st.integers(1, len(shape) - 1), min_size=1)))
    node = helper.make_node(kind, ["x"], ["y"], axes=axes, keepdims=draw(st.integers(0, 1)))
    return Drawn([node], {"x": shape})


KINDS = {
    "conv": convs(),
    "conv_transpose": transposed_convs(),
    "pool": pools(),
    "volume": volumes(),
    "product": products(),
    "eltwise": behind_convs(eltwises()),
    "activation": behind_convs(functions()),
    "norm": behind_convs(norms()),
    "move": behind_convs(moves()),
    "resize": behind_convs(resizes()),
    "reduce": behind_convs(reductions()),
}
