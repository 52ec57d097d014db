"""The plug-ins that packages register under an entry point group."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any

from qsdnn.errors import InputError, unknown


def registered(group: str) -> EntryPoints:
    """The entry points of a group. To look for them takes 17 ms, so they are kept."""
    return _found(group, tuple(sys.path))


@cache
def _found(group: str, path: Sequence[str]) -> EntryPoints:
    """The entry points of a group in the packages on a path, which is `sys.path`."""
    return entry_points(group=group)


def load_plugins(group: str, kind: str, names: Sequence[str] | None = None) -> dict[str, Any]:
    """The registered objects of a group by name, in the order asked for.

    Args:
        group: The entry point group.
        kind: The kind of the objects, for messages.
        names: The names of the objects; None or empty takes all that are registered.

    Raises:
        InputError: A name is not registered, or what is registered cannot be imported.
    """
    if not registered(group).names.issuperset(names or ()):
        _found.cache_clear()  # a package may have been installed since, as in a notebook
    points = {point.name: point for point in registered(group)}
    for name in names or ():
        if name not in points:
            raise unknown(kind, name, points)
    return {name: _load(points[name], kind) for name in names or sorted(points)}


def _load(point: EntryPoint, kind: str) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        package = f" of {point.dist.name}" if point.dist else ""
        raise InputError(
            f"{kind} '{point.name}'{package} cannot be loaded from {point.value}: {error}"
        ) from error
