"""The algorithms that ncnn has for a convolution, and the way to ask for one.

ncnn takes the first that fits of Winograd, sgemm (im2col and a product, tiled) and direct.
Parameter 31 of an operator, its feature mask, takes algorithms away
(https://github.com/Tencent/ncnn/wiki/layer-feat-mask). So an algorithm is asked for by taking away
those that ncnn prefers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qsdnn_primitives.ncnn.operator import Operator

AUTO = "auto"
MASK_PARAM = 31

_NO_SGEMM, _NO_WINOGRAD = 32, 64

MASKS: Mapping[str, int] = {
    AUTO: 0,
    "winograd": 0,
    "sgemm": _NO_WINOGRAD,
    "direct": _NO_WINOGRAD | _NO_SGEMM,
}

# The numbers of channels on either side of a convolution above which ncnn prefers the algorithm to
# `direct`.
# Found by comparing outputs bit by bit (tests/unit/primitives/test_ncnn.py), ncnn 1.0.20261020.
_WINOGRAD_CHANNELS = 8
_SGEMM_CHANNELS = 16


def algorithms(operators: Sequence[Operator]) -> tuple[str, ...]:
    """The algorithms that a layer may take, ncnn's choice first; ``auto`` where there is no choice.

    Only a convolution of one group has a choice: 1×1 convolutions are all the same product, and
    depthwise and grouped convolutions have one kernel each.
    """
    found = [operator for operator in operators if operator.kind == "Convolution"]
    if len(found) != 1:
        return (AUTO,)
    params = found[0].params
    kernel, strides, dilations = ((params[x], params[y]) for x, y in ((1, 11), (3, 13), (2, 12)))
    if kernel == (1, 1):
        return (AUTO,)
    outputs, count = params[0], params[6]
    assert isinstance(outputs, int) and isinstance(count, int)
    assert isinstance(kernel[0], int) and isinstance(kernel[1], int)
    channels = max(outputs, count // (outputs * kernel[0] * kernel[1]))
    square = kernel == (3, 3) and strides == dilations == (1, 1)
    names = ["winograd"] * (square and channels > _WINOGRAD_CHANNELS)
    names += ["sgemm"] * (channels > _SGEMM_CHANNELS)
    return (*names, "direct") if names else (AUTO,)
