"""Layouts: orders in which the elements of a tensor may lie in memory, other than ONNX's own.

One is known: ``nchw<c>c``, e.g. ``"nchw16c"``, in which the channels of an image lie in blocks of c
and the places within a block innermost. Of an (N, C, H, W) tensor it is the (N, C/c, H, W, c) one.
onnxruntime's NCHWc kernels and ncnn's packed blobs both compute in it; c is the processor's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from qsdnn.model.layer import Tensor

_TOLD = "layout:"
_BLOCKED = re.compile(r"nchw([1-9]\d*)c")


def told_layouts(capabilities: Sequence[str]) -> tuple[str, ...]:
    """The layouts that an engine says it takes and gives on a board: ``layout:nchw16c``.

    Capabilities that name no layout known here are left out.
    """
    words = [word[len(_TOLD) :] for word in capabilities if word.startswith(_TOLD)]
    return tuple(word for word in words if _BLOCKED.fullmatch(word))


def block_of(layout: str) -> int:
    """The number of channels in a block of a layout.

    Raises:
        ValueError: The name is no layout.
    """
    match = _BLOCKED.fullmatch(layout)
    if match is None:
        raise ValueError(f"'{layout}' is no layout")
    return int(match[1])


def fits(layout: str, tensor: Tensor) -> bool:
    """Whether a tensor has this layout without padding: an image of whole blocks, in fp32."""
    shape = tensor.shape
    return (
        tensor.dtype == "float32"
        and shape is not None
        and len(shape) == 4
        and min(shape) > 0
        and shape[1] % block_of(layout) == 0
    )
