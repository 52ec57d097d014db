"""The error function, which numpy lacks.

M. Abramowitz, I. Stegun: Handbook of Mathematical Functions, 1964, equation 7.1.26: for x ≥ 0

    erf(x) = 1 - (a1·t + a2·t² + a3·t³ + a4·t⁴ + a5·t⁵) · exp(-x²) + ε,  t = 1 / (1 + p·x),

|ε| ≤ 1.5e-7; rounding in float32 keeps the whole error below 1e-6. erf is odd: the steps take |x|,
and put the sign back.
"""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from .kernel import Arrays, Step, scalar

P = scalar(0.3275911)
A = tuple(scalar(a) for a in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592))
"""The coefficients a5 … a1, in the order of Horner's rule."""
ONE = scalar(1)


def erf_steps(x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    """The numpy calls that set y to erf(x).

    Args:
        x: The input, of any shape, float32.
        y: The output, of the same shape; may be the memory of `x`.
        room: Three scratch arrays of the same shape.
    """
    gauss, t, total = room
    yield partial(np.multiply, x, x, out=gauss)
    yield partial(np.negative, gauss, out=gauss)
    yield partial(np.exp, gauss, out=gauss)
    yield partial(np.absolute, x, out=t)
    yield partial(np.multiply, t, P, out=t)
    yield partial(np.add, t, ONE, out=t)
    yield partial(np.divide, ONE, t, out=t)
    yield partial(np.multiply, t, A[0], out=total)  # Horner's rule: total = (a5·t + a4)·t + …
    for a in A[1:]:
        yield partial(np.add, total, a, out=total)
        yield partial(np.multiply, total, t, out=total)
    yield partial(np.multiply, total, gauss, out=total)
    yield partial(np.subtract, ONE, total, out=total)
    yield partial(np.copysign, total, x, out=y)
