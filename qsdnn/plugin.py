"""Plug-ins: what packages register under an entry point group."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

from qsdnn.errors import unknown


def load_plugins(group: str, kind: str, names: Sequence[str] | None = None) -> dict[str, Any]:
    """The objects of a group by name, in the order asked for.

    Args:
        group: The entry point group.
        kind: What they are, for messages.
        names: Which; all registered ones when None or empty.

    Raises:
        InputError: A name is not registered.
    """
    points = {point.name: point for point in entry_points(group=group)}
    for name in names or ():
        if name not in points:
            raise unknown(kind, name, points)
    return {name: points[name].load() for name in names or sorted(points)}
