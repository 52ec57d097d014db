"""The C source of the kernels for vectors of some lanes: one file, the same whenever it is made."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from qsdnn_primitives.lne.depthwise import depthwise_tiles
from qsdnn_primitives.lne.interleaving import interleaving
from qsdnn_primitives.lne.kernel import declarations, table
from qsdnn_primitives.lne.tiles import tiles
from qsdnn_primitives.lne.winograd import transforms

_PARTS = (
    *("lne.h", "arguments.h", "math.h", "narrow.h"),
    *("convolution.c", "winograd.c", "depthwise.c", "pool.c", "elementwise.c", "narrow.c"),
    *("rows.c", "resample.c", "move.c", "vanilla.c", "run.c"),
)


@cache
def source(lanes: int, few_bits: bool = False) -> str:
    """All kernels.

    Args:
        lanes: The floats in a vector, which are the channels in a block: 4, 8 or 16; 1 is for
            processors without vectors, in plain C99.
        few_bits: Whether the processor multiplies bytes and bfloat16s.
    """
    folder = files(__package__) / "kernels"
    vectors = folder / ("vectors.h" if lanes > 1 else "scalars.h")
    generated = {
        "vectors.h": vectors.read_text(encoding="utf-8"),
        "arguments.h": declarations(),
        "tiles.h": tiles(lanes, few_bits),
        "transforms.h": transforms(lanes),
        "depthwise_tiles.h": depthwise_tiles(lanes),
        "table.h": table(few_bits),
        "interleaving.h": interleaving(lanes),
    }
    lines = [f"#define LANES {lanes}\n"]
    for part in _PARTS:
        if part.startswith("narrow") and not few_bits:
            continue
        text = generated.get(part) or (folder / part).read_text(encoding="utf-8")
        for line in text.splitlines(keepends=True):
            name = line[len('#include "') : -2] if line.startswith('#include "') else ""
            lines.append(generated.get(name, line))
    return "".join(lines)
