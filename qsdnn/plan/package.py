"""Packages on disk: a folder or a zip that runs on a board with nothing else of ours.

The form of a package is that of `qsdnn_runtime.program.package`, in a folder and a zip alike. The
runtime alone is a zip too, which boards are given before any package.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import IO

from qsdnn.board import Package
from qsdnn.errors import InputError, PlanError
from qsdnn.files import naming, replacing
from qsdnn.plan import Plan, portable, to_json
from qsdnn_runtime.program.manifest import PackageError, digest_of
from qsdnn_runtime.program.package import ZIP_MAGIC, open_package

ARCHIVES = {".7z", ".bz2", ".egg", ".gz", ".rar", ".tar", ".tgz", ".whl", ".xz", ".zst"}
"""The endings of what is neither a folder nor a zip, and would surprise as a folder's name."""

PACKAGE = "qsdnn_runtime"
"""The runtime: all of this project that a board needs."""

# The earliest a zip can say. With it, and without compression, equal files give equal bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)
MODE = 0o644

LARGEST_ZIP_BYTES = 2**31 - 2**20
"""The size of zips from which on Python below 3.13 cannot import."""

MAIN = b'''\
"""Runs this package: python PACKAGE --help."""
import os
import sys
from importlib.util import find_spec

if sys.version_info < (3, 8):
    sys.exit("error: Python 3.8 or newer is needed; this is %s" % sys.version.split()[0])
if find_spec("numpy") is None:
    sys.exit("error: numpy is not installed: %s -m pip install numpy" % sys.executable)

from qsdnn_runtime.__main__ import main

sys.exit(main(package=os.path.dirname(os.path.abspath(__file__))))
'''
"""The program that Python starts when it is given the package."""


def check_target(target: Path) -> None:
    """Checks that a package can be written, before it is built.

    Args:
        target: The folder or zip to write; it must not exist, or be a package, which is replaced.

    Raises:
        InputError: The package cannot be written there.
    """
    ending = target.suffix.lower()
    if ending in ARCHIVES:
        named = target.name.removesuffix(target.suffix).removesuffix(".tar")
        raise InputError(
            f"-o {target}: a package is a folder or a .zip, not a {ending}",
            hint=f"for example: -o {target.with_name(named + '.zip')}",
        )
    if target.exists() and not _may_be_replaced(target):
        raise InputError(f"{target} exists and is no package", hint="choose another -o")
    with naming(target), tempfile.TemporaryDirectory(dir=_parent(target), prefix=".qsdnn-"):
        pass


def write_package(package: Package, plan: Plan, runtime: bytes, target: Path) -> None:
    """Writes a package as a folder, or as a zip when the target ends in ``.zip``.

    The package is written beside the target first: an interrupted write leaves no half package.

    Args:
        package: The package that was built.
        plan: The plan that the package was built from.
        runtime: The runtime, as a zip.
        target: The folder or zip to write: see `check_target`.

    Raises:
        InputError: The target cannot be written, or is something else.
    """
    check_target(target)
    with naming(target):
        if target.suffix.lower() == ".zip":
            with replacing(target) as file:
                _write_zip(_entries(package, plan, runtime, target), file, target)
            return
        write_files(_entries(package, plan, runtime, target), target)


def write_files(entries: Iterator[tuple[str, bytes | Path]], target: Path) -> None:
    """Writes files into a folder that appears whole, in the place of one that is there.

    Args:
        entries: The files: the name of each, and its content or the path of that.
        target: The folder.

    Raises:
        OSError: The folder cannot be written; an older one is as it was.
    """
    with tempfile.TemporaryDirectory(dir=_parent(target), prefix=".qsdnn-") as scratch:
        made = Path(scratch) / "made"
        _write_folder(entries, made)
        place = target.resolve()
        if place.is_dir():
            place.replace(Path(scratch) / "before")
        made.replace(place)


def is_package(path: Path) -> bool:
    """Whether a path is to be read as a package, whole or damaged."""
    if path.is_dir() or path.suffix.lower() == ".zip":
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(ZIP_MAGIC)) == ZIP_MAGIC


def read_package(path: Path, scratch: Path) -> Package:
    """Reads a package, and checks that its content is what was made; a zip is unpacked first.

    Args:
        path: The folder or zip of the package.
        scratch: The folder that a zip is unpacked into; it must outlive the package.

    Raises:
        PlanError: The path is no package, or a damaged one.
    """
    try:
        opened = open_package(path, scratch=scratch)
    except PackageError as error:
        raise PlanError(str(error)) from error
    content = opened.content
    return Package(manifest=content, folder=opened.artifacts, digest=digest_of(content))


def _entries(
    package: Package, plan: Plan, runtime: bytes, target: Path
) -> Iterator[tuple[str, bytes | Path]]:
    """The files of a package: the name of each, and its content or the path of that."""
    manifest = {**package.manifest, "digest": digest_of(package.manifest)}
    yield "__main__.py", MAIN
    yield "manifest.json", json.dumps(manifest, indent=1).encode()
    yield "plan.json", to_json(portable(plan, target / "plan.json")).encode()
    with zipfile.ZipFile(io.BytesIO(runtime)) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)
    for file in package.manifest["artifacts"]:
        yield f"artifacts/{file}", package.folder / file


def _write_folder(entries: Iterator[tuple[str, bytes | Path]], folder: Path) -> None:
    for name, content in entries:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content)


def _write_zip(entries: Iterator[tuple[str, bytes | Path]], file: IO[bytes], target: Path) -> None:
    """Writes a zip with artifacts as they are: weights hardly shrink, a session unpacks them."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = MODE << 16
            if isinstance(content, bytes):
                archive.writestr(info, content, zipfile.ZIP_DEFLATED)
                continue
            info.file_size = content.stat().st_size
            with content.open("rb") as source, archive.open(info, "w") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            if file.tell() > LARGEST_ZIP_BYTES:
                raise InputError(
                    f"{target}: more than {LARGEST_ZIP_BYTES / 1e6:.0f} MB, from which Python "
                    "cannot run a zip",
                    hint=f"write a folder, which runs likewise: -o {target.with_suffix('')}",
                )


def _parent(target: Path) -> Path:
    return target.resolve().parent


def _may_be_replaced(path: Path) -> bool:
    if path.is_dir():
        return (path / "manifest.json").is_file() or not any(path.iterdir())
    return zipfile.is_zipfile(path) and "manifest.json" in zipfile.ZipFile(path).namelist()


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
