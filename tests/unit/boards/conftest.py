"""Packages of an engine that exists only here, and a board that has it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qsdnn.board import Package, Reference
from qsdnn_boards.local import LocalBoard

LOADERS = Path(__file__).parent / "loaders"
SHAPE = (2, 3)

MakePackage = Callable[..., Package]


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBoard]:
    monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "cache"))
    with LocalBoard(python_path=[LOADERS]) as board:
        yield board


@pytest.fixture
def make_package(tmp_path: Path) -> MakePackage:
    """Makes a package that doubles its input, with options that tell its engine how to behave."""
    return lambda name="a", **options: write_package(tmp_path / "packages", name, options)


def write_package(root: Path, name: str, options: dict[str, Any]) -> Package:
    content = b"weights of " + name.encode()
    digest = hashlib.sha256(content).hexdigest()
    file = f"{digest[:16]}.bin"
    folder = root / name
    folder.mkdir(parents=True)
    (folder / file).write_bytes(content)
    tensor = {"dtype": "float32", "shape": list(SHAPE)}
    manifest = {
        "schema": "qsdnn.package/1",
        "model": {"name": name, "sha256": "0" * 64},
        "threads": 1,
        "tensors": {"x": tensor, "y": tensor},
        "inputs": ["x"],
        "outputs": ["y"],
        "segments": [
            {
                "engine": "fake",
                "family": "fake/fp32",
                "artifact": file,
                "inputs": ["x"],
                "outputs": ["y"],
                "options": options,
                "layers": [{"index": 4, "name": "twice", "primitive": "fake/auto/fp32"}],
            }
        ],
        "artifacts": {file: {"sha256": digest, "size_bytes": len(content)}},
    }
    text = json.dumps(manifest, sort_keys=True).encode()
    return Package(manifest=manifest, folder=folder, digest=hashlib.sha256(text).hexdigest())


@pytest.fixture
def reference() -> Reference:
    x = np.arange(6, dtype=np.float32).reshape(SHAPE)
    return Reference(feeds={"x": x}, outputs={"y": 2 * x})
