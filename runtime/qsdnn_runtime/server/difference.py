"""The difference between outputs and a reference."""

from __future__ import annotations

import math
from typing import Any, Mapping

import numpy as np

TINY = float(np.finfo(np.float32).tiny)


def max_error(got: Mapping[str, Any], want: Mapping[str, Any]) -> float:
    """The largest difference of any output, relative to the largest magnitude in its reference.

    Args:
        got: The outputs, by name.
        want: The reference, by name.

    Returns:
        0 when equal; infinite when an output is missing, has another type or shape, other NaNs or
        infinities, or differs where only equality will do (integers, booleans, strings).
    """
    if set(got) != set(want):
        return math.inf
    return max((_error(got[name], want[name]) for name in want), default=0.0)


def _error(got: Any, want: Any) -> float:
    if got is None or want is None:
        return 0.0 if got is want else math.inf
    if isinstance(want, (list, tuple)):
        if not isinstance(got, (list, tuple)) or len(got) != len(want):
            return math.inf
        return max((_error(a, b) for a, b in zip(got, want)), default=0.0)
    return _array_error(np.asarray(got), np.asarray(want))


def _array_error(got: np.ndarray, want: np.ndarray) -> float:
    if got.shape != want.shape or got.dtype.kind != want.dtype.kind:
        return math.inf
    if want.dtype.kind not in "fc":
        same = got.dtype == want.dtype or want.dtype.kind in "OU"
        return 0.0 if same and np.array_equal(got, want) else math.inf
    if got.dtype != want.dtype:
        return math.inf
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    got, want = got.astype(wide), want.astype(wide)
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True):
        return math.inf
    if not np.isfinite(got[finite]).all():
        return math.inf
    if not finite.any():
        return 0.0
    difference = np.abs(got[finite] - want[finite]).max()
    return float(difference / max(np.abs(want[finite]).max(), TINY))
