"""Layers drawn at random, by kind: alone, and behind a convolution."""

import numpy as np
from hypothesis import strategies as st
from onnx import helper

from .drawn import SIZES, Drawn, images, values
from .windows import convs, pools, products, transposed_convs, volumes

PLAIN = [
    *("Relu", "Sigmoid", "Tanh", "Softplus", "Mish", "HardSwish", "Abs", "Neg", "Floor", "Ceil"),
    *("LeakyRelu", "Elu", "Selu"),
]

STEEP = {"Ceil", "Div", "Floor", "Pow", "Sqrt"}  # make much of the last bit of what they read


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
        names = draw(st.permutations(["x", "z"]))
        nodes = [helper.make_node(kind, names, ["y"], axis=axis)]
        if draw(st.booleans()):
            return Drawn(nodes, {"x": shape, "z": other})
        return Drawn(nodes, {"x": shape}, {"z": np.random.default_rng(axis).random(other, "f4")})
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


ALONE = {
    "conv": convs(),
    "conv_transpose": transposed_convs(),
    "pool": pools(),
    "volume": volumes(),
    "product": products(),
    "eltwise": eltwises(),
    "activation": functions(),
    "norm": norms(),
    "move": moves(),
    "resize": resizes(),
    "reduce": reductions(),
}
FOLLOWING = ("eltwise", "activation", "norm", "move", "resize", "reduce")
KINDS = ALONE | {kind: behind_convs(ALONE[kind]) for kind in FOLLOWING}
