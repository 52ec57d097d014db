"""C that puts the three channels of each pixel side by side, by shuffles of whole vectors."""

from __future__ import annotations

CHANNELS = 3


def interleaving(lanes: int) -> str:
    """The function ``interleave_vectors``, of the pixels of a row as far as vectors go.

    The function returns how many pixels these are; 0 where the compiler has no shuffles.

    Args:
        lanes: The floats in a vector.
    """
    head = (
        "static int64_t interleave_vectors(const float *x, int64_t channel, float *y, "
        "int64_t width)\n{\n"
    )
    if lanes == 1:
        return f"{head}    (void)x, (void)channel, (void)y, (void)width;\n    return 0;\n}}\n"
    body = "".join(_vector(part, lanes) for part in range(CHANNELS))
    return f"""{head}    int64_t w = 0;
#if defined(__clang__) || __GNUC__ >= 12
    for (; w + LANES <= width; w += LANES, y += {CHANNELS} * LANES) {{
        const vec a = load(x + w), b = load(x + channel + w), c = load(x + 2 * channel + w);
{body}    }}
#else
    (void)x, (void)channel, (void)y, (void)width;
#endif
    return w;
}}
"""


def _vector(part: int, lanes: int) -> str:
    """One of the three vectors that come of one vector of each channel."""
    places = [divmod(part * lanes + lane, CHANNELS) for lane in range(lanes)]
    two = ", ".join(str(pixel + lanes * min(channel, 1)) for pixel, channel in places)
    all_three = ", ".join(
        str(lanes + pixel if channel == 2 else lane) for lane, (pixel, channel) in enumerate(places)
    )
    return (
        f"        const vec t{part} = __builtin_shufflevector(a, b, {two});\n"
        f"        store(y + {part} * LANES, __builtin_shufflevector(t{part}, c, {all_three}));\n"
    )
