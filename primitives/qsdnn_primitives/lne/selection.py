"""Channels of an image in some order, brought together only for a reader that needs them so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsdnn_primitives.lne.tensor import Image

Numbers = NDArray[np.int64]


@dataclass(eq=False, slots=True, kw_only=True)
class Selection:
    """Channels of an image: what joins, shuffles and slices leave.

    A shuffle between a join and a slice then costs one copy, of the channels that are read.

    Attributes:
        image: The image.
        numbers: The number of each channel in it.
        made: The image of these channels alone, once there is one.
    """

    image: Image
    numbers: Numbers
    made: Image | None = None

    @property
    def size_of_image(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return len(self.numbers), self.image.height, self.image.width

    @property
    def part(self) -> Image | None:
        """The part of the image that it is; None where it is none that begins with a block."""
        first, count = int(self.numbers[0]), len(self.numbers)
        lanes = self.image.lanes
        if first % lanes or not np.array_equal(self.numbers, np.arange(first, first + count)):
            return None
        return Image(
            channels=count, height=self.image.height, width=self.image.width, lanes=lanes,
            parent=self.image, start=first // lanes,
        )  # fmt: skip


Blocked = Image | Selection
"""What has its elements in blocks of channels."""


def chosen(form: Blocked, numbers: Numbers) -> Selection:
    """Channels of an image, or of a selection, by their numbers."""
    if isinstance(form, Selection):
        return Selection(image=form.image, numbers=form.numbers[numbers])
    return Selection(image=form, numbers=numbers)
