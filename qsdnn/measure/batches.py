"""The room on the board: which packages are loaded at once, in one process, to be interleaved.

The packages of a small network are all loaded at once. Those of a large one would take many times
its weights, which a board may not have and a user's machine needs for other things; they are loaded
a few at a time, or alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qsdnn.board import BoardInfo, Package

SHARE = 0.5
"""The share of a board's memory for the process that measures; the rest is the system's."""

WEIGHTS, SPARE_BYTES, LEAST_BYTES = 3.0, 400e6, 1.75e9
"""The memory allowed for a network: that many times its weights and that much more; or as much as
25 packages of a network of 50 MB take, if that is more."""

SETTLED, LOADING, LIBRARIES_BYTES = 1.25, 2.25, 150e6
"""The memory that a package takes once it is loaded, and while it is being loaded, in sizes of its
files; and that of the interpreter and the libraries of all engines. Seen on alexnet, zfnet512 and
vgg19 (244, 349 and 575 MB; experiments/memory.py): 1.04 to 1.26 and at most 2.3, but 1.7 for
Winograd's weights of vgg19, which are larger than those they are made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The memory for packages of one network.

    Attributes:
        memory_bytes: The memory that the measuring process may take on the board; infinite where
            the board does not tell what it has.
    """

    memory_bytes: float = float("inf")

    def capacity(self, packages: Sequence[Package]) -> int:
        """The number of packages of a network that may be loaded at once; at least one.

        Each package counts as much as the largest: files do not hold what an engine computes from
        nothing, as the weights of the onnx package's networks (zfnet512: 4.5 KB, 349 MB in memory).
        """
        weights = max((size_bytes(package) for package in packages), default=0)
        if not weights:
            return max(len(packages), 1)
        allowed = max(WEIGHTS * weights + SPARE_BYTES, LEAST_BYTES)
        left = min(allowed, self.memory_bytes) - LIBRARIES_BYTES - LOADING * weights
        others = left / (SETTLED * weights)
        return 1 + int(min(max(others, 0.0), len(packages)))

    def shifts(self, packages: Sequence[Package]) -> list[list[int]]:
        """The indices of packages cut, in their order, into groups that are loaded at once."""
        capacity, indices = self.capacity(packages), list(range(len(packages)))
        return [indices[start : start + capacity] for start in indices[::capacity]]

    def parts(self, packages: Sequence[Package], anchors: Sequence[Package]) -> list[list[Package]]:
        """Cuts packages, in their order, into groups for which there is room beside anchors.

        Args:
            packages: The packages to measure.
            anchors: The packages that are loaded beside each group.

        Returns:
            The groups; all packages are in one where not even one package fits beside the anchors.
        """
        capacity = self.capacity([*packages, *anchors])
        if capacity <= len(anchors):
            return [list(packages)]
        found: list[list[Package]] = []
        for package in packages:
            if found and len(together([*found[-1], package], anchors)) <= capacity:
                found[-1].append(package)
            else:
                found.append([package])
        return found


def room_of(info: BoardInfo | None) -> Room:
    """The room on a board; without limit for None, a board of which nothing is known."""
    memory_mb = float(info.facts.get("memory_mb") or 0) if info else 0.0
    return Room(memory_bytes=SHARE * memory_mb * 1e6 or float("inf"))


def together(packages: Sequence[Package], anchors: Sequence[Package]) -> list[Package]:
    """The packages, and the anchors that are not among them."""
    known = {package.digest for package in packages}
    return [*packages, *(anchor for anchor in anchors if anchor.digest not in known)]


def size_bytes(package: Package) -> int:
    """The size of a package's files."""
    return sum(entry["size_bytes"] for entry in package.manifest["artifacts"].values())
