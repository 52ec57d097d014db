"""The kernels of a C package: those that its steps call, and of their tiles and cases no others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from qsdnn_primitives.lne.depthwise import SHAPES
from qsdnn_primitives.lne.excerpt import Definition, changed, definitions, excerpt
from qsdnn_primitives.lne.kernel import Activation, Operation, Tile
from qsdnn_primitives.lne.packing import cut
from qsdnn_primitives.lne.source import source
from qsdnn_primitives.lne.tiles import tile_name
from qsdnn_primitives.lne.winograd import TRANSFORMS

FUNCTIONS = {"convolution": "convolve"}
"""The functions of kernels that have another name."""

_TILE = re.compile(r"\b(?:tile_[a-z_]+_\d+x\d+|(?:in|out)_(?:half_)?\d_\d|depthwise_\d_\d_\d+)\b")
_TABLE = re.compile(r"^static [^(){}]*\[\] ?(?:\[\d+\] )?= \{")
_CASE = re.compile(r"(?=^    (?:case \w+|default):)", re.MULTILINE)

Step = tuple[str, Mapping[str, Any]]
"""A kernel and its arguments."""


def kernels_of(steps: Sequence[Step], lanes: int) -> str:
    """The C source of the kernels that steps call.

    Args:
        steps: The steps.
        lanes: The floats in a vector; with 1 the code is plain C99.
    """
    tiles = {name for step in steps for name in _tiles(*step)}
    numbers = {
        field: {fields[field] for _, fields in steps if field in fields}
        for field in ("activation", "operation")
    }
    cases = {
        "activated": {"CLIP", *(Activation(n).name for n in numbers["activation"])},
        "combined": {Operation(n).name for n in numbers["operation"]},
    }
    text = source(lanes).replace(" SLOT;", ";").replace("int64_t", "int32_t")
    found = definitions(text)
    empty: set[str] = set()
    for index, definition in enumerate(found):
        (name,) = definition.names if len(definition.names) == 1 else ("",)
        if name in cases:
            found[index] = changed(definition, partial(_pruned, cases=cases[name]))
        elif _TABLE.match(definition.code):
            found[index] = _table(definition, tiles, empty)
            if not _names_in(found[index]):
                empty.add(name)
    roots = {word for kernel, _ in steps for word in (kernel, FUNCTIONS.get(kernel, kernel))}
    return excerpt(found, {*roots, "worker"})


def _tiles(kernel: str, fields: Mapping[str, Any]) -> Iterator[str]:
    """The tiles and transforms that a step calls."""
    if kernel == "convolution":
        kind = Tile(fields["kind"])
        yield from _products(kind, [fields["width"]], fields)
    elif kernel == "winograd":
        m, r = TRANSFORMS[fields["transform"]]
        yield from (f"{way}_{half}{m}_{r}" for way in ("in", "out") for half in ("", "half_"))
        counts = cut(fields["tiles_high"] * fields["tiles_wide"], fields["chunk"])
        yield from _products(Tile.UNIT, counts, fields)
    elif kernel == "depthwise" and fields["shape"] >= 0:
        k, s = SHAPES[fields["shape"]]
        for pixels in cut(fields["width"], fields["pixels"]):
            yield f"depthwise_{k}_{s}_{pixels}"


def _products(kind: Tile, widths: Collection[int], fields: Mapping[str, Any]) -> Iterator[str]:
    for width in widths:
        for pixels in cut(width, fields["pixels"]):
            groups = cut(fields["y_blocks"], fields["group"])
            for number, blocks in enumerate(groups, 1):
                half = fields["half"] and number == len(groups)
                yield tile_name(Tile(kind + Tile.HALF_UNIT if half else kind), pixels, blocks)


def _table(definition: Definition, tiles: Collection[str], empty: Collection[str]) -> Definition:
    """A table of functions with 0 for those that no step calls, and for tables without any."""

    def entry(match: re.Match[str]) -> str:
        name = match[0]
        unused = name in empty or (_TILE.fullmatch(name) and name not in tiles)
        return "0" if unused else name

    def change(text: str) -> str:
        head, brace, rest = text.partition("{")
        return head + brace + re.sub(r"\b[A-Za-z_]\w*\b", entry, rest)

    return changed(definition, change)


def _names_in(definition: Definition) -> list[str]:
    """The names among the entries of a table."""
    return re.findall(r"\b[A-Za-z_]\w*\b", definition.code.partition("{")[2])


def _pruned(text: str, cases: Collection[str]) -> str:
    """A function that is one switch, with some of its cases and the default."""
    head, *parts = _CASE.split(text)
    kept = [part for part in parts if part.split(":")[0].split()[-1] in {*cases, "default"}]
    return head + "".join(kept)
