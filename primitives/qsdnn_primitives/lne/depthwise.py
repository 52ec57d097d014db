"""C for depthwise tiles: pixels in registers, the weights of a row of the window beside them."""

from __future__ import annotations

from collections.abc import Sequence

SHAPES: Sequence[tuple[int, int]] = ((3, 1), (3, 2), (5, 1), (5, 2), (7, 1))
"""The windows and strides (k, s) that there is code for; their order is their number in C."""

PIXELS = {16: 14, 8: 8, 4: 8, 1: 8}
"""The most pixels of a tile, by lanes."""


def depthwise_tiles(lanes: int) -> str:
    """All tiles for vectors of some lanes, and the table ``DEPTHWISE[shape][pixels - 1]``."""
    most = PIXELS[lanes]
    text = [_tile(k, s, pixels) for k, s in SHAPES for pixels in range(1, most + 1)]
    for k, s in SHAPES:
        names = ", ".join(f"depthwise_{k}_{s}_{pixels}" for pixels in range(1, most + 1))
        text.append(f"static depthwise_function *const depthwise_{k}_{s}[] = {{{names}}};\n")
    rows = ", ".join(f"depthwise_{k}_{s}" for k, s in SHAPES)
    text.append(f"static depthwise_function *const *const DEPTHWISE[] = {{{rows}}};\n")
    return "".join(text)


def _tile(k: int, s: int, pixels: int) -> str:
    lines = [f"    vec a{p} = bias;\n" for p in range(pixels)]
    for i in range(k):
        weights = "".join(f"vec w{j} = load(w + {i * k + j} * LANES); " for j in range(k))
        lines.append(f"    {{ const float *at = x + {i} * t->tap_row; {weights}\n")
        for q in range((pixels - 1) * s + k):
            readers = [(p, q - p * s) for p in range(pixels) if 0 <= q - p * s < k]
            if readers:
                sums = "".join(f"a{p} += v * w{j}; " for p, j in readers)
                lines.append(f"        {{ const vec v = load(at + {q} * LANES); {sums}}}\n")
        lines.append("    }\n")
    added = "".join(f"a{p} += load(r + {p} * LANES); " for p in range(pixels))
    lines.append(f"    if (r) {{ {added}}}\n")
    lines.append("    const vec low = splat(t->low), high = splat(t->high);\n")
    lines += [
        f"    store(y + {p} * LANES, smaller(larger(a{p}, low), high));\n" for p in range(pixels)
    ]
    return (
        f"\nstatic void depthwise_{k}_{s}_{pixels}(const struct depthwise_tile *t, "
        "const float *restrict x,\n    const float *restrict w, vec bias, "
        f"const float *restrict r, float *restrict y)\n{{\n{''.join(lines)}}}\n"
    )
