"""Operators that change the size of images: resizing and transposed convolutions.

Not every engine that starts from the plain form has kernels for them.
"""

from __future__ import annotations

from qsdnn_primitives.plain.node import NodeReader, Op, UnsupportedError, is_constant


def resize(node: NodeReader) -> Op:
    """Resize and Upsample of the last two dimensions.

    Before operator set 11, ``rounding`` is ``simple``: up where an axis shrinks, else down.
    """
    if len(node.shape()) != 4 or node.shape()[:2] != node.output_shape[:2]:
        raise UnsupportedError("it does not resize an image")
    for name in ("antialias", "exclude_outside"):
        if node.integer(name, 0):
            raise UnsupportedError(f"it has {name}")
    if node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedError("its scales follow from one another")
    plain = node.op_type == "Resize" and node.opset >= 11
    return node.op(
        "Resize",
        node.input(0),
        mode=node.text("mode", "nearest"),
        coordinates=node.text(
            "coordinate_transformation_mode", "half_pixel" if plain else "asymmetric"
        ),
        rounding=node.text("nearest_mode", "round_prefer_floor") if plain else "simple",
        coefficient=node.number("cubic_coeff_a", -0.75),
        scales=_scales(node, 2 if plain else 1),
    )


def _scales(node: NodeReader, position: int) -> list[float]:
    """The scales of rows and columns: as they are given, else the ratios of the sizes."""
    if position == 2 and node.has(3):
        node.constant(3)  # raises for an activation, which would have to be read
        sizes = zip(node.output_shape[2:], node.shape()[2:], strict=True)
        return [out / size for out, size in sizes]
    if not node.has(position) or node.ints("axes"):
        raise UnsupportedError("its scales are not plain")
    scales = [float(scale) for scale in node.constant(position).reshape(-1)]
    if len(scales) != 4 or scales[:2] != [1.0, 1.0]:
        raise UnsupportedError("it does not resize an image")
    return scales[2:]


def conv_transpose(node: NodeReader) -> Op:
    """ConvTranspose with constant weights, whose padding is explicit."""
    if node.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or node.ints("output_shape"):
        raise UnsupportedError("its padding follows from its output")
    if not all(is_constant(value) for value in node.inputs[1:]):
        raise UnsupportedError("its weights are not constant")
    kernel = node.shape(1)[2:]
    rank = len(kernel)
    if rank == 0 or len(node.shape()) != rank + 2 or len(node.output_shape) != rank + 2:
        raise UnsupportedError("its input is not (N, C, size …)")
    pads = node.ints("pads") or [0] * (2 * rank)
    op = node.op(
        "ConvTranspose",
        *node.inputs,
        group=node.integer("group", 1),
        strides=node.ints("strides") or [1] * rank,
        dilations=node.ints("dilations") or [1] * rank,
        begins=pads[:rank],
        ends=pads[rank:],
        output_padding=node.ints("output_padding") or [0] * rank,
    )
    attributes = op.attributes
    if min(*attributes["begins"], *attributes["ends"], *attributes["output_padding"]) < 0:
        raise UnsupportedError("a padding is negative")
    # ONNX ConvTranspose 11: stride · (in − 1) + output_padding + span − pads
    sizes = tuple(
        attributes["strides"][i] * (size - 1)
        + attributes["output_padding"][i]
        + (kernel[i] - 1) * attributes["dilations"][i]
        + 1
        - attributes["begins"][i]
        - attributes["ends"][i]
        for i, size in enumerate(node.shape()[2:])
    )
    if node.output_shape[2:] != sizes:
        raise UnsupportedError("its output has another size than its attributes say")
    return op
