"""The bootstrap, in a process of its own behind pipes, as a shell on a board starts it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from qsdnn.plan.package import runtime_archive
from qsdnn_boards.link import bootstrap
from qsdnn_boards.ssh.board import READER
from qsdnn_runtime.board.process import Process
from qsdnn_runtime.frames import read_frame, write_frame

TEXT = Path(bootstrap.__file__).read_text()
ARCHIVE = runtime_archive()
WANTED = {
    "digest": ARCHIVE.digest,
    "size_bytes": len(ARCHIVE.content),
    "variables": ["HOME", "PATH"],
}


class Start:
    """A bootstrap that was told what is wanted; a context manager."""

    def __init__(self, cache: Path, text: str = TEXT) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "QSDNN_BOARD_CACHE": str(cache), "OMP_NUM_THREADS": "3"},
            bufsize=0,
        )
        self.write(ascii(text).encode() + b"\n")
        self.send(WANTED)

    def __enter__(self):
        assert self.process.stdout.read(len(bootstrap.MAGIC)) == bootstrap.MAGIC
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def write(self, data: bytes) -> None:
        while data:
            data = data[self.process.stdin.write(data) :]

    def send(self, header, payload=()):
        write_frame(self.write, header, payload)

    def hear(self):
        frame = read_frame(self.process.stdout.read)
        return None if frame is None else frame.header


def test_it_is_python_3_8_with_the_standard_library_only():
    tree = ast.parse(TEXT, feature_version=(3, 8))
    found = {
        name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    found |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in found} <= sys.stdlib_module_names
    assert b"\0" not in TEXT.encode() and READER.isascii() and "\n" not in READER


def test_it_takes_the_runtime_once_and_becomes_the_agent(tmp_path):
    for states in (["send", "ready"], ["ready"]):
        with Start(tmp_path) as start:
            for state in states:
                answer = start.hear()
                assert answer["state"] == state
                if state == "send":
                    start.send({}, [zlib.compress(ARCHIVE.content)])
            assert Process.running(start.process.pid) == Process(answer["pid"], answer["started"])
            hello = start.hear()
            assert hello["op"] == "hello" and hello["pid"] == start.process.pid
            variables = Path(f"/proc/{hello['pid']}/environ").read_bytes().split(b"\0")
            path = tmp_path / "runtime" / f"{ARCHIVE.digest}.zip"
            assert f"PYTHONPATH={path}".encode() in variables
            assert not any(value.startswith(b"OMP_") for value in variables)
        assert path.read_bytes() == ARCHIVE.content


@pytest.mark.parametrize("damage", [lambda sent: sent[:-1] + b"!", lambda sent: b"", zlib.compress])
def test_what_arrives_damaged_is_not_kept(tmp_path, damage):
    with Start(tmp_path) as start:
        assert start.hear() == {"state": "send"}
        start.send({}, [damage(zlib.compress(ARCHIVE.content))])
        assert start.hear()["error"] == "runtime"
    assert not list((tmp_path / "runtime").iterdir())


def test_a_host_that_goes_away_leaves_nothing(tmp_path):
    with Start(tmp_path) as start:
        assert start.hear() == {"state": "send"}
    assert start.process.returncode == 1
    assert not list((tmp_path / "runtime").iterdir())


def test_a_full_disk_and_an_unusable_cache_are_said(tmp_path):
    with Start(tmp_path, TEXT.replace("64 << 20", "1 << 60")) as start:
        answer = start.hear()
    assert answer["error"] == "disk" and f"free in {tmp_path}" in answer["message"]
    (tmp_path / "file").touch()
    with Start(tmp_path / "file") as start:
        assert start.hear()["error"] == "cache"


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_all_but_the_last_two_are_pruned(tmp_path, kept):
    for number in range(kept):
        path = tmp_path / f"{number}.zip"
        path.touch()
        os.utime(path, (number, number))
    (tmp_path / "new.part").touch()
    (tmp_path / "old.part").touch()
    os.utime(tmp_path / "old.part", (0, 0))
    bootstrap.prune(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [*[f"{number}.zip" for number in range(kept)][-2:], "new.part"]


def test_a_runtime_that_an_agent_runs_is_not_pruned(tmp_path):
    with Start(tmp_path) as start:
        assert start.hear() == {"state": "send"}
        start.send({}, [zlib.compress(ARCHIVE.content)])
        assert start.hear()["state"] == "ready" and start.hear()["op"] == "hello"
        folder = tmp_path / "runtime"
        os.utime(folder / f"{ARCHIVE.digest}.zip", (0, 0))
        for number in range(1, 4):
            (folder / f"{number}.zip").touch()
            os.utime(folder / f"{number}.zip", (number, number))
        bootstrap.prune(folder)
        assert {path.stem for path in folder.iterdir()} == {ARCHIVE.digest, "2", "3"}
    bootstrap.prune(folder)
    assert {path.stem for path in folder.iterdir()} == {"2", "3"}
