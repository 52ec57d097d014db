"""Running an application on a board."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from qsdnn.board import Board
from qsdnn.errors import InputError
from qsdnn.measure.recovery import run_once
from qsdnn_lab.app.build import as_package, packages_of
from qsdnn_lab.app.config import Application
from qsdnn_runtime.app.measured import INPUT, RATE, RESULTS
from qsdnn_runtime.app.sources import READERS
from qsdnn_runtime.app.stage import AppError


def feeds_of(app: Application, source: Path) -> dict[str, Any]:
    """What a board is given of an input: its values, and the samples a second.

    Raises:
        InputError: The file is no input of the application.
    """
    given = app.config["input"]
    try:
        sample = READERS[given["kind"]](source, given.get("rate_hz"))
    except AppError as error:
        raise InputError(str(error)) from error
    return {INPUT: sample.values, RATE: np.array(sample.rate_hz or 0.0)}


def run_on(
    board: Board, app: Application, source: Path, on_note: Callable[[str], None]
) -> dict[str, Any]:
    """The results of an application for one input, by component, computed on a board.

    Args:
        board: The board, already started.
        app: The application.
        source: The file of the input, which is read here and sent.
        on_note: Called with what becomes of a board that was lost.

    Raises:
        InputError: The input cannot be read, or does not fit.
    """
    feeds = feeds_of(app, source)
    with tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        packages = packages_of(app, board.probe(), Path(scratch))
        package = as_package(app, packages, Path(scratch))
        outputs = run_once(
            board,
            package,
            feeds,
            threads=package.manifest["threads"],
            on_note=on_note,
            on_progress=lambda text: None,
        )
    return dict(json.loads(np.asarray(outputs[RESULTS], np.uint8).tobytes()))
