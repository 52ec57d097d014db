"""Data for the trained networks that they were not trained on: inputs and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.errors import InputError
from qsdnn.examples.sounds import sounds

FOLDER = Path(__file__).parent / "trained"
"""The folder of the trained networks, and of the images of `digits`."""

SOUNDS, SOUNDS_SEED = 1000, 0


def held_out(name: str) -> dict[str, NDArray[Any]]:
    """The arrays ``input`` (n, …) float32 and ``labels`` (n,) int64, in ``--calibration``'s form.

    Args:
        name: The name of a trained network of the catalog.

    Raises:
        InputError: The network is not trained: no input has a right answer.
    """
    if name == "digits":
        with np.load(FOLDER / "digits.npz") as arrays:
            return {
                "input": digit_inputs(arrays["images"]),
                "labels": arrays["labels"].astype(np.int64),
            }
    if name == "tones":
        inputs, labels = sounds(SOUNDS, SOUNDS_SEED)
        return {"input": inputs, "labels": labels}
    raise InputError(
        f"{name} has random weights: there is no data that it is right on",
        hint="trained are: digits, tones",
    )


def digit_inputs(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The images (n, 8, 8) of 0 … 16 as the network takes them: (n, 1, 16, 16), 0 … 1."""
    larger = images.repeat(2, axis=1).repeat(2, axis=2)
    return (larger[:, None] / 16).astype(np.float32)
