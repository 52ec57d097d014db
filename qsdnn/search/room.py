"""Room on the board: packages measured side by side are all in its memory at once."""

from __future__ import annotations

from collections.abc import Sequence

from qsdnn.board import BoardInfo, Package

SHARE = 0.5
"""Of a board's memory, for packages; the rest is the system's, and for tensors between layers."""

LOADED = 2.0
"""Memory that a package takes, in sizes of its files: engines rearrange weights. 1.1 was seen for
25 packages of vgg19 together (574 MB each, 15.5 GB)."""


def room_bytes(info: BoardInfo) -> float:
    """Sizes of packages that the board has room for, together; infinite where it does not tell."""
    memory_mb = float(info.facts.get("memory_mb") or 0)
    return SHARE / LOADED * memory_mb * 1e6 or float("inf")


def size_bytes(package: Package) -> int:
    """The size of a package's files."""
    return sum(entry["size_bytes"] for entry in package.manifest["artifacts"].values())


def parts(
    packages: Sequence[Package], anchors: Sequence[Package], room: float
) -> list[list[Package]]:
    """Cuts packages into groups that the board has room for, in their order.

    Args:
        packages: At least one.
        anchors: They are loaded beside each group.
        room: See `room_bytes`. A package that is larger goes alone.
    """
    room -= sum(size_bytes(anchor) for anchor in anchors)
    found: list[list[Package]] = [[]]
    taken = 0
    for package in packages:
        size = size_bytes(package)
        if found[-1] and taken + size > room:
            found.append([])
            taken = 0
        found[-1].append(package)
        taken += size
    return found
