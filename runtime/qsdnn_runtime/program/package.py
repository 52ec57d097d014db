"""A package on disk: a folder, a zip, or a manifest beside its artifacts.

::

    manifest.json       see qsdnn_runtime.program.manifest; its "digest" is of its other keys
    artifacts/          the files that the engines load
    __main__.py         lets python PACKAGE run the package, be it a folder or a zip
    qsdnn_runtime/      this runtime: PYTHONPATH=PACKAGE is all that a program needs to import it
    plan.json           the plan that the package was made of
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Iterator, Mapping, Optional, Union

from qsdnn_runtime.program.manifest import (
    FILE_NAME,
    ArtifactEntry,
    Manifest,
    PackageError,
    digest_of,
    load_manifest,
    parse_json,
    read_json,
)

ARTIFACTS = "artifacts"
BLOCK_BYTES = 1 << 16
ZIP_MAGIC = b"PK\x03\x04"
AGAIN = "copy the package again, or make it anew: qsdnn package PLAN -o PACKAGE"

# The errors that zipfile raises at damaged bytes, depending on where these are.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    UnicodeError,
)

Source = Union[str, "os.PathLike[str]", Mapping[str, Any]]


@dataclass(frozen=True)
class OpenPackage:
    """A package whose files can be read.

    Attributes:
        manifest: The parsed manifest.
        content: The manifest's JSON content, without its digest.
        artifacts: The folder of the artifacts.
        archive: The zip that the artifacts were unpacked from; None if there is none.
        temporary: The folder that the artifacts were unpacked to, which `close` deletes; None if
            none.
    """

    manifest: Manifest
    content: Mapping[str, Any]
    artifacts: Path
    archive: Optional[Path] = None
    temporary: Optional[Path] = None

    def verify(self) -> None:
        """Checks the content of every artifact against its SHA-256.

        Raises:
            PackageError: An artifact was changed.
        """
        if self.archive is not None:
            with _zip(self.archive) as archive:
                for name, entry in self.manifest.artifacts.items():
                    where = "%s: %s/%s" % (self.archive, ARTIFACTS, name)
                    with archive.open("%s/%s" % (ARTIFACTS, name)) as source:
                        _copy(source, None, entry, where)
            return
        for name, entry in self.manifest.artifacts.items():
            path = self.artifacts / name
            with path.open("rb") as file:
                _copy(file, None, entry, str(path))

    def close(self) -> None:
        """Deletes the unpacked artifacts; what engines have mapped of them stays in memory."""
        if self.temporary is not None:
            shutil.rmtree(str(self.temporary), ignore_errors=True)


def open_package(
    source: Source,
    artifacts: Optional[Source] = None,
    *,
    verify: bool = True,
    scratch: Optional[Path] = None,
) -> OpenPackage:
    """Opens a package and checks that it is unchanged since it was made.

    Args:
        source: A package's folder or zip, or a manifest: the path or the content.
        artifacts: The folder of the artifacts, when `source` is a manifest; by default
            ``artifacts/`` beside the manifest.
        verify: Whether to read every artifact for its SHA-256; else only sizes are checked.
        scratch: The folder to unpack a zip in; by default the one for temporary files.

    Raises:
        PackageError: The source is no package, or files are missing, cut short or changed.
    """
    if isinstance(source, Mapping):
        if artifacts is None:
            raise PackageError("a manifest given as a dict needs artifacts=FOLDER")
        return _opened(source, FILE_NAME, Path(str(artifacts)), verify)
    path = Path(source)
    if not path.exists():
        raise PackageError("%s: no such file or folder" % path)
    if _is_zip(path):
        return _unpack(path, verify, scratch)
    if path.is_dir():
        if not (path / FILE_NAME).is_file():
            raise PackageError("%s: a folder without %s is no package" % (path, FILE_NAME))
        path = path / FILE_NAME
    folder = path.parent / ARTIFACTS if artifacts is None else Path(str(artifacts))
    return _opened(read_json(path), str(path), folder, verify)


def _is_zip(path: Path) -> bool:
    if not path.is_file():
        return False
    if zipfile.is_zipfile(str(path)):
        return True
    with path.open("rb") as file:
        begins_as_one = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    if begins_as_one or path.suffix == ".zip":
        raise PackageError("%s is no whole zip, as if cut short: %s" % (path, AGAIN))
    return False


def _opened(content: Any, where: str, artifacts: Path, verify: bool) -> OpenPackage:
    manifest, rest = _parsed(content, where, verify)
    for name, entry in manifest.artifacts.items():
        path = artifacts / name
        if not path.is_file():
            raise PackageError("artifact %s is missing in %s: %s" % (name, artifacts, AGAIN))
        _check_size(path.stat().st_size, entry, "artifact %s" % path)
    opened = OpenPackage(manifest, rest, artifacts)
    if verify:
        opened.verify()
    return opened


def _parsed(content: Any, where: str, verify: bool) -> "tuple[Manifest, Mapping[str, Any]]":
    """The manifest, and its content without the digest; raises if the digest is wrong."""
    if not isinstance(content, Mapping):
        return load_manifest({"schema": content}), {}  # raises an error that says what is wrong
    rest = {key: value for key, value in content.items() if key != "digest"}
    if verify and "digest" in content and content["digest"] != digest_of(rest):
        raise PackageError("%s was changed: its SHA-256 differs: %s" % (where, AGAIN))
    return load_manifest(rest), rest


def _unpack(path: Path, verify: bool, scratch: Optional[Path]) -> OpenPackage:
    """Unpacks the artifacts, checking them on the way; other files stay in the zip."""
    with _zip(path) as archive:
        content = parse_json(archive.read(FILE_NAME), "%s: %s" % (path, FILE_NAME))
        manifest, rest = _parsed(content, "%s: %s" % (path, FILE_NAME), verify)
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        for name, entry in manifest.artifacts.items():
            where = "%s: artifact %s" % (path, name)
            if "%s/%s" % (ARTIFACTS, name) not in sizes:
                raise PackageError("%s is missing: %s" % (where, AGAIN))
            _check_size(sizes["%s/%s" % (ARTIFACTS, name)], entry, where)
        try:
            temporary = Path(tempfile.mkdtemp(prefix="qsdnn-package-", dir=scratch))
        except OSError as error:
            raise _no_room(path, manifest, error) from error
        opened = OpenPackage(manifest, rest, temporary, path, temporary)
        try:
            for name, entry in manifest.artifacts.items():
                where, copy = "%s: artifact %s" % (path, name), temporary / name
                with archive.open("%s/%s" % (ARTIFACTS, name)) as source, copy.open("wb") as target:
                    _copy(source, target, entry if verify else None, where)
        except BaseException as error:
            opened.close()
            if isinstance(error, OSError):
                raise _no_room(path, manifest, error) from error
            raise
    return opened


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(str(path)) as archive:
            if FILE_NAME not in archive.namelist():
                raise PackageError("%s: a zip without %s is no package" % (path, FILE_NAME))
            yield archive
    except DAMAGE as error:
        raise PackageError("%s is damaged (%s): %s" % (path, error, AGAIN)) from error


def _no_room(path: Path, manifest: Manifest, error: OSError) -> PackageError:
    reason = "%s: cannot be unpacked: %s" % (path, error.strerror or error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT):
        return PackageError(reason)
    size_mb = sum(entry.size_bytes for entry in manifest.artifacts.values()) / 1e6
    return PackageError(
        "%s. It takes %.1f MB there: set TMPDIR to a folder with room, or unpack it for good with "
        "unzip %s -d FOLDER, and use that" % (reason, size_mb, path)
    )


def _check_size(size_bytes: int, entry: ArtifactEntry, where: str) -> None:
    if size_bytes != entry.size_bytes:
        raise PackageError(
            "%s has %d bytes, the manifest says %d: %s"
            % (where, size_bytes, entry.size_bytes, AGAIN)
        )


def _copy(
    source: IO[bytes], target: Optional[IO[bytes]], entry: Optional[ArtifactEntry], where: str
) -> None:
    """Reads a file through one small buffer: to copy it, to check its SHA-256, or both."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(BLOCK_BYTES))
    while True:
        count = source.readinto(buffer)  # type: ignore[attr-defined]
        if not count:
            break
        if entry is not None:
            digest.update(buffer[:count])
        if target is not None:
            target.write(buffer[:count])
    if entry is not None and digest.hexdigest() != entry.sha256:
        raise PackageError("%s was changed: its SHA-256 differs: %s" % (where, AGAIN))
