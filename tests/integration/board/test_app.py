"""Applications on a board behind a real OpenSSH server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qsdnn.examples import build as example
from qsdnn_boards.ssh.board import SshBoard
from qsdnn_lab.app.config import Application, read_application
from qsdnn_lab.app.run import run_on
from tests.unit.lab.test_app import app, save_wav


def test_a_keyword_is_spotted_on_a_board(board: SshBoard, tmp_path: Path) -> None:
    found = run_on(board, _application("kws9", "audio_classification", tmp_path),
                   save_wav(tmp_path / "word.wav"), print)  # fmt: skip
    classes = found["classification"]["classes"]
    assert len(classes) == 5 and classes[0]["score"] >= classes[1]["score"] > 0


def test_a_picture_is_classified_on_a_board(board: SshBoard, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    image.fromarray(pixels).save(tmp_path / "a.png")
    network = _application("squeezenet", "image_classification", tmp_path)
    found = run_on(board, network, tmp_path / "a.png", print)
    here = app("run", network.folder, tmp_path / "a.png", "--json")
    best = found["classification"]["classes"][0]
    assert 0 <= best["index"] < 1000 and f'"index": {best["index"]}' in here


def _application(network: str, kind: str, folder: Path) -> Application:
    (folder / f"{network}.onnx").write_bytes(example(network).SerializeToString())
    app("new", folder / "app", "--class", kind, "--model", folder / f"{network}.onnx")
    return read_application(folder / "app")
