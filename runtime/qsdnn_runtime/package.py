"""A package on disk: a folder, a zip, or a manifest beside its artifacts."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional, Union

from qsdnn_runtime.manifest import FILE_NAME, Manifest, PackageError, load_manifest

ARTIFACTS = "artifacts"

Source = Union[str, "os.PathLike[str]", Mapping[str, Any]]


@dataclass(frozen=True)
class OpenPackage:
    """A package whose files can be read.

    Attributes:
        manifest: What it says.
        artifacts: The folder of its artifacts.
        temporary: A folder to delete when the package is no longer used; None if there is none.
    """

    manifest: Manifest
    artifacts: Path
    temporary: Optional[Path] = None

    def close(self) -> None:
        """Deletes what was unpacked."""
        if self.temporary is not None:
            shutil.rmtree(str(self.temporary), ignore_errors=True)


def open_package(source: Source, artifacts: Optional[Source] = None) -> OpenPackage:
    """Opens a package and checks that its artifacts are there, as long as they should be.

    Args:
        source: A package's folder or zip, or a manifest: its path or its content.
        artifacts: The folder of the artifacts, when `source` is a manifest; by default
            ``artifacts/`` beside it.

    Raises:
        PackageError: It is no package, or files are missing or cut short.
    """
    if isinstance(source, Mapping):
        if artifacts is None:
            raise PackageError("a manifest given as a dict needs artifacts=FOLDER")
        return _checked(load_manifest(source), Path(str(artifacts)))
    path = Path(source)
    if not path.exists():
        raise PackageError("%s: no such file or folder" % path)
    if path.is_dir():
        path = path / FILE_NAME
    elif zipfile.is_zipfile(str(path)):
        return _unpack(path)
    folder = path.parent / ARTIFACTS if artifacts is None else Path(str(artifacts))
    return _checked(load_manifest(path), folder)


def verify(package: OpenPackage) -> None:
    """Checks the content of every artifact against its SHA-256.

    Raises:
        PackageError: One was changed.
    """
    for name, entry in package.manifest.artifacts.items():
        digest = hashlib.sha256()
        with (package.artifacts / name).open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
        if digest.hexdigest() != entry.sha256:
            raise PackageError("artifact %s was changed: its SHA-256 differs" % name)


def _checked(manifest: Manifest, artifacts: Path, temporary: Optional[Path] = None) -> OpenPackage:
    for name, entry in manifest.artifacts.items():
        path = artifacts / name
        if not path.is_file():
            raise PackageError("artifact %s is missing in %s" % (name, artifacts))
        size = path.stat().st_size
        if size != entry.size_bytes:
            raise PackageError(
                "artifact %s has %d bytes, the manifest says %d" % (path, size, entry.size_bytes)
            )
    return OpenPackage(manifest=manifest, artifacts=artifacts, temporary=temporary)


def _unpack(path: Path) -> OpenPackage:
    """Unpacks the manifest and the artifacts; a packed runtime is left where it is."""
    temporary = Path(tempfile.mkdtemp(prefix="qsdnn-package-"))
    try:
        with zipfile.ZipFile(str(path)) as archive:
            names = [n for n in archive.namelist() if n.startswith((FILE_NAME, ARTIFACTS + "/"))]
            archive.extractall(str(temporary), names)
        return _checked(load_manifest(temporary / FILE_NAME), temporary / ARTIFACTS, temporary)
    except BaseException as error:
        shutil.rmtree(str(temporary), ignore_errors=True)
        if isinstance(error, PackageError):
            raise PackageError(str(error).replace(str(temporary), str(path))) from error
        if isinstance(error, (zipfile.BadZipFile, OSError)):
            raise PackageError("%s: cannot be unpacked: %s" % (path, error)) from error
        raise
