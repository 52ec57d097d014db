"""Room on the board: which packages are loaded at once, in one process, to be interleaved.

Small networks' all are. Those of a large one would take many times its weights, which a board may
not have and a user's machine needs for other things; they are loaded a few at a time, or alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qsdnn.board import BoardInfo, Package

SHARE = 0.5
"""Of a board's memory, for the process that measures; the rest is the system's."""

LARGE_BYTES = 50e6
"""Weights from which on a network is large: 25 packages of a smaller one take 1.5 GB at most."""

WEIGHTS, SPARE_BYTES = 3.0, 400e6
"""What that process may take for a large network: so many times its weights, and so much more."""

SETTLED, LOADING, LIBRARIES_BYTES = 1.25, 2.25, 150e6
"""What a package takes once it is loaded, and while it is, in sizes of its files; and what the
interpreter and the libraries of all engines do. Seen on alexnet, zfnet512 and vgg19 (244, 349 and
575 MB; experiments/memory.py): 1.04 to 1.26 and at most 2.3, but 1.7 for Winograd's weights of
vgg19, which are larger than those they are made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Memory for packages of one network.

    Attributes:
        memory_bytes: That the measuring process may take on the board; infinite where the board
            does not tell what it has.
    """

    memory_bytes: float = float("inf")

    def capacity(self, packages: Sequence[Package]) -> int:
        """How many packages of a network may be loaded at once; one always may.

        Each counts as much as the largest: files do not hold what an engine computes from nothing,
        as the weights of the onnx package's networks (zfnet512: 4.5 KB, 349 MB in memory).
        """
        weights = max((size_bytes(package) for package in packages), default=0)
        if not weights:
            return max(len(packages), 1)
        allowed = WEIGHTS * weights + SPARE_BYTES if weights >= LARGE_BYTES else float("inf")
        left = min(allowed, self.memory_bytes) - LIBRARIES_BYTES - LOADING * weights
        others = left / (SETTLED * weights)
        return 1 + int(min(max(others, 0.0), len(packages)))

    def shifts(self, packages: Sequence[Package]) -> list[list[int]]:
        """Cuts packages, in their order, into those that are loaded at once, by their indices."""
        capacity, indices = self.capacity(packages), list(range(len(packages)))
        return [indices[start : start + capacity] for start in indices[::capacity]]

    def parts(self, packages: Sequence[Package], anchors: Sequence[Package]) -> list[list[Package]]:
        """Cuts packages, in their order, into those for which there is room beside anchors.

        Args:
            packages: What is measured.
            anchors: They are loaded beside each part.

        Returns:
            All in one part where not even one package fits beside the anchors.
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
    """The room on a board; None is one of which nothing is known."""
    memory_mb = float(info.facts.get("memory_mb") or 0) if info else 0.0
    return Room(memory_bytes=SHARE * memory_mb * 1e6 or float("inf"))


def together(packages: Sequence[Package], anchors: Sequence[Package]) -> list[Package]:
    """Packages, and the anchors that are not among them."""
    known = {package.digest for package in packages}
    return [*packages, *(anchor for anchor in anchors if anchor.digest not in known)]


def size_bytes(package: Package) -> int:
    """The size of a package's files."""
    return sum(entry["size_bytes"] for entry in package.manifest["artifacts"].values())
