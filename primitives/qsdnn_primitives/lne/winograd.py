"""Winograd's (Cook and Toom's) minimal filtering F(m, r): exact matrices, and C that applies them.

See Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016. The points are chosen
for small errors: for n = 6 the points 0, ±3/4, ±3/2 are four times more exact than 0, ±1, ±2.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray

from qsdnn_primitives.lne.target import HALVED_LANES

Matrix = tuple[tuple[Fraction, ...], ...]

TRANSFORMS: Sequence[tuple[int, int]] = ((2, 3), (4, 3), (6, 3), (4, 5))
"""The tiles and windows (m, r) that there is code for; their order is their number in C."""

_HALF, _THREE_QUARTERS = Fraction(1, 2), Fraction(3, 4)
_POINTS = {
    4: (Fraction(0), Fraction(1), Fraction(-1)),
    6: (Fraction(0), _THREE_QUARTERS, -_THREE_QUARTERS, 2 * _THREE_QUARTERS, -2 * _THREE_QUARTERS),
    8: (
        *(Fraction(0), Fraction(1), Fraction(-1), 2 * Fraction(1), -2 * Fraction(1)),
        *(_HALF, -_HALF),
    ),
}


@cache
def matrices(m: int, r: int) -> tuple[Matrix, Matrix, Matrix]:
    """The matrices Aᵀ (m, n), G (n, r) and Bᵀ (n, n) of y = Aᵀ[(G g) ⊙ (Bᵀ d)].

    n is m + r − 1.
    """
    n = m + r - 1
    points = _POINTS[n]
    back = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    weights, inputs = [], []
    for p in points:
        others = [q for q in points if q != p]
        scale = Fraction(1)
        for q in others:
            scale *= p - q
        weights.append([p**k / scale for k in range(r)])
        inputs.append([*_product(others), Fraction(0)])
    weights.append([Fraction(k == r - 1) for k in range(r)])
    inputs.append(list(_product(points)))
    return _frozen(back), _frozen(weights), _frozen(inputs)


def transformed(weights: NDArray[np.float32], m: int) -> NDArray[np.float64]:
    """G g Gᵀ of each window: weights (outputs, inputs, r, r) to (n², inputs, outputs)."""
    outputs, inputs, r, _ = weights.shape
    g = np.array(matrices(m, r)[1], np.float64)
    windows = weights.astype(np.float64).transpose(2, 3, 1, 0).reshape(r * r, -1)
    return (np.kron(g, g) @ windows).reshape(-1, inputs, outputs)


def transforms(lanes: int) -> str:
    """C for all transforms, and the table ``TRANSFORMS``.

    Args:
        lanes: The channels in a block; for some, there are transforms of half a block.
    """
    text, rows = [], []
    for m, r in TRANSFORMS:
        halves = ("", "half_" * (lanes == HALVED_LANES))
        text += [_input(m, r, half) + _output(m, r, half) for half in sorted({*halves})]
        pairs = [", ".join(f"{way}_{half}{m}_{r}" for half in halves) for way in ("in", "out")]
        rows.append(f"    {{{m}, {r}, {{{pairs[0]}}}, {{{pairs[1]}}}}},\n")
    return (
        "".join(text)
        + "struct transform {\n    int64_t m, r;\n"
        + "    in_function *in[2];   /* of a block, and of one that is half empty */\n"
        + "    out_function *out[2];\n};\n"
        + f"static const struct transform TRANSFORMS[] = {{\n{''.join(rows)}}};\n"
    )


def _input(m: int, r: int, half: str) -> str:
    """Bᵀ d B of one tile and block of channels."""
    n = m + r - 1
    matrix = matrices(m, r)[2]
    vec, load, store = _types(half)
    body = [f"    {vec} t[{n * n}];\n"]
    for i in range(n):
        reads = "".join(f"{vec} d{j} = {load}(x + {i} * row + {j} * LANES); " for j in range(n))
        body.append(
            f"    {{ {reads}\n{_apply(matrix, [f't[{i * n + j}]' for j in range(n)], vec)}    }}\n"
        )
    for j in range(n):
        reads = "".join(f"{vec} d{i} = t[{i * n + j}]; " for i in range(n))
        made = [f"v{i}" for i in range(n)]
        writes = "".join(f"{store}(v + {i * n + j} * plane, v{i}); " for i in range(n))
        declared = f"{vec} " + ", ".join(made) + ";"
        body.append(
            f"    {{ {reads}{declared}\n{_apply(matrix, made, vec)}        {writes}\n    }}\n"
        )
    return (
        f"static void in_{half}{m}_{r}(const float *restrict x, int64_t row, float *restrict v, "
        f"int64_t plane)\n{{\n{''.join(body)}}}\n"
    )


def _output(m: int, r: int, half: str) -> str:
    """Aᵀ M A of one tile and block of channels; with bias, sum and limits."""
    n = m + r - 1
    matrix = matrices(m, r)[0]
    vec, load, _ = _types(half)
    whole_of = "widened({})" if half else "{}"
    body = [f"    {vec} t[{m * n}], o[{m * m}];\n"]
    for j in range(n):
        reads = "".join(f"{vec} d{i} = {load}(m + {i * n + j} * plane); " for i in range(n))
        body.append(
            f"    {{ {reads}\n{_apply(matrix, [f't[{i * n + j}]' for i in range(m)], vec)}    }}\n"
        )
    for i in range(m):
        reads = "".join(f"{vec} d{j} = t[{i * n + j}]; " for j in range(n))
        body.append(
            f"    {{ {reads}\n{_apply(matrix, [f'o[{i * m + j}]' for j in range(m)], vec)}    }}\n"
        )
    finish = "smaller(larger({0}, l), u)"
    whole = "".join(
        f"        {{ vec q = {whole_of.format(f'o[{i * m + j}]')} + bias; "
        f"if (r) q += load(r + {i} * r_row + {j} * LANES); "
        f"store(y + {i} * y_row + {j} * LANES, {finish.format('q')}); }}\n"
        for i in range(m)
        for j in range(m)
    )
    part = f"""        for (int64_t i = 0; i < height; i++)
            for (int64_t j = 0; j < width; j++) {{
                vec q = {whole_of.format(f"o[i * {m} + j]")} + bias;
                if (r) q += load(r + i * r_row + j * LANES);
                store(y + i * y_row + j * LANES, {finish.format("q")});
            }}
"""
    return (
        f"static void out_{half}{m}_{r}(const float *restrict m, int64_t plane, vec bias, "
        "const float *restrict r, int64_t r_row, float *restrict y, int64_t y_row, "
        "int64_t height, int64_t width, float low, float high)\n{\n"
        "    const vec l = splat(low), u = splat(high);\n"
        f"{''.join(body)}    if (height == {m} && width == {m}) {{\n{whole}    }} else\n{part}}}\n"
    )


def _types(half: str) -> tuple[str, str, str]:
    """The type of a block's channels, and the functions that load and store them."""
    return ("half", "load_half", "store_half") if half else ("vec", "load", "store")


def _apply(matrix: Matrix, made: Sequence[str], vec: str) -> str:
    """Assignments of ``matrix · d`` to names, where d0, d1, … are vectors of some type.

    Rows that differ only in the sign of their odd columns share both halves; columns that differ
    only in the sign of their odd rows share a sum and a difference.
    """
    pairs = _row_pairs(matrix)
    if pairs:
        return _by_rows(matrix, made, pairs, vec)
    return _by_columns(matrix, made, vec)


def _by_rows(
    matrix: Matrix, made: Sequence[str], pairs: dict[int, tuple[int, int]], vec: str
) -> str:
    lines = []
    twins = {twin for twin, _ in pairs.values()}
    for i, row in enumerate(matrix):
        if i in twins:
            continue
        if i not in pairs:
            lines.append(f"        {made[i]} = {_sum(row, 'd')};\n")
            continue
        twin, sign = pairs[i]
        even = _sum([c if k % 2 == 0 else Fraction(0) for k, c in enumerate(row)], "d")
        odd = _sum([c if k % 2 else Fraction(0) for k, c in enumerate(row)], "d")
        other = "e - f" if sign > 0 else "f - e"
        lines.append(
            f"        {{ const {vec} e = {even}, f = {odd}; "
            f"{made[i]} = e + f; {made[twin]} = {other}; }}\n"
        )
    return "".join(lines)


def _by_columns(matrix: Matrix, made: Sequence[str], vec: str) -> str:
    n, lines, used = len(matrix[0]), [], set()
    terms: list[list[tuple[Fraction, str]]] = [[] for _ in matrix]
    for a in range(n):
        if a in used:
            continue
        twin = next((b for b in range(a + 1, n) if b not in used and _mirrored(matrix, a, b)), None)
        if twin is None:
            for i, row in enumerate(matrix):
                terms[i].append((row[a], f"d{a}"))
            continue
        used.add(twin)
        lines.append(f"        const {vec} s{a} = d{a} + d{twin}, f{a} = d{a} - d{twin};\n")
        for i, row in enumerate(matrix):
            terms[i].append((row[a], f"{'f' if i % 2 else 's'}{a}"))
    for name, summed in zip(made, terms, strict=True):
        lines.append(f"        {name} = {_terms(summed)};\n")
    return "".join(lines)


def _row_pairs(matrix: Matrix) -> dict[int, tuple[int, int]]:
    """Rows with a twin whose odd columns have the other sign: the twin, and the sign of both."""
    pairs: dict[int, tuple[int, int]] = {}
    taken: set[int] = set()
    for i, row in enumerate(matrix):
        for j in range(i + 1, len(matrix)):
            if i in taken or j in taken:
                continue
            flipped = [c if k % 2 == 0 else -c for k, c in enumerate(row)]
            if not any(row[::2]) or not any(row[1::2]):
                continue
            for sign in (1, -1):
                if [sign * c for c in flipped] == list(matrix[j]):
                    pairs[i] = (j, sign)
                    taken |= {i, j}
    return pairs


def _mirrored(matrix: Matrix, a: int, b: int) -> bool:
    return (
        len(matrix) > 1
        and bool(matrix[0][a] and matrix[1][a])
        and all(row[b] == row[a] * (-1) ** i for i, row in enumerate(matrix))
    )


def _sum(row: Sequence[Fraction], letter: str) -> str:
    return _terms([(c, f"{letter}{k}") for k, c in enumerate(row)])


def _terms(terms: Sequence[tuple[Fraction, str]]) -> str:
    found = sorted(((c, name) for c, name in terms if c), key=lambda term: abs(term[0]) != 1)
    if not found:
        return "splat(0)"
    words = []
    for c, name in found:
        factor = name if abs(c) == 1 else f"{float(abs(c))!r}f * {name}"
        words.append(f"{'-' if c < 0 else '+'} {factor}")
    text = " ".join(words)
    return text[2:] if text.startswith("+") else text.replace("- ", "-", 1)


def _product(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of Π (x − root), lowest first."""
    poly = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *poly]
        poly = [a - root * b for a, b in zip(shifted, [*poly, Fraction(0)], strict=True)]
    return poly


def _frozen(rows: Sequence[Sequence[Fraction]]) -> Matrix:
    return tuple(tuple(row) for row in rows)
