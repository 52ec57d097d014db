"""C for the tiles of convolutions: pixels by blocks of output channels, held in registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qsdnn_primitives.lne.kernel import Tile
from qsdnn_primitives.lne.target import HALVED_LANES

NARROW = (Tile.INT8, Tile.BF16)
"""The tiles whose operands have few bits."""

HALVED = {Tile.HALF_UNIT: Tile.UNIT, Tile.HALF_STRIDED: Tile.STRIDED}
"""The tiles whose last block is half empty, and those that they are else like."""

_HALVED_BLOCKS = {Tile.HALF_UNIT: 4, Tile.HALF_STRIDED: 2}
"""The most blocks of such a tile: with more, sums of pixels that lie apart go to memory, and single
pixels wait for their weights. Larger ones are whole."""

UNROLLED = 4
"""The input channels in one turn of the innermost loop, where a block has so many."""

LARGEST: Mapping[int, Sequence[int]] = {
    16: (14, 14, 9, 6, 1, 1, 1, 1),
    8: (12, 6, 4, 2, 1, 1, 1, 1),
    4: (12, 8, 5, 4, 2, 2, 2, 2),
    1: (12, 8, 8, 6, 5, 4, 3, 2),
}
"""The most pixels of a tile by lanes, for 1, 2, … blocks: what the registers hold."""


def is_half(outputs: int, lanes: int) -> bool:
    """Whether the last block of outputs is half empty, and there are tiles for that."""
    return lanes == HALVED_LANES and 0 < outputs % lanes <= lanes // 2


def tiles(lanes: int, few_bits: bool) -> str:
    """All tiles for some lanes, and the table ``TILES[kind][blocks - 1][pixels - 1]``.

    Args:
        lanes: The channels in a block.
        few_bits: Whether those of `NARROW` are among them.
    """
    sizes = [
        (pixels, blocks)
        for blocks, most in enumerate(LARGEST[lanes], 1)
        for pixels in range(1, most + 1)
    ]
    kinds = [
        kind
        for kind in Tile
        if (few_bits or kind not in NARROW) and (lanes == HALVED_LANES or kind not in HALVED)
    ]
    text = [
        _narrow_tile(kind, *size) if kind in NARROW else _tile(kind, *size, lanes)
        for kind in kinds
        for size in sizes
        if _made(kind, size[1]) is kind
    ]
    for kind in kinds:
        for blocks, most in enumerate(LARGEST[lanes], 1):
            names = ", ".join(tile_name(kind, pixels, blocks) for pixels in range(1, most + 1))
            row = f"{kind.name.lower()}_{blocks}"
            text.append(f"static tile_function *const tiles_{row}[] = {{{names}}};\n")
    rows = ",\n    ".join(
        "{" + ", ".join(f"tiles_{kind.name.lower()}_{b}" for b in range(1, 9)) + "}"
        for kind in kinds
    )
    text.append(f"static tile_function *const *const TILES[][8] = {{\n    {rows}}};\n")
    return "".join(text)


def _made(kind: Tile, blocks: int) -> Tile:
    """The kind of tile that there is code of for some blocks."""
    return kind if blocks <= _HALVED_BLOCKS.get(kind, blocks) else HALVED[kind]


def tile_name(kind: Tile, pixels: int, blocks: int) -> str:
    """The name of the C function."""
    return f"tile_{_made(kind, blocks).name.lower()}_{pixels}x{blocks}"


def _tile(kind: Tile, pixels: int, blocks: int, lanes: int) -> str:
    """One tile; its accumulators are ``a<pixel>_<block>``, and ``h<pixel>`` of half a block."""
    unit = HALVED.get(kind, kind) is Tile.UNIT
    half = blocks - 1 if kind in HALVED else blocks
    step, y_pixel = ("LANES", "LANES") if unit else ("x_pixel", "y_pixel")
    unrolled = min(UNROLLED, lanes)
    places = [(p, o) for o in range(blocks) for p in range(pixels)]
    types = ["half" if o == half else "vec" for o in range(blocks)]
    loads = ["load_half" if o == half else "load" for o in range(blocks)]

    def accumulator(pixel: int, block: int) -> str:
        return f"h{pixel}" if block == half else f"a{pixel}_{block}"

    def turn(channels: int) -> str:
        lines = []
        for c in range(channels):
            weights = "".join(
                f"{types[o]} w{o} = {loads[o]}(w + {c * blocks + o} * LANES); "
                for o in range(blocks)
            )
            lines.append(f"            {{ {weights}\n")
            values = [
                f"at[{p} * LANES + {c}]" if unit else f"{_place(p)}[{_apart(p)}{c}]"
                for p in range(pixels)
            ]
            for p, value in enumerate(values):
                sums = "".join(f"a{p}_{o} += s * w{o}; " for o in range(min(half, blocks)))
                lines.append(f"                {{ const float s = {value}; {sums}}}\n" * (half > 0))
            for p, value in enumerate(values * (half < blocks)):
                lines.append(f"                ADD_HALF(h{p}, {value}, w{half});\n")
            lines.append("            } ORDERED;\n")
        return "".join(lines)

    start = "".join(
        f"    {types[o]} {accumulator(p, o)} = {loads[o]}(b + {o} * LANES);\n" for p, o in places
    )
    widened = "".join(f"    vec a{p}_{o} = widened(h{p});\n" for p, o in places if o == half)
    consts = _strides(pixels) * (not unit)
    pointers = _pointers(1 if unit else pixels)
    beside = "".join(
        f"FETCH(in + i * t->x_row + {place} * 16); "
        for place in range(-(-pixels * lanes // 16), -(-2 * pixels * lanes // 16))
    )
    taps = (
        f"for (int64_t i = 0; i < t->rows; i++) {{ {beside * unit}\n"
        "        for (int64_t j = 0; j < t->columns; j++) {\n"
        f"        const float *at = in + i * t->x_row + j * t->x_tap;{_others(pointers)}\n"
    )
    stored = "".join(
        f"    store(y + {o} * t->y_block + {p} * {y_pixel}, a{p}_{o});\n" for p, o in places
    )
    ending = _sum(places, y_pixel, pixels) + _limits(places)
    nearer = "FETCH(ahead); FETCH(ahead + 16); ahead += ahead < t->end ? 32 : 0;" * (lanes > 1)
    return f"""
static void {tile_name(kind, pixels, blocks)}(struct tile *t, int64_t count,
    const float *restrict x, const float *restrict weights, const float *restrict b,
    const float *r, float *y)
{{
{consts}    const float *ahead = t->ahead;
    for (; count > 0; count--, x += {pixels} * {step}, y += {pixels} * {y_pixel}) {{
    const float *in = x, *w = weights;
{start}    for (int64_t c = 0; c < t->blocks; c++, in += t->x_block) {taps}
        for (int k = 0; k < LANES; k += {unrolled}) {{
{turn(unrolled)}            {nearer}
            {_onward(pointers, unrolled)}w += {unrolled * blocks} * LANES;
        }}
    }} }}
    if (LANES > 1 && t->rest) {taps}        for (int64_t k = 0; k < t->rest; k++) {{
{turn(1)}            {_onward(pointers, 1)}w += {blocks} * LANES;
        }}
    }} }}
{widened}{ending}{stored}    }}
    t->ahead = ahead;
}}
"""


def _strides(pixels: int) -> str:
    """The distances between pixels of a tile whose pixels lie apart."""
    three = " int64_t three = 3 * x_pixel; OPAQUE(three);" * (pixels > 3)
    return f"    const int64_t x_pixel = t->x_pixel, y_pixel = t->y_pixel;{three}\n"


def _pointers(pixels: int) -> list[str]:
    """A pointer to each fourth pixel.

    A pointer to each pixel would take more registers than there are: the compiler would then load
    numbers early, and keep sums in memory.
    """
    return [_place(p) for p in range(0, pixels, 4)]


def _place(pixel: int) -> str:
    return f"at{pixel // 4 * 4 or ''}"


def _apart(pixel: int) -> str:
    """The distance of a pixel from the pointer before it, to which something is added."""
    return ("", "x_pixel + ", "2 * x_pixel + ", "three + ")[pixel % 4]


def _others(pointers: Sequence[str]) -> str:
    """Declares all pointers but the first."""
    return "".join(
        f" const float *{name} = at + {name[2:]} * x_pixel; OPAQUE({name});"
        for name in pointers[1:]
    )


def _onward(pointers: Sequence[str], count: int) -> str:
    return "".join(f"{name} += {count}; " for name in pointers)


def _narrow_tile(kind: Tile, pixels: int, blocks: int) -> str:
    """One tile of few bits: words of several input channels, of which a step multiplies all."""
    name, is_whole = kind.name, kind is Tile.INT8
    places, pointers = [(p, o) for o in range(blocks) for p in range(pixels)], _pointers(pixels)
    sums = "ints" if is_whole else "vec"
    start = "(ints){{0}}" if is_whole else "load(b + {} * LANES)"
    starts = "".join(f"    {sums} s{p}_{o} = {start.format(o)};\n" for p, o in places)
    weights = "".join(
        f"            const ints w{o} = load_ints(w + {o} * LANES);\n" for o in range(blocks)
    )
    products = "".join(
        f"            {{ const ints s = repeated({_place(p)} + {_apart(p)}0); "
        + "".join(f"DOT_{name}(s{p}_{o}, s, w{o}); " for o in range(blocks))
        + "}\n"
        for p in range(pixels)
    )
    real = "real(s{0}_{1}) * load(t->scale + {1} * LANES) + load(b + {1} * LANES)"
    ended = "".join(
        f"    vec a{p}_{o} = {real.format(p, o) if is_whole else f's{p}_{o}'};\n" for p, o in places
    )
    stored = "".join(
        f"    store(y + {o} * t->y_block + {p} * y_pixel, a{p}_{o});\n" for p, o in places
    )
    return f"""
static FEW_BITS void {tile_name(kind, pixels, blocks)}(struct tile *t, int64_t count,
    const float *restrict x, const float *restrict weights, const float *restrict b,
    const float *r, float *y)
{{
{_strides(pixels)}    for (; count > 0; count--) {{
    const float *in = x, *w = weights;
{starts}    for (int64_t c = 0; c < t->blocks; c++, in += t->x_block)
    for (int64_t i = 0; i < t->rows; i++) for (int64_t j = 0; j < t->columns; j++) {{
        const float *at = in + i * t->x_row + j * t->x_tap;{_others(pointers)}
        ONE_BY_ONE for (int k = 0; k < WORDS_{name}; k++) {{
{weights}{products}            {_onward(pointers, 1)}w += {blocks} * LANES;
        }}
    }}
{ended}{_sum(places, "y_pixel", pixels)}{_limits(places)}{stored}    x += {pixels} * x_pixel;
    y += {pixels} * y_pixel;
    }}
}}
"""


def _sum(places: Sequence[tuple[int, int]], y_pixel: str, pixels: int) -> str:
    """The other operand of a sum is added."""
    added = "".join(
        f"        a{p}_{o} += load(r + {o} * t->r_block + {p} * {y_pixel});\n" for p, o in places
    )
    return f"    if (r) {{\n{added}        r += {pixels} * {y_pixel};\n    }}\n"


def _limits(places: Sequence[tuple[int, int]]) -> str:
    """Limits that there are hold."""
    text = ""
    for limit, function in (("low > -", "larger"), ("high < ", "smaller")):
        held = "".join(f"        a{p}_{o} = {function}(a{p}_{o}, limit);\n" for p, o in places)
        text += (
            f"    if (t->{limit}INFINITE) {{\n"
            f"        const vec limit = splat(t->{limit.split()[0]});\n{held}    }}\n"
        )
    return text
