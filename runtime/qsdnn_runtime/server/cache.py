"""Artifacts on the board, by content: no artifact is sent twice."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, List, Mapping, Optional, Sequence, Set

from qsdnn_runtime.protocol import Code, ProtocolError

CAP_BYTES = 8 * 10**9
# Disk space left free for the system: a full root disk makes a board unreachable.
RESERVE_BYTES = 64 << 20
DIGEST = re.compile("[0-9a-f]{64}")


class CacheError(ProtocolError):
    """An artifact cannot be kept, or differs from what the host said of it."""


class ArtifactCache:
    """A folder of artifacts, each named by its sha256.

    Every measuring server holds a shared lock on the folder while it lives. Only a server that is
    alone removes artifacts, and never those that were asked for last. Artifacts that do not last,
    such as a user's inputs, are removed when the server ends.

    Args:
        root: The board's cache folder; made when missing.
        cap_bytes: The size of all artifacts above which the least recently used are removed.
    """

    def __init__(self, root: Path, cap_bytes: int = CAP_BYTES) -> None:
        self._artifacts = root / "artifacts"
        scratch = root / "scratch"
        self._cap_bytes = cap_bytes
        self._used: Set[str] = set()
        self._incoming: Optional[_Incoming] = None
        for folder in (self._artifacts, scratch):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = (root / "lock").open("w")
        with self._alone() as alone:
            if alone:  # what is in there is left of servers that were killed
                shutil.rmtree(str(scratch))
                scratch.mkdir()
        self._scratch = Path(tempfile.mkdtemp(dir=str(scratch)))
        self._passing = self.folder()

    def close(self) -> None:
        """Removes artifacts that do not last, and lets another measuring server prune."""
        shutil.rmtree(str(self._scratch), ignore_errors=True)
        self._lock.close()

    def missing(self, sizes: Mapping[str, int]) -> List[str]:
        """The digests of the artifacts that must be sent; the others stay until the next call.

        Args:
            sizes: The size of each artifact in bytes, by sha256.

        Raises:
            CacheError: A digest is no sha256.
        """
        absent = []
        self._used = set(sizes)
        for digest, size in sizes.items():
            path = self._found(digest)
            if path.is_file() and path.stat().st_size == size:
                os.utime(str(path))
            else:
                absent.append(digest)
        return absent

    def put(self, header: Mapping[str, Any], payload: bytes) -> None:
        """Takes the next chunk of an artifact; after the last chunk, checks and keeps the artifact.

        Args:
            header: The request's header: ``sha256`` and ``size_bytes`` of the artifact, whether it
                is ``lasting``; the ``offset`` of the chunk, and its ``encoding``: ``raw`` or
                ``zlib``.
            payload: The chunk, encoded.

        Raises:
            OSError: The disk does not take the chunk.
            CacheError: The disk is too full, the chunk is not the next one, or the content is not
                what the digest says.
        """
        digest, size, offset = header["sha256"], header["size_bytes"], header["offset"]
        path = self._path(digest, lasting=header["lasting"])
        if offset == 0:
            self._make_room(size)
            self._incoming = _Incoming(path, size, self._scratch)
        incoming, self._incoming = self._incoming, None
        if incoming is None or incoming.path != path:
            raise CacheError("artifact %s: a chunk without a beginning" % digest[:12])
        try:
            finished = incoming.add(offset, _decoded(payload, header["encoding"], size))
        except (CacheError, OSError):
            incoming.discard()
            raise
        self._incoming = None if finished else incoming
        self._used.add(digest)

    def read(self, digests: Sequence[str]) -> bytes:
        """The content of several artifacts, one after another.

        Raises:
            OSError: An artifact is not on the board.
        """
        return b"".join(self._found(digest).read_bytes() for digest in digests)

    def folder(self) -> Path:
        """A new folder for one job; the caller removes it."""
        return Path(tempfile.mkdtemp(dir=str(self._scratch)))

    def lay_out(self, artifacts: Mapping[str, Any], folder: Path) -> None:
        """Puts a package's artifacts into a folder, under the names its engines expect.

        Args:
            artifacts: The manifest's part that lists the artifacts.
            folder: The folder; made when missing.

        Raises:
            CacheError: An artifact is not on the board, or its name is a path.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, entry in artifacts.items():
            if name != os.path.basename(name) or name in ("", ".", ".."):
                raise CacheError("artifact '%s' is not a plain file name" % name)
            source, target = str(self._found(entry["sha256"])), str(folder / name)
            try:
                os.link(source, target)
            except FileNotFoundError as error:
                raise CacheError("artifact %s is not on the board" % name) from error
            except OSError:  # a file system without hard links
                shutil.copyfile(source, target)

    def _found(self, digest: str) -> Path:
        """The path of an artifact, or the path it would have if it were on the board."""
        passing = self._path(digest, lasting=False)
        return passing if passing.is_file() else self._path(digest, lasting=True)

    def _path(self, digest: str, *, lasting: bool) -> Path:
        if not DIGEST.fullmatch(digest):
            raise CacheError("'%s' is no sha256" % digest)
        return (self._artifacts if lasting else self._passing) / digest

    def _make_room(self, size: int) -> None:
        self._prune(self._cap_bytes - size)
        free = shutil.disk_usage(str(self._artifacts)).free
        if free < size + RESERVE_BYTES:
            raise CacheError(
                "the disk is full: %d MB free in %s, %d MB needed"
                % (free >> 20, self._artifacts, (size + RESERVE_BYTES) >> 20),
                Code.DISK_FULL,
            )

    def _prune(self, limit_bytes: int) -> None:
        stats = {path: path.stat() for path in self._artifacts.iterdir()}
        total = sum(stat.st_size for stat in stats.values())
        with self._alone() as alone:
            for path in sorted(stats, key=lambda path: stats[path].st_mtime) if alone else ():
                if total > limit_bytes and path.name not in self._used:
                    path.unlink()
                    total -= stats[path].st_size

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no other measuring server lives; if so, none can start within the context."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except OSError:
            alone = False
        try:
            yield alone
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_SH)


class _Incoming:
    """An artifact of which some chunks have arrived."""

    def __init__(self, path: Path, size: int, scratch: Path) -> None:
        self.path = path
        self._size = size
        self._hash = hashlib.sha256()
        self._offset = 0
        handle, self._name = tempfile.mkstemp(dir=str(scratch))
        self._file = os.fdopen(handle, "wb")

    def add(self, offset: int, chunk: bytes) -> bool:
        """Adds a chunk; returns whether it was the last one, and the artifact is in its place."""
        if offset != self._offset or offset + len(chunk) > self._size:
            raise CacheError("artifact %s: not the next chunk" % self.path.name[:12])
        self._file.write(chunk)
        self._hash.update(chunk)
        self._offset += len(chunk)
        if self._offset < self._size:
            return False
        self._file.close()
        if self._hash.hexdigest() != self.path.name:
            raise CacheError(
                "artifact %s: corrupt, its content has another hash" % self.path.name[:12]
            )
        os.replace(self._name, str(self.path))
        return True

    def discard(self) -> None:
        """Removes the chunks that have arrived so far."""
        self._file.close()
        os.unlink(self._name)


def _decoded(payload: bytes, encoding: str, limit_bytes: int) -> bytes:
    if encoding == "raw":
        return payload
    if encoding != "zlib":
        raise CacheError("unknown encoding '%s'" % encoding)
    try:
        decoder = zlib.decompressobj()
        content = decoder.decompress(payload, limit_bytes + 1)
    except zlib.error as error:
        raise CacheError("a chunk arrived damaged: %s" % error) from error
    if not decoder.eof:
        raise CacheError("a chunk arrived damaged: it does not end")
    return content
