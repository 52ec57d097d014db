"""The trials of a search, plans that were measured, and the profile that the uniform ones give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qsdnn.board import Applied, Package, Record, State, Trust
from qsdnn.cost.terms import Observation, segments_of
from qsdnn.errors import InfeasibleError
from qsdnn.model.segment import Segment
from qsdnn.primitive import parse_name
from qsdnn.space import Space

DOUBT = {Trust.STABLE: 1.0, Trust.NOISY: 2.0, Trust.DISTURBED: 2.0, Trust.THROTTLED: 4.0}
"""The factor by which a measurement is less exact, by its trust."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A plan that was measured.

    Attributes:
        choice: The primitive index of each layer (layers,).
        segments: The segments that the plan was built as.
        package: The package that was measured.
        record: The record of the measurement.
        drift: The factor by which the machine was slower than when its anchors were first measured.
    """

    choice: NDArray[np.int64]
    segments: tuple[Segment, ...] = field(repr=False)
    package: Package
    record: Record = field(repr=False)
    drift: float = 1.0

    @property
    def key(self) -> bytes:
        """The key of the plan, the same for all its trials."""
        return self.choice.tobytes()

    @property
    def ok(self) -> bool:
        """Whether the plan ran and gave the right outputs."""
        return self.record.state is State.OK

    @property
    def throttled(self) -> bool:
        """Whether the board slowed down while the plan was measured."""
        return self.record.trust is Trust.THROTTLED

    @property
    def latency_ms(self) -> float:
        """The latency on a quiet machine without drift; infinite where the plan ended badly."""
        return self.record.quiet_ms / self.drift if self.ok else float("inf")

    def observations(self, space: Space) -> list[Observation]:
        """The observations that the times of the plan's segments give the cost model."""
        segment_ms = self.record.quiet_segment_ms
        # the loop around the segments
        share_ms = (self.record.quiet_ms - sum(segment_ms)) / len(self.segments)
        return [
            replace(part, ms=(ms + share_ms) / self.drift, doubt=DOUBT[self.record.trust])
            for part, ms in zip(
                segments_of(space, self.choice, self.segments), segment_ms, strict=True
            )
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The measurements of the uniform plans, by layer and primitive.

    Attributes:
        trials: The uniform plans by primitive name, also those that failed.
        layer_ms: The time of each layer (layers, primitives), scaled so that a segment's layers sum
            to its unprofiled time on a quiet machine that had not drifted; NaN where nothing was
            measured.
        applied: The primitive and kernel that the engine executed, by (layer, primitive) index.
    """

    trials: Mapping[str, Trial]
    layer_ms: NDArray[np.float64] = field(repr=False)
    applied: Mapping[tuple[int, int], Applied] = field(repr=False)

    @property
    def best(self) -> tuple[Trial, ...]:
        """The uniform plans that ran, fastest first."""
        return tuple(sorted((t for t in self.trials.values() if t.ok), key=lambda t: t.latency_ms))

    @property
    def names(self) -> dict[bytes, str]:
        """The uniform plans' names by the keys of their trials."""
        return {trial.key: name for name, trial in self.trials.items()}


def usable(space: Space, measured: Profile) -> tuple[Space, Profile]:
    """The space and its profile without what could not be profiled, and what read back equal.

    A layer that ran in another precision than it was asked to cannot take that primitive; plans
    that asked for that primitive are taken to have asked for what ran.

    Raises:
        InfeasibleError: A layer has no primitive left.
    """
    mask = space.mask & np.isfinite(measured.layer_ms)
    ran = _ran_as(space, mask, measured)
    for layer, primitive in ran:
        mask[layer, primitive] = False
    empty = np.flatnonzero(~mask.any(axis=1))
    if len(empty):
        raise InfeasibleError(f"layer '{space.layers[empty[0]]}' runs on none of the engines")
    twins = _twins(space, mask, measured)
    mask[:, twins] = False
    names = {str(space.primitives[twin]) for twin in twins}
    trials = {
        name: replace(trial, choice=_as_ran(trial.choice, ran))
        for name, trial in measured.trials.items()
        if name not in names
    }
    return replace(space, mask=mask), replace(measured, trials=trials)


def _ran_as(space: Space, mask: NDArray[np.bool_], measured: Profile) -> dict[tuple[int, int], int]:
    """The primitive that ran, where it computed in another precision than it was asked to."""
    found = {}
    for (layer, asked), applied in measured.applied.items():
        engine, _, precision = parse_name(applied.primitive)
        if precision is space.primitives[asked].precision:
            continue
        alike = [
            i
            for i, p in enumerate(space.primitives)
            if mask[layer, i] and (p.engine, p.precision) == (engine, precision)
        ]
        if alike:  # best by its very name
            names = [str(space.primitives[i]) for i in alike]
            exactly = applied.primitive in names
            found[layer, asked] = alike[names.index(applied.primitive) if exactly else 0]
    return found


def _as_ran(choice: NDArray[np.int64], ran: Mapping[tuple[int, int], int]) -> NDArray[np.int64]:
    pairs = enumerate(choice.tolist())
    return np.array([ran.get(pair, pair[1]) for pair in pairs], dtype=np.int64)


def _twins(space: Space, mask: NDArray[np.bool_], measured: Profile) -> list[int]:
    """The primitives that read back like an earlier one of their engine, in every layer."""
    seen: set[tuple[object, ...]] = set()
    twins = []
    for index, primitive in enumerate(space.primitives):
        layers = np.flatnonzero(mask[:, index]).tolist()
        applied = [measured.applied.get((layer, index)) for layer in layers]
        kernels = tuple(one.kernel for one in applied if one is not None)
        if not layers or len(kernels) < len(layers):
            continue
        key = (primitive.engine, primitive.precision, tuple(layers), kernels)
        if key in seen:
            twins.append(index)
        seen.add(key)
    return twins


def collect(space: Space, trials: Mapping[str, Trial]) -> Profile:
    """The profile of uniform plans.

    Args:
        space: The search space: the layers and what each may run as.
        trials: The trials of uniform plans, by name; others of the space were not measured.
    """
    layer_ms = np.full((len(space.layers), len(space.primitives)), np.nan)
    applied: dict[tuple[int, int], Applied] = {}
    for name, trial in trials.items():
        if not trial.ok:
            continue
        scaled = scaled_layers_ms(trial)
        for layer, primitive in enumerate(trial.choice):
            named = str(space.primitives[primitive]) == name
            if named or np.isnan(layer_ms[layer, primitive]):
                layer_ms[layer, primitive] = scaled[layer]
                if layer in trial.record.applied:
                    applied[layer, int(primitive)] = trial.record.applied[layer]
    return Profile(trials=trials, layer_ms=layer_ms, applied=applied)


def scaled_layers_ms(trial: Trial) -> dict[int, float]:
    """The time in ms of each layer by index, scaled to the unprofiled time of its segment.

    The profiled times of a segment's layers are scaled so that they sum to its unprofiled time;
    layers have equal shares where the engine tells none.
    """
    times: dict[int, float] = {}
    for segment, ms in zip(trial.segments, trial.record.quiet_segment_ms, strict=True):
        segment_ms = ms / trial.drift
        raw = {la.index: trial.record.layers_ms.get(la.index, 0.0) for la in segment.layers}
        total = sum(raw.values())
        if total > 0:
            times |= {index: ms * segment_ms / total for index, ms in raw.items()}
        else:  # the engine told nothing: share alike
            times |= dict.fromkeys(raw, segment_ms / len(raw))
    return times
