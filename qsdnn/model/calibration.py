"""Calibration: the values that the tensors of a network take on a user's inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from qsdnn.errors import BuildError


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The range of each activation, from which its integer scale follows.

    Attributes:
        method: The method of dealing with outliers: ``"minmax"``, ``"entropy"``, ``"percentile"``.
        ranges: The (lowest, highest) value of each tensor, by its name in the graph.
    """

    method: str
    ranges: Mapping[str, tuple[float, float]] = field(repr=False)

    @property
    def digest(self) -> str:
        """The hash of method and ranges, part of what a built artifact is known by."""
        content = json.dumps([self.method, sorted(self.ranges.items())])
        return hashlib.sha256(content.encode()).hexdigest()

    def range(self, tensor: str) -> tuple[float, float]:
        """The range of a tensor, always with 0 in it, as padding needs a zero that is exact.

        Raises:
            BuildError: The tensor was not seen when calibrating.
        """
        if tensor not in self.ranges:
            raise BuildError(f"the calibration has no range of tensor '{tensor}'")
        low, high = self.ranges[tensor]
        return min(low, 0.0), max(high, 0.0)
