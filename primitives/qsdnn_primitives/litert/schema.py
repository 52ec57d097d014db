"""The part of the schema of TensorFlow Lite models, version 3, that segments are written in.

Numbers are those of https://github.com/google-ai-edge/LiteRT, ``schema.fbs``: of operators, of the
tables of their options, and of the fields in these, in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

VERSION = 3
IDENTIFIER = b"TFL3"

TYPES: Mapping[str, int] = {"float32": 0, "int32": 2, "int8": 9}

SAME, VALID = 0, 1
"""The values of a window's ``padding``."""

NONE, RELU, RELU_N1_TO_1, RELU6 = 0, 1, 2, 3
"""The values of an operator's ``activation``."""

REFLECT, SYMMETRIC = 0, 1
"""The values of a mirrored padding's ``mode``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of operator.

    Attributes:
        code: The number of the operator.
        options: The number of the table of its options; 0 for none.
        fields: The fields of the table, in order: a name, a colon and a letter of `struct`.
        version: The version of the operator that is asked for, where the first has other types.
    """

    code: int
    options: int = 0
    fields: tuple[str, ...] = ()
    version: int = 1


_ACTIVATION = ("activation:b",)
_WINDOW = ("padding:b", "stride_w:i", "stride_h:i")
_DILATION = ("dilation_w:i", "dilation_h:i")
_POOL = (*_WINDOW, "filter_w:i", "filter_h:i", "activation:b")
_REDUCER = ("keep_dims:?",)

KINDS: Mapping[str, Kind] = {
    "ABS": Kind(101, 78),
    "ADD": Kind(0, 11, _ACTIVATION),
    "AVERAGE_POOL_2D": Kind(1, 5, _POOL),
    "BATCH_MATMUL": Kind(126, 101, ("adj_x:?", "adj_y:?")),
    "BROADCAST_TO": Kind(130, 104, version=2),
    "CEIL": Kind(104),
    "CONCATENATION": Kind(2, 10, ("axis:i", "activation:b")),
    "CONV_2D": Kind(3, 1, (*_WINDOW, "activation:b", *_DILATION)),
    "DEPTHWISE_CONV_2D": Kind(4, 2, (*_WINDOW, "multiplier:i", "activation:b", *_DILATION)),
    "DEQUANTIZE": Kind(6, 38, version=2),
    "DIV": Kind(42, 29, _ACTIVATION),
    "ELU": Kind(111),
    "EXP": Kind(47, 33),
    "FLOOR": Kind(8),
    "FULLY_CONNECTED": Kind(9, 8, ("activation:b", "format:b", "keep_num_dims:?")),
    "GATHER": Kind(36, 23, ("axis:i",)),
    "GELU": Kind(150, 116, ("approximate:?",)),
    "HARD_SWISH": Kind(117, 91),
    "LEAKY_RELU": Kind(98, 75, ("alpha:f",)),
    "LOCAL_RESPONSE_NORMALIZATION": Kind(13, 13, ("radius:i", "bias:f", "alpha:f", "beta:f")),
    "LOG": Kind(73),
    "LOGISTIC": Kind(14),
    "LOG_SOFTMAX": Kind(50, 36),
    "MAXIMUM": Kind(55, 39),
    "MAX_POOL_2D": Kind(17, 5, _POOL),
    "MEAN": Kind(40, 27, _REDUCER),
    "MINIMUM": Kind(57, 39),
    "MIRROR_PAD": Kind(100, 77, ("mode:b",)),
    "MUL": Kind(18, 21, _ACTIVATION),
    "NEG": Kind(59, 42),
    "PAD": Kind(34, 22),
    "PADV2": Kind(60, 43),
    "POW": Kind(78, 56),
    "PRELU": Kind(54),
    "QUANTIZE": Kind(114, 89),
    "REDUCE_MAX": Kind(82, 27, _REDUCER),
    "REDUCE_MIN": Kind(89, 27, _REDUCER),
    "RELU": Kind(19),
    "RELU6": Kind(21),
    "RELU_N1_TO_1": Kind(20),
    "RESHAPE": Kind(22),
    "RESIZE_BILINEAR": Kind(23, 15, ("", "", "align_corners:?", "half_pixel:?"), version=3),
    "RESIZE_NEAREST_NEIGHBOR": Kind(97, 74, ("align_corners:?", "half_pixel:?"), version=3),
    "RSQRT": Kind(76),
    "SLICE": Kind(65, 48),
    "SOFTMAX": Kind(25, 9, ("beta:f",)),
    "SPLIT": Kind(49, 35, ("splits:i",)),
    "SQRT": Kind(75),
    "STRIDED_SLICE": Kind(45, 32, ("begin_mask:i", "end_mask:i")),
    "SUB": Kind(41, 28, _ACTIVATION),
    "SUM": Kind(74, 27, _REDUCER),
    "TANH": Kind(28),
    "TRANSPOSE": Kind(39, 26),
    "TRANSPOSE_CONV": Kind(67, 49, (*_WINDOW, "activation:b"), version=3),
}
"""The kinds of operators by name."""

FUSED: Mapping[str, int] = {"RELU": RELU, "RELU6": RELU6, "RELU_N1_TO_1": RELU_N1_TO_1}
"""The activations that another operator may have inside, by the kind that computes one alone."""
