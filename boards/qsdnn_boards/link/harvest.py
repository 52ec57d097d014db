"""The outputs that packages gave for many inputs, put together as they arrive."""

from __future__ import annotations

from typing import Any

import numpy as np

from qsdnn.board import Evaluation, State
from qsdnn_runtime.frames import Frame

from . import wire


class Harvest:
    """Gathers the outputs of packages; complete outputs are kept when the board is lost."""

    def __init__(self) -> None:
        self._parts: dict[int, list[dict[str, Any]]] = {}
        self._done: dict[int, Evaluation] = {}

    def take(self, frame: Frame) -> None:
        """Takes a frame of the measuring server; a frame about anything else is ignored."""
        header = frame.header
        if header["op"] == "outputs":
            if header["first"] == 0:  # also when a package is tried again
                self._parts[header["index"]] = []
            self._parts[header["index"]].append(wire.read_outputs(frame))
        elif header["op"] == "evaluated":
            self._done[header["index"]] = _joined(self._parts.pop(header["index"], []))
        elif header["op"] == "failed":
            self._parts.pop(header["index"], None)
            self._done[header["index"]] = Evaluation(
                state=State(header["state"]), error=header["error"]
            )

    def evaluations(self, count: int, lost: Evaluation) -> list[Evaluation]:
        """The evaluations of all packages; `lost` for each package of which nothing was heard."""
        return [self._done.get(index, lost) for index in range(count)]


def _joined(parts: list[dict[str, Any]]) -> Evaluation:
    names = parts[0] if parts else {}
    try:
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in names}
    except ValueError as error:
        text = f"outputs of several inputs cannot be joined: {error}"
        return Evaluation(state=State.UNSUPPORTED, error=text)
    return Evaluation(state=State.OK, outputs=outputs)
