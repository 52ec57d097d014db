"""Stages: the steps of an application before and after inference, found by their names."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np


class AppError(Exception):
    """An application that is malformed, or an input that it cannot take."""


@dataclass(frozen=True)
class Sample:
    """An input of an application, as stages pass it on.

    Attributes:
        values: The values: an image (height, width, channels), a sound or a signal (channels,
            length), or what a network reads.
        rate_hz: The samples a second of a sound or a signal; None of an image.
        scale: The size of a pixel, (x, y), in pixels of the source.
        origin: The place of the first pixel's corner, (x, y), in pixels of the source.
    """

    values: np.ndarray
    rate_hz: Optional[float] = None
    scale: Tuple[float, float] = (1.0, 1.0)
    origin: Tuple[float, float] = (0.0, 0.0)

    def having(self, values: np.ndarray, **changes: Any) -> Sample:
        """The same sample with other values."""
        return replace(self, values=values, **changes)

    def to_source(self, points: np.ndarray) -> np.ndarray:
        """Places in pixels of the source, of places (…, 2) as x, y in pixels of this image."""
        return np.asarray(points * np.array(self.scale) + np.array(self.origin))


@dataclass(frozen=True)
class Result:
    """What stages after inference pass on.

    Attributes:
        outputs: The outputs of the network, by name; a stage may change them.
        found: The results so far, by name.
        sample: What the network read, for places in the source.
    """

    outputs: Mapping[str, np.ndarray]
    found: Mapping[str, Any]
    sample: Sample

    def output(self, name: Optional[str]) -> np.ndarray:
        """An output of the network by name; the only one where no name is given.

        Raises:
            AppError: There is no such output, or none is named and there are several.
        """
        if name is None and len(self.outputs) == 1:
            return next(iter(self.outputs.values()))
        if name is None or name not in self.outputs:
            known = ", ".join(self.outputs)
            raise AppError("no output '%s'; the network has %s" % (name or "", known))
        return self.outputs[name]

    def finding(self, **found: Any) -> Result:
        """The same result with more that was found."""
        return replace(self, found={**self.found, **found})

    def changing(self, **outputs: np.ndarray) -> Result:
        """The same result with other outputs."""
        return replace(self, outputs={**self.outputs, **outputs})


Before = Callable[..., Sample]
After = Callable[..., Result]


def check_parameters(name: str, stage: Callable[..., Any], parameters: Mapping[str, Any]) -> None:
    """Checks that a stage takes the parameters given, and is given those that it needs.

    Raises:
        AppError: A parameter is unknown or missing.
    """
    known = list(inspect.signature(stage).parameters.values())[1:]
    names = [parameter.name for parameter in known]
    for given in parameters:
        if given not in names:
            raise AppError(
                "stage '%s' takes no '%s'; it takes %s" % (name, given, ", ".join(names))
            )
    for parameter in known:
        if parameter.default is inspect.Parameter.empty and parameter.name not in parameters:
            raise AppError("stage '%s' needs '%s'" % (name, parameter.name))


def chain(
    entries: Sequence[Mapping[str, Any]], stages: Mapping[str, Callable[..., Any]]
) -> List[Callable[[Any], Any]]:
    """The stages of a configuration as functions of one argument.

    Args:
        entries: The entries: the name of the stage as ``stage``, and its parameters.
        stages: The stages that there are, by name.

    Raises:
        AppError: A stage is unknown, or its parameters do not fit.
    """
    steps: List[Callable[[Any], Any]] = []
    for entry in entries:
        name = entry.get("stage")
        if name not in stages:
            raise AppError("no stage '%s'; there are %s" % (name, ", ".join(sorted(stages))))
        parameters: Dict[str, Any] = {k: v for k, v in entry.items() if k != "stage"}
        check_parameters(str(name), stages[str(name)], parameters)
        steps.append(_bound(stages[str(name)], parameters))
    return steps


def _bound(stage: Callable[..., Any], parameters: Mapping[str, Any]) -> Callable[[Any], Any]:
    return lambda value: stage(value, **parameters)
