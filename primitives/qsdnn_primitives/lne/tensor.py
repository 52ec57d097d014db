"""Where tensors lie while a program runs: blocked images with a halo of zeros, and plain rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

ALIGNMENT = 16
"""Floats in a cache line: each tensor begins at one."""


@dataclass(eq=False, slots=True, kw_only=True)
class Tensor:
    """A place in memory.

    Attributes:
        size: The number of floats.
        buffer: The caller's buffer that it is, by tensor name; empty for memory of the program.
        parent: The tensor that it is a part of, e.g. of the result of a concatenation.
        start: Where it begins in its parent, in floats.
    """

    size: int = 0
    buffer: str = ""
    parent: Tensor | None = None
    start: int = 0

    @property
    def root(self) -> Tensor:
        """The tensor that has memory of its own."""
        return self if self.parent is None else self.parent.root

    @property
    def offset(self) -> int:
        """Where its first element lies in its root, in floats."""
        return 0 if self.parent is None else self.parent.offset + self.start

    @property
    def floats(self) -> int:
        """The memory that a root needs, in floats."""
        return self.size

    @property
    def geometry(self) -> tuple[int, ...]:
        """What two tensors must share to use one memory whose zeros stay; empty without zeros."""
        return ()


@dataclass(eq=False, slots=True, kw_only=True)
class Image(Tensor):
    """An image (channels, height, width) in blocks of channels, its rows between zeros.

    Attributes:
        channels: The number of channels; those of the last block beyond it hold anything.
        height: The number of rows.
        width: The number of columns.
        lanes: The channels in a block; 1 for an image in ONNX's order.
        halo: The zeros around it: above, left, below, right.
        rigid: Whether the halo is fixed, as the memory has a meaning elsewhere.
        keep_dense: Whether it is made faster without a halo: a reader that needs one gets a copy.
    """

    channels: int
    height: int
    width: int
    lanes: int
    halo: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    rigid: bool = False
    keep_dense: bool = False

    @property
    def size_of_image(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.height, self.width

    @property
    def blocks(self) -> int:
        """The number of blocks of channels."""
        return -(-self.channels // self.lanes)

    @property
    def margins(self) -> list[int]:
        """The halo of the memory that it lies in."""
        return self.parent.margins if isinstance(self.parent, Image) else self.halo

    @property
    def row(self) -> int:
        """Floats from one row to the next."""
        _, left, _, right = self.margins
        return (left + self.width + right) * self.lanes

    @property
    def block(self) -> int:
        """Floats from one block of channels to the next."""
        above, _, below, _ = self.margins
        return (above + self.height + below) * self.row

    @property
    def offset(self) -> int:
        """Where its first element lies in its root, in floats."""
        if isinstance(self.parent, Image):
            return self.parent.offset + self.start * self.block
        above, left, _, _ = self.halo
        own = above * self.row + left * self.lanes
        return own if self.parent is None else self.parent.offset + self.start + own

    @property
    def floats(self) -> int:
        """The memory that a root needs; a tile may write a vector beyond the last pixel."""
        return self.blocks * self.block + ALIGNMENT

    @property
    def geometry(self) -> tuple[int, ...]:
        """What two images must share to use one memory; empty where there are no zeros."""
        if not any(self.halo):
            return ()
        return (self.blocks, self.height, self.width, self.lanes, *self.halo)

    @property
    def is_dense(self) -> bool:
        """Whether rows and blocks follow one another without zeros between them."""
        return not any(self.margins)

    def need(self, above: int, left: int, below: int, right: int) -> None:
        """Widens the halo to what a reader's window reaches."""
        margins = self.margins
        for side, size in enumerate((above, left, below, right)):
            margins[side] = max(margins[side], size)


def plain_size(shape: tuple[int, ...], lanes: int) -> int:
    """The floats of a plain tensor, up to a whole vector."""
    return -(-prod(shape) // lanes) * lanes
