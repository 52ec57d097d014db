"""The first thing of ours that runs on a board: takes the runtime if need be, becomes the agent.

The host sends this file's text. It runs in the board's Python, 3.8 or newer, with nothing
but the standard library, and speaks in frames (see `qsdnn_runtime.frames`), unbuffered, as what
follows belongs to the agent:

- It says `MAGIC`: what a login script printed ends there.
- The host says ``digest`` and ``size_bytes`` of the runtime, and the ``variables`` to keep.
- It answers ``send``; the host sends the runtime as a payload, compressed, in a frame of its own.
- It answers ``ready``, with its ``pid`` and when it ``started``, and becomes
  ``python -m qsdnn_runtime.server``, or it answers ``error`` with a ``message`` and ends. Errors:
  ``numpy``, ``disk``, ``cache``, ``runtime``.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

MAGIC = b"\0qsdnn\0"
PREFIX = struct.Struct("<IQ")
# Left free for the system: a full root disk makes a board unreachable.
RESERVE_BYTES = 64 << 20
# Another host may use an older one again.
KEPT_RUNTIMES = 2
ABANDONED_S = 3600.0


def cache_root() -> Path:
    """The folder that is ours on this board, as the local board has it."""
    chosen = os.environ.get("QSDNN_BOARD_CACHE")
    if chosen:
        return Path(chosen).resolve()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "qsdnn" / "board"


def place(path: Path, size_bytes: int) -> None:
    """Takes the runtime from the host into its place, whole or not at all."""
    free_bytes = shutil.disk_usage(str(path.parent)).free
    if free_bytes < size_bytes + RESERVE_BYTES:
        needed_mb = (size_bytes + RESERVE_BYTES) >> 20
        fail("disk", f"{free_bytes >> 20} MB free in {path.parent}, {needed_mb} MB needed")
    say({"state": "send"})
    content = decompressed(hear()[1])
    if hashlib.sha256(content).hexdigest() != path.stem:
        fail("runtime", "it arrived damaged")
    handle, name = tempfile.mkstemp(dir=str(path.parent), suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(name, str(path))
    except OSError:
        os.unlink(name)
        raise


def decompressed(payload: bytes) -> bytes:
    """What arrived; nothing when it arrived damaged."""
    try:
        return zlib.decompress(payload)
    except zlib.error:
        return b""


def is_whole(path: Path) -> bool:
    """Whether the runtime is here, with the content its name says."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def prune(folder: Path) -> None:
    """Removes all runtimes but those used last, or now, and what was abandoned half written."""
    for path in sorted(folder.glob("*.zip"), key=last_used)[:-KEPT_RUNTIMES]:
        # Its agents hold it, and another host may prune at the same time.
        with suppress(BlockingIOError, FileNotFoundError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    for path in folder.glob("*.part"):
        if time.time() - last_used(path) > ABANDONED_S:
            with suppress(FileNotFoundError):
                path.unlink()


def last_used(path: Path) -> float:
    """When, in seconds; never, if it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def become_agent(root: Path, archive: Path, variables: Mapping[str, str]) -> NoReturn:
    """Runs the agent in this process, with these standard streams."""
    python = os.path.abspath(sys.executable)
    # The working directory is on the path of `python -m`: one with nothing to import.
    os.chdir(str(archive.parent))
    command = [python, "-m", "qsdnn_runtime.server", str(root)]
    os.execve(python, command, {**variables, "PYTHONPATH": str(archive)})


def started() -> int:
    """When this process started, which tells it from a later one with its number."""
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])


def hear() -> tuple[dict[str, Any], bytes]:
    """The host's next frame."""
    header_bytes, payload_bytes = PREFIX.unpack(exactly(PREFIX.size))
    return json.loads(exactly(header_bytes).decode()), exactly(payload_bytes)


def exactly(size: int) -> bytes:
    """So many bytes from the host, and none more."""
    pieces = bytearray()
    while len(pieces) < size:
        piece = os.read(0, size - len(pieces))
        if not piece:
            sys.exit(1)  # the host is gone
        pieces += piece
    return bytes(pieces)


def say(header: dict[str, Any]) -> None:
    """Sends a frame."""
    text = json.dumps(header).encode()
    rest = PREFIX.pack(len(text), 0) + text
    while rest:
        rest = rest[os.write(1, rest) :]


def fail(error: str, message: str) -> NoReturn:
    """Says why it cannot go on, and ends."""
    say({"state": "error", "error": error, "message": message})
    sys.exit(1)


def main() -> None:
    """Ends by becoming the agent, or with an error said to the host."""
    os.write(1, MAGIC)
    wanted = hear()[0]
    if importlib.util.find_spec("numpy") is None:
        fail("numpy", f"{sys.executable}, version {sys.version.split()[0]}")
    root = cache_root()
    archive = root / "runtime" / (wanted["digest"] + ".zip")
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        if not is_whole(archive):
            place(archive, wanted["size_bytes"])
        os.utime(str(archive))
        prune(archive.parent)
    except OSError as error:
        fail("cache", str(error))
    variables = {name: os.environ[name] for name in wanted["variables"] if name in os.environ}
    say({"state": "ready", "pid": os.getpid(), "started": started()})
    become_agent(root, archive, variables)


if __name__ == "__main__":
    main()
