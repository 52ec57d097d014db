"""The algorithms of the engine ``torch``: which of them a layer may take on which device.

An algorithm ends with ``-nhwc`` where images lie channels-last. On a CPU, for convolutions:

- ``onednn``: oneDNN's convolution, whatever PyTorch itself would choose for the shape.
- ``native``: PyTorch's own convolution, which is im2col and a product, group by group.
- ``gemm``: a strided copy of the patches, and a product with a bias; for a 1×1 of stride 1 without
  padding, only the product remains. Not for depthwise convolutions, which leave no product.

On a GPU the same are called ``cudnn``, ``depthwise`` (PyTorch's own kernel, one channel a filter)
and ``cublas``. Layers without a choice are ``eager`` on a CPU, ``cuda`` on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from qsdnn.engine import EngineInfo
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.plain.node import Op, is_constant, static_shape

NAME = "torch"
LAST = "-nhwc"
"""The end of the names of algorithms that work on images channels-last."""

ONEDNN = "ONEDNN"
"""The capability of boards whose PyTorch has oneDNN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The names that algorithms have on a device.

    Attributes:
        family: The family of the primitives.
        library: The convolution of the vendor's library.
        own: PyTorch's own convolution.
        product: The patches and a product.
        only: The algorithm of layers without a choice.
    """

    family: str
    library: str
    own: str
    product: str
    only: str


CPU = Device(family=NAME, library="onednn", own="native", product="gemm", only="eager")
GPU = Device(family=f"{NAME}-cuda", library="cudnn", own="depthwise", product="cublas", only="cuda")

STORED: Mapping[Precision, str] = {
    Precision.FP32: "",
    Precision.TF32: "",
    Precision.BF16: "-bf16",
    Precision.FP16: "-fp16",
}
"""The end of the format of tensors between layers, by precision."""


def devices(info: EngineInfo) -> Iterator[tuple[Device, Sequence[Precision]]]:
    """The devices of a board, each with the precisions that it computes in, fp32 first.

    Args:
        info: What the board says of the engine: ``BF16`` where the CPU multiplies bfloat16,
            ``cuda/fp16`` and its like where a GPU is there.
    """
    yield CPU, (Precision.FP32, *((Precision.BF16,) if "BF16" in info.capabilities else ()))
    there = [precision for precision in STORED if f"cuda/{precision}" in info.capabilities]
    if there:
        yield GPU, there


def primitives_of(ops: Sequence[Op], info: EngineInfo) -> Iterator[Primitive]:
    """The primitives of a layer, likely fastest first; those of a GPU after those of the CPU.

    Args:
        ops: The operators of the layer, in plain form.
        info: What the board says of the engine.
    """
    for device, precisions in devices(info):
        names = tuple(_algorithms(ops, device, info))
        for precision in precisions:
            for name in names:
                if precision is Precision.FP32 or device is GPU or name.startswith(_WITH_BF16):
                    yield _primitive(device, name, precision)


_OF_TOKENS = frozenset(
    {"Gather", "Gemm", "LogSoftmax", "MatMul", "Softmax", "Standardization", "Transpose"}
)
"""Operators that gain nothing from images that lie channels-last."""

_WITH_BF16 = (CPU.library, CPU.only)
"""The algorithms of a CPU that have kernels for bfloat16 worth trying."""


def _primitive(device: Device, algorithm: str, precision: Precision) -> Primitive:
    layout = "nhwc" if algorithm.endswith(LAST) else "nchw"
    return Primitive(
        engine=NAME,
        algorithm=algorithm,
        precision=precision,
        family=device.family,
        format=layout + STORED[precision],
    )


def _algorithms(ops: Sequence[Op], device: Device, info: EngineInfo) -> Iterator[str]:
    convolutions = [op for op in ops if op.kind == "Conv"]
    images = any(map(_is_image, convolutions or ops))
    last = images and not any(op.kind in _OF_TOKENS for op in ops)
    if not convolutions:
        yield from _layouts(device, device.only, last)
        return
    are_depthwise = [_is_depthwise(op) for op in convolutions]
    if device is GPU or ONEDNN in info.capabilities or not info.capabilities:
        yield from _layouts(device, device.library, last)
    if not any(are_depthwise):
        one = all(op.attributes["group"] == 1 for op in convolutions)
        yield from _layouts(device, device.product, last and one)
    if device is CPU or all(are_depthwise):
        yield device.own


def _layouts(device: Device, algorithm: str, last: bool) -> Sequence[str]:
    """An algorithm in its layouts: on CPUs channels-last was the faster, on a GPU it was not."""
    names = (algorithm, algorithm + LAST) if last else (algorithm,)
    return names if device is GPU else names[::-1]


def _is_image(op: Op) -> bool:
    """Whether an operator reads or makes an image, for which the order of dimensions matters."""
    values = [*(value for value in op.inputs if not is_constant(value)), *op.outputs]
    shapes = [static_shape(value) for value in values]
    return any(len(s) == 4 and s[1] > 1 and prod(s[2:]) > 1 for s in shapes)


def _is_depthwise(op: Op) -> bool:
    """Whether each filter reads one channel of several."""
    groups = int(op.attributes["group"])
    return 1 < groups == static_shape(op.inputs[0])[1]
