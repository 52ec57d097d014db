"""A user's samples, which calibrate integers and decide whether a plan is good enough."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.errors import InputError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Samples for a network, with labels if there are any.

    Attributes:
        arrays: The samples of each input (samples, *shape of one sample), finite, of the network's
            dtype.
        batch: The number of samples that the network takes in one run; 0 when its inputs have no
            such dimension: one sample is then one run.
        labels: The right answers (samples, …); None when there are none.
        source: The path that the samples are from, for messages.
    """

    arrays: Mapping[str, Array] = field(repr=False)
    batch: int
    labels: Array | None = field(default=None, repr=False)
    source: str

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(next(iter(self.arrays.values())))

    @property
    def digest(self) -> str:
        """The sha256 hash of the samples and labels."""
        found = hashlib.sha256()
        labels = {} if self.labels is None else {"labels": self.labels}
        for name, array in (*sorted(self.arrays.items()), *labels.items()):
            found.update(f"{name} {array.dtype.str} {array.shape} {self.batch}\n".encode())
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()

    def runs(self) -> dict[str, Array]:
        """The samples in the form `Board.evaluate` takes: (runs, *shape of the input)."""
        if not self.batch:
            return dict(self.arrays)
        return {
            name: array.reshape(-1, self.batch, *array.shape[1:])
            for name, array in self.arrays.items()
        }

    def unbatched(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs of `runs`, one row a sample; unchanged where they have no batch dimension."""
        return {
            name: array.reshape(-1, *array.shape[2:])
            if self.batch and array.shape[1:2] == (self.batch,)
            else array
            for name, array in outputs.items()
        }

    def take(self, indices: NDArray[np.intp]) -> Inputs:
        """The samples of those indices, in that order, cut to whole batches."""
        whole = indices[: len(indices) // max(self.batch, 1) * max(self.batch, 1)]
        return Inputs(
            arrays={name: array[whole] for name, array in self.arrays.items()},
            batch=self.batch,
            labels=None if self.labels is None else self.labels[whole],
            source=self.source,
        )


def halves(inputs: Inputs, seed: int = 0) -> tuple[Inputs, Inputs]:
    """Two halves that share no sample: the one calibrates, the other decides.

    With integer labels each half has as many of each, to within one.

    Args:
        inputs: The samples to split, at least two batches.
        seed: The seed of the split; the same seed gives the same halves.

    Raises:
        InputError: There are fewer than two batches.
    """
    if inputs.samples < 2 * max(inputs.batch, 1):
        have = "1 sample" if inputs.samples == 1 else f"{inputs.samples} samples"
        raise InputError(
            f"{inputs.source}: {have}, at least {2 * max(inputs.batch, 1)} are needed: "
            "one half calibrates, the other decides, and the network takes "
            f"{max(inputs.batch, 1)} at a time",
            hint="give more: some hundred make a drop of 1 % visible",
        )
    order = np.random.default_rng(seed).permutation(inputs.samples)
    if inputs.labels is not None and inputs.labels.ndim == 1 and inputs.labels.dtype.kind in "iu":
        order = order[np.argsort(inputs.labels[order], kind="stable")]
    rng = np.random.default_rng([seed, 1])  # neither half is in the order of its labels
    calibrating, deciding = rng.permutation(order[1::2]), rng.permutation(order[0::2])
    return inputs.take(calibrating), inputs.take(deciding)
