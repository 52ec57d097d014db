"""The engines that a board has: each one is asked in a child, which the engine may crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Set, Tuple

from qsdnn_runtime.board.probe import loader_names
from qsdnn_runtime.frames import Frame

from .child import Child

PROBE_TIMEOUT_S = 60.0


def installed_engines(folder: Path) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Asks every loader whether its engine is installed.

    Args:
        folder: The children's working directory.

    Returns:
        What each engine found says of itself, by name; and further facts: the version of ``numpy``,
        and ``broken_engines``, the errors of engines that are broken, by name.
    """
    engines: Dict[str, Any] = {}
    broken: Dict[str, str] = {}
    facts: Dict[str, Any] = {}
    names = loader_names()
    pending = dict(enumerate(names))
    unlucky: Set[int] = set()

    def on_event(frame: Frame) -> None:
        event = frame.header
        if event["event"] == "numpy":
            facts["numpy"] = event["version"]
            return
        name = pending.pop(event["index"])
        if event["info"] is not None:
            engines[name] = event["info"]
        elif "error" in event:
            broken[name] = event["error"]

    while "numpy" not in facts:
        job = {"job": "probe", "engines": list(pending.items())}
        with Child(job, folder=folder) as child:
            failure = child.attend(on_event, PROBE_TIMEOUT_S)
        if failure is None:
            continue
        if failure.index not in unlucky:  # the child may have been killed by chance: once more
            unlucky.add(failure.index)
        elif failure.index in pending:
            broken[pending.pop(failure.index)] = failure.error
        else:
            return engines, {**facts, "broken_engines": {**broken, "python": failure.error}}
    return engines, {**facts, "broken_engines": broken} if broken else facts
