"""The kernels of the engine: their arguments, and the words that they share with the host."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class Activation(IntEnum):
    """A function of each element that a kernel computes on what it makes."""

    NONE = 0
    CLIP = 1
    LEAKY = 2
    SIGMOID = 3
    TANH = 4
    SILU = 5
    HARD_SIGMOID = 6
    HARD_SWISH = 7
    ELU = 8
    SELU = 9
    GELU = 10
    GELU_TANH = 11
    MISH = 12
    SOFTPLUS = 13
    SOFTSIGN = 14
    ABS = 15
    NEG = 16
    SQRT = 17
    EXP = 18
    LOG = 19
    RECIPROCAL = 20
    ERF = 21
    FLOOR = 22
    CEIL = 23
    SCALE = 24
    SQUARE = 25
    RAISED = 26


class Operation(IntEnum):
    """A function of two operands."""

    ADD = 0
    SUBTRACT = 1
    MULTIPLY = 2
    DIVIDE = 3
    LARGER = 4
    SMALLER = 5
    SLOPE = 6
    POWER = 7


class Tile(IntEnum):
    """How a tile finds its pixels.

    - ``UNIT``: in blocks, side by side.
    - ``STRIDED``: any distance between pixels, of the input and of the output.
    - ``INT8``, ``BF16``: the same, of an image and weights with few bits, several in a word.
    - ``HALF_UNIT``, ``HALF_STRIDED``: the first two, where the last block is half empty.
    """

    UNIT = 0
    STRIDED = 1
    INT8 = 2
    BF16 = 3
    HALF_UNIT = 4
    HALF_STRIDED = 5


_ACT = "i:activation f:alpha f:beta"
_X_BLOCKED = "i:x_block i:x_row"
_Y_BLOCKED = "i:y_block i:y_row"
_PLACES = "i:blocks i:height i:width"
_POOL = (
    f"p:x p:y i:mean i:padding_counts {_PLACES} i:rows i:columns i:x_height i:x_width "
    f"{_X_BLOCKED} {_Y_BLOCKED} i:stride_high i:stride_wide i:dilation_high i:dilation_wide "
    f"i:pad_high i:pad_wide i:pad_end_high i:pad_end_wide {_ACT}"
)

NARROW = "narrow"
"""The kernel that is there for processors alone that multiply numbers of few bits; the last."""

_FIELDS: Mapping[str, str] = {
    "convolution": "p:x p:w p:scale p:b p:r p:y i:kind i:blocks i:rest i:rows i:columns "
    "i:height i:width i:x_block i:x_row i:x_pixel i:tap_row i:tap_column "
    "i:y_blocks i:y_block i:y_row i:y_pixel i:r_block i:r_row i:tail "
    f"i:pixels i:group i:half i:band i:part f:low f:high {_ACT}",
    "winograd": "p:x p:w p:b p:r p:y i:transform i:blocks i:rest i:height i:width "
    f"{_X_BLOCKED} i:y_blocks {_Y_BLOCKED} i:r_block i:r_row "
    f"i:tiles_high i:tiles_wide i:chunk i:pixels i:group i:half i:part f:low f:high {_ACT}",
    "depthwise": f"p:x p:w p:b p:r p:y i:shape i:rows i:columns {_PLACES} {_X_BLOCKED} "
    f"i:x_pixel i:tap_row i:tap_column {_Y_BLOCKED} i:r_block i:r_row i:pixels "
    f"f:low f:high {_ACT}",
    "pool": _POOL,
    "global_pool": f"p:x p:y i:mean {_PLACES} {_X_BLOCKED} {_ACT}",
    "unary": f"p:x p:y {_PLACES} i:rest {_X_BLOCKED} {_Y_BLOCKED} {_ACT}",
    "binary": f"p:x p:z p:y i:operation {_PLACES} i:rest i:x_block i:x_row i:x_column i:x_splat "
    f"i:z_block i:z_row i:z_column i:z_splat {_Y_BLOCKED} {_ACT}",
    "affine": f"p:x p:scale p:shift p:y {_PLACES} {_X_BLOCKED} {_Y_BLOCKED} {_ACT}",
    "resample": f"p:x p:rows p:columns p:y i:row_taps i:column_taps {_PLACES} i:x_width "
    f"{_X_BLOCKED} {_Y_BLOCKED} {_ACT}",
    "reduce": "p:x p:y i:operation i:outer i:n i:inner f:factor",
    "softmax": "p:x p:y i:logarithmic i:outer i:n i:inner",
    "standardize": "p:x p:scale p:shift p:y i:outer i:n i:step i:run f:epsilon",
    "lrn": "p:x p:y i:channels i:size i:blocks i:height i:width "
    f"{_X_BLOCKED} {_Y_BLOCKED} f:alpha f:beta f:bias",
    "pack": f"p:x p:y i:channels {_PLACES} i:x_channel i:x_row {_Y_BLOCKED}",
    "interleave": "p:x p:y i:channels i:height i:width i:x_channel i:x_row i:y_row",
    "unpack": f"p:x p:y i:channels {_PLACES} {_X_BLOCKED} i:y_channel i:y_row",
    "copy": f"p:x p:y {_PLACES} {_X_BLOCKED} {_Y_BLOCKED}",
    "pick": f"p:x p:channels p:y {_PLACES} {_X_BLOCKED} {_Y_BLOCKED} i:y_pixel",
    "gather": "p:x p:places p:y i:outer i:n i:x_n i:inner",
    "move": "p:x p:y " + " ".join(f"i:{letter}{axis}" for letter in "nxy" for axis in range(6)),
    "fill": "p:y i:count f:value",
    "pack_columns": "p:x p:y i:k i:n i:x_row i:x_column i:group",
    "vanilla": "p:x p:w p:b p:r p:y i:groups i:inputs i:outputs i:rows i:columns i:height i:width "
    f"{_X_BLOCKED} i:x_pixel i:tap_row i:tap_column {_Y_BLOCKED} i:y_pixel "
    f"i:r_block i:r_row {_ACT}",
    "vanilla_pool": f"{_POOL} i:channels",
    NARROW: f"p:x p:y i:kind i:channels {_PLACES} {_X_BLOCKED} i:x_pixel f:scale f:zero",
}

KERNELS: Mapping[str, Mapping[str, str]] = {
    name: {field: kind for kind, field in (word.split(":") for word in words.split())}
    for name, words in _FIELDS.items()
}
"""The arguments of each kernel, in order: ``p`` a place in memory, ``i`` a whole number, ``f`` a
number in single precision. The position of a kernel here is its number in programs."""


def declarations() -> str:
    """The C declarations of all arguments: structs whose fields lie in slots of eight bytes."""
    types = {"p": "float *", "i": "int64_t ", "f": "float "}
    lines = ["typedef float *place;"]
    for words in (Activation, Operation, Tile):
        lines.append("enum {" + ", ".join(f"{word.name} = {word.value}" for word in words) + "};")
    for name, fields in KERNELS.items():
        slots = "".join(f"    {types[kind]}{field} SLOT;\n" for field, kind in fields.items())
        lines.append(f"struct {name} {{\n{slots}}};")
    return "\n".join(lines) + "\n"


_TOLD = {
    "depthwise": "depthwise tiles", "vanilla": "vanilla loops", "vanilla_pool": "vanilla pool",
}  # fmt: skip
"""The names of kernels that are an algorithm of a layer: the algorithm is the first word."""


def table(few_bits: bool) -> str:
    """The C table of all kernels, in the order of their numbers, and their names.

    Args:
        few_bits: Whether `NARROW` is among them.
    """
    functions = {"convolution": "convolve"}
    there = [name for name in KERNELS if few_bits or name != NARROW]
    entries = "".join(f"    (kernel *){functions.get(name, name)},\n" for name in there)
    names = ", ".join(f'"{_TOLD.get(name, name)}"' for name in there)
    return (
        f"static kernel *const KERNELS[] = {{\n{entries}}};\n"
        f"static const char *const NAMES[] = {{{names}}};\n"
        f"enum {{CONVOLUTION = {there.index('convolution')}, "
        f"WINOGRAD = {there.index('winograd')}}};\n"
    )
