"""What a request needs on the board: artifacts and values, by the sha256 of their content."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsdnn.board import Package

CHUNK_BYTES = 1 << 20
# The bytes of each chunk that are compressed on trial: weights hardly compress, so the trial tells
# whether compressing the rest of the chunk is worth the time.
SAMPLE_BYTES = 1 << 15
WORTHWHILE = 0.9
# The fastest level of zlib: a board with one slow core has to decompress the data.
ZLIB_LEVEL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that a request needs.

    Attributes:
        digest: The sha256 of the content.
        size_bytes: The size of the content.
        source: The file with the content, or the content itself.
        lasting: Whether the board keeps the content for later sessions.
    """

    digest: str
    size_bytes: int
    source: Path | bytes = field(repr=False)
    lasting: bool

    def puts(self, *, compress: bool) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The requests that send the item, chunk by chunk, as pairs of header and payload."""
        header = {
            "op": "put",
            "sha256": self.digest,
            "size_bytes": self.size_bytes,
            "lasting": self.lasting,
        }
        offset = 0
        for chunk in self._chunks():
            encoding, payload = encode(chunk) if compress else ("raw", chunk)
            yield {**header, "offset": offset, "encoding": encoding}, payload
            offset += len(chunk)

    def _chunks(self) -> Iterator[bytes]:
        """The chunks of the content, at least one: empty content is one empty chunk."""
        if isinstance(self.source, bytes):
            yield from _pieces(self.source)
            return
        with self.source.open("rb") as file:
            yield file.read(CHUNK_BYTES)
            yield from iter(lambda: file.read(CHUNK_BYTES), b"")


class Cargo:
    """All that a request needs, each thing once.

    Args:
        items: The things to send, in the order of sending.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = {item.digest: item for item in items}

    @property
    def needs(self) -> dict[str, int]:
        """Sizes of the items in bytes, by digest."""
        return {digest: item.size_bytes for digest, item in self.items.items()}


def artifacts(packages: Sequence[Package]) -> list[Item]:
    """The files of packages, as items that last on the board."""
    return [
        Item(
            digest=entry["sha256"],
            size_bytes=entry["size_bytes"],
            source=package.folder / name,
            lasting=True,
        )
        for package in packages
        for name, entry in package.manifest["artifacts"].items()
    ]


def value(pieces: Sequence[bytes]) -> Item:
    """The bytes of values, as an item; a user's values may be private, so no board keeps them."""
    content = b"".join(pieces)
    digest = hashlib.sha256(content).hexdigest()
    return Item(digest=digest, size_bytes=len(content), source=content, lasting=False)


def encode(chunk: bytes) -> tuple[str, bytes]:
    """The encoding that suits a chunk, and the chunk in it."""
    middle = len(chunk) // 2
    sample = chunk[max(0, middle - SAMPLE_BYTES // 2) : middle + SAMPLE_BYTES // 2]
    if len(zlib.compress(sample, ZLIB_LEVEL)) < WORTHWHILE * len(sample):
        return "zlib", zlib.compress(chunk, ZLIB_LEVEL)
    return "raw", chunk


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, max(len(content), 1), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]
