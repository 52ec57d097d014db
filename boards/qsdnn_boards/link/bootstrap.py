"""The first program that runs on a board: takes the runtime if absent, becomes the server.

The host sends the text of this file. The board's Python, 3.8 or newer, runs the text with nothing
but the standard library. This program, the bootstrap, speaks in frames (see
`qsdnn_runtime.frames`), unbuffered, as all bytes that follow belong to the measuring server:

- The bootstrap says `MAGIC`, which marks the end of what a login script printed.
- The host says ``digest`` and ``size_bytes`` of the runtime, and the ``variables`` to keep.
- When the board has no such runtime, the bootstrap answers ``send``; the host sends the runtime as
  a compressed payload, in a frame without other content.
- The bootstrap answers ``ready``, with its ``pid`` and the time when it ``started``, and becomes
  ``python -m qsdnn_runtime.server``, or answers ``error`` with a ``message`` and ends. Errors:
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
# Disk space left free for the system: a full root disk makes a board unreachable.
RESERVE_BYTES = 64 << 20
# The number of runtimes kept: another host may use an older runtime again.
KEPT_RUNTIMES = 2
ABANDONED_S = 3600.0


def cache_root() -> Path:
    """The folder of qsdnn on this board: the same folder as the local board's."""
    chosen = os.environ.get("QSDNN_BOARD_CACHE")
    if chosen:
        return Path(chosen).resolve()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "qsdnn" / "board"


def place(path: Path, size_bytes: int) -> None:
    """Takes the runtime from the host and puts it in place, whole or not at all."""
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
    """The decompressed payload; empty when the payload arrived damaged."""
    try:
        return zlib.decompress(payload)
    except zlib.error:
        return b""


def is_whole(path: Path) -> bool:
    """Whether the runtime is in place, with the content that the digest in its name says."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def prune(folder: Path) -> None:
    """Removes all runtimes but the last used ones, and files abandoned half written."""
    for path in sorted(folder.glob("*.zip"), key=last_used)[:-KEPT_RUNTIMES]:
        # Measuring servers hold a runtime in use, and another host may prune at the same time.
        with suppress(BlockingIOError, FileNotFoundError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    for path in folder.glob("*.part"):
        if time.time() - last_used(path) > ABANDONED_S:
            with suppress(FileNotFoundError):
                path.unlink()


def last_used(path: Path) -> float:
    """When a file was last used, in seconds since the epoch; 0 when the file is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def become_server(root: Path, archive: Path, variables: Mapping[str, str]) -> NoReturn:
    """Turns this process into the measuring server, which inherits the standard streams."""
    python = os.path.abspath(sys.executable)
    # `python -m` imports from the working directory too: this one holds nothing to import.
    os.chdir(str(archive.parent))
    command = [python, "-m", "qsdnn_runtime.server", str(root)]
    os.execve(python, command, {**variables, "PYTHONPATH": str(archive)})


def started() -> int:
    """When this process started, in ticks; tells it from a later process with the same number."""
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])


def hear() -> tuple[dict[str, Any], bytes]:
    """The host's next frame."""
    header_bytes, payload_bytes = PREFIX.unpack(exactly(PREFIX.size))
    return json.loads(exactly(header_bytes).decode()), exactly(payload_bytes)


def exactly(size: int) -> bytes:
    """Exactly so many bytes from the host; ends this process when the host is gone."""
    pieces = bytearray()
    while len(pieces) < size:
        piece = os.read(0, size - len(pieces))
        if not piece:
            sys.exit(1)  # the host is gone
        pieces += piece
    return bytes(pieces)


def say(header: dict[str, Any]) -> None:
    """Sends a frame without payload to the host."""
    text = json.dumps(header).encode()
    rest = PREFIX.pack(len(text), 0) + text
    while rest:
        rest = rest[os.write(1, rest) :]


def fail(error: str, message: str) -> NoReturn:
    """Tells the host why the bootstrap cannot go on, and ends."""
    say({"state": "error", "error": error, "message": message})
    sys.exit(1)


def main() -> None:
    """Ends by becoming the measuring server, or by telling the host an error."""
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
    become_server(root, archive, variables)


if __name__ == "__main__":
    main()
