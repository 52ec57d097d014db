"""The runtime as one zip: all of this project that a board needs."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

PACKAGE = "qsdnn_runtime"
# The earliest a zip can say. With it, and without compression, equal files give equal bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)
MODE = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeArchive:
    """The runtime, packed into a zip.

    Attributes:
        digest: The sha256 hash of the content; the name of the runtime on a board.
        content: The bytes of the zip. Python imports from the zip as it is.
    """

    digest: str
    content: bytes = field(repr=False)


@cache
def runtime_archive() -> RuntimeArchive:
    """Packs the installed runtime; the same files always give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(_modules(files(PACKAGE), PACKAGE)):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = MODE << 16
            archive.writestr(entry, content)
    content = buffer.getvalue()
    return RuntimeArchive(digest=hashlib.sha256(content).hexdigest(), content=content)


def _modules(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from _modules(entry, name)
        elif entry.name.endswith(".py"):
            yield name, entry.read_bytes()
