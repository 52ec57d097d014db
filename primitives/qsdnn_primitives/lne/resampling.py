"""Resizing of images: each row and column of the output is a sum of taps."""

from __future__ import annotations

from qsdnn_primitives.lne.arguments import activation_arguments
from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.packing import Array
from qsdnn_primitives.lne.values import image_shape
from qsdnn_primitives.plain.node import UnsupportedError
from qsdnn_primitives.plain.resampling import copied, taps

__all__ = ["copied", "resample", "resize", "taps"]

_MOST = 1 << 24
"""The places that single precision can count."""


def resize(builder: Builder, fused: Fused) -> None:
    """Adds a Resize of an image."""
    image = builder.image(fused.op.inputs[0])
    sizes = image_shape(fused.output)[1:]
    if max(image.height, image.width) >= _MOST:
        raise UnsupportedError("its image is too large")
    rows, columns = (
        taps(size, out, scale, fused.op.attributes)
        for size, out, scale in zip(
            (image.height, image.width), sizes, fused.op.attributes["scales"], strict=True
        )
    )
    resample(builder, fused, rows, columns)


def resample(builder: Builder, fused: Fused, rows: Array, columns: Array) -> None:
    """Adds the step that makes an image of the rows and columns of another."""
    x, y = builder.image(fused.op.inputs[0]), builder.image_of(fused.output)
    builder.add("resample", (x,), y, lambda: {
        "x": x, "rows": rows, "columns": columns, "y": y, "row_taps": rows.shape[1],
        "column_taps": columns.shape[1], "blocks": x.blocks, "height": y.height,
        "width": y.width, "x_width": x.width, "x_block": x.block, "x_row": x.row,
        "y_block": y.block, "y_row": y.row, **activation_arguments(fused.function),
    }, lambda: x.width * x.lanes)  # fmt: skip
