"""Components: networks with the stages before and after each, run one after another."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from qsdnn_runtime.session import Session

from . import audio, boxes, classes, image, keypoints, signal
from .stage import After, AppError, Before, Result, Sample, chain

BEFORE: Mapping[str, Before] = {**image.STAGES, **audio.STAGES, **signal.STAGES}
"""The stages before inference, by name."""

AFTER: Mapping[str, After] = {**classes.STAGES, **boxes.STAGES, **keypoints.STAGES}
"""The stages after inference, by name."""


@dataclass(frozen=True)
class Times:
    """The time that one run of an application took.

    Attributes:
        before_ms: The time of the stages before inference.
        inference_ms: The time of the networks.
        after_ms: The time of the stages after inference.
        total_ms: The time from the input to the results.
    """

    before_ms: float
    inference_ms: float
    after_ms: float
    total_ms: float


class Component:
    """One network of an application, with the stages around it.

    Args:
        entry: The component's entry in the configuration.
        session: The session of the network, which the component closes.

    Attributes:
        name: The name of the component, and of its results.
        reads: The name of the component whose boxes this one reads; empty: the input.
        margin: The part of a box's size that is added at each side.
    """

    def __init__(self, entry: Mapping[str, Any], session: Session) -> None:
        self.name = str(entry["name"])
        self.reads = str(entry.get("reads", ""))
        self.margin = float(entry.get("margin", 0.0))
        self._session = session
        self._before = chain(entry.get("preprocessing", ()), BEFORE)
        self._after = chain(entry.get("postprocessing", ()), AFTER)
        (self._input, *others) = session.get_inputs()
        if others:
            names = ", ".join(one.name for one in (self._input, *others))
            raise AppError(
                "component '%s': its network reads %s, not one input" % (self.name, names)
            )

    def run(self, sample: Sample, clock: Clock) -> Dict[str, Any]:
        """The results for one sample.

        Raises:
            AppError: The stages make something else than the network reads.
        """
        for stage in self._before:
            sample = stage(sample)
        feed = self._fitting(sample)
        clock.lap("before")
        outputs = self._session.run(None, {self._input.name: feed})
        clock.lap("inference")
        names = [output.name for output in self._session.get_outputs()]
        result = Result(dict(zip(names, outputs)), {}, sample.having(feed))
        for stage in self._after:
            result = stage(result)
        found = dict(result.found) if self._after else dict(result.outputs)
        clock.lap("after")
        return found

    def close(self) -> None:
        """Frees the network."""
        self._session.close()

    def _fitting(self, sample: Sample) -> np.ndarray:
        wanted = tuple(self._input.shape or ())
        values = sample.values
        if values.shape != wanted:
            raise AppError(
                "component '%s': its stages make %s of this input, its network reads %s"
                % (self.name, values.shape, wanted)
            )
        dtype = np.float32 if self._input.type == "tensor(float)" else values.dtype
        return np.ascontiguousarray(values, dtype)


class Pipeline:
    """The components of an application, in their order.

    Args:
        entries: The components' entries in the configuration.
        open_session: A function that loads the network of an entry.

    Raises:
        AppError: An entry is malformed, or reads boxes of none before it.
    """

    def __init__(
        self,
        entries: Sequence[Mapping[str, Any]],
        open_session: Callable[[Mapping[str, Any]], Session],
    ) -> None:
        self._components: List[Component] = []
        known = {""}
        try:
            for entry in entries:
                reads = str(entry.get("reads", ""))
                if reads not in known:
                    raise AppError(
                        "component '%s' reads '%s', which is none before it"
                        % (entry["name"], reads)
                    )
                known.add(str(entry["name"]))
                self._components.append(Component(entry, open_session(entry)))
        except BaseException:
            self.close()
            raise

    def run(self, sample: Sample) -> Tuple[Dict[str, Any], Times]:
        """The results for one sample by component, and the time of each part.

        Results for the boxes of another component are in the entries of these boxes.

        Raises:
            AppError: The sample does not fit.
        """
        clock = Clock()
        found: Dict[str, Any] = {}
        for component in self._components:
            if not component.reads:
                found[component.name] = component.run(sample, clock)
                continue
            for thing in found[component.reads].get("boxes", ()):
                part = image.region(sample, thing["box"], component.margin)
                thing[component.name] = component.run(part, clock)
        clock.lap("after")
        return found, clock.times()

    def close(self) -> None:
        """Frees the networks."""
        while self._components:
            self._components.pop().close()


class Clock:
    """Tells the parts of a run's time."""

    def __init__(self, now: Callable[[], int] = perf_counter_ns) -> None:
        self._now = now
        self._start = self._last = now()
        self._spent = {"before": 0, "inference": 0, "after": 0}

    def lap(self, part: str) -> None:
        """Ends a part of the time, which began where the last one ended."""
        now = self._now()
        self._spent[part] += now - self._last
        self._last = now

    def times(self) -> Times:
        """The time of each part so far."""
        spent = {part: nanoseconds / 1e6 for part, nanoseconds in self._spent.items()}
        total_ms = (self._now() - self._start) / 1e6
        return Times(spent["before"], spent["inference"], spent["after"], total_ms)
