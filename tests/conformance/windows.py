"""Convolutions of one to three dimensions, pools and products, drawn at random."""

from hypothesis import strategies as st
from onnx import helper

from .drawn import BATCHES, CHANNELS, SIZES, Drawn, activations, images, values


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
    elif not draw(st.integers(0, 4)):  # its padding follows from its output
        attributes = {"strides": strides, "dilations": dilations, "group": group}
        mode = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "output_shape"]))
        if mode == "output_shape":
            spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
            whole = [s * (n - 1) + e for s, n, e in zip(strides, shape[2:], spans, strict=True)]
            attributes[mode] = [draw(st.integers(max(1, n - 2), n)) for n in whole]
        elif all(k >= s for k, s in zip(kernel, strides, strict=True)):
            attributes["auto_pad"] = mode
        node = helper.make_node("ConvTranspose", ["x", *weights], ["t"], **attributes)
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
    kind = draw(st.sampled_from(["Conv", "ConvTranspose", "MaxPool", "AveragePool"]))
    if kind == "ConvTranspose":
        group = draw(st.sampled_from([1, channels]))
        attributes["pads"] = [n // 2 for n in attributes["pads"]]
        weights = {"w": values(channels, 4, *kernel, seed=1)}
        if draw(st.booleans()):
            weights["b"] = values(group * 4, seed=2)
        node = helper.make_node(kind, ["x", *weights], ["t"], group=group, **attributes)
        return Drawn(draw(activations(node, weights)), {"x": shape}, weights)
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
