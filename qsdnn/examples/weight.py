"""Weights of an example network: their shapes and how they are drawn, not yet their values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # numpy is not needed to describe a network, and listing them must be quick
    from numpy.random import Generator
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal distribution."""

    mean: float
    std: float

    def draw(self, rng: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        """Samples of the distribution in that shape, float32."""
        import numpy as np

        values = rng.standard_normal(shape, dtype=np.float32)
        values *= np.float32(self.std)
        values += np.float32(self.mean)
        return values


@dataclass(frozen=True, slots=True)
class Uniform:
    """A uniform distribution over [low, high)."""

    low: float
    high: float

    def draw(self, rng: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        """Samples of the distribution in that shape, float32."""
        import numpy as np

        values = rng.random(shape, dtype=np.float32)
        values *= np.float32(self.high - self.low)
        values += np.float32(self.low)
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A tensor of random float32 numbers.

    Attributes:
        name: The name, unique in the network; with the seed it fixes the values.
        shape: The dimensions of the tensor.
        distribution: The distribution that the values are drawn from.
        learned: Whether the tensor counts as a parameter. The running mean and variance of a batch
            normalisation do not: published counts leave them out.
    """

    name: str
    shape: tuple[int, ...]
    distribution: Normal | Uniform
    learned: bool = True

    @property
    def size(self) -> int:
        """The number of elements of the tensor."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A small tensor whose values the architecture fixes: a shape, a bound.

    Attributes:
        name: The name, unique in the network.
        shape: The dimensions of the tensor; ``()`` for a scalar.
        values: The values, row by row. All ints give int64, otherwise float32.
    """

    name: str
    shape: tuple[int, ...]
    values: tuple[int, ...] | tuple[float, ...]
