"""Files that are written whole or not at all, artifacts named by their content among them."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import secrets
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from qsdnn.errors import InputError
from qsdnn.mapping import chunks


def write_content(content: bytes, suffix: str, folder: Path) -> str:
    """Writes bytes under the name of their hash, complete or not at all; returns the name."""
    name = hashlib.sha256(content).hexdigest()[:16] + suffix
    if not (folder / name).exists():
        with part_file(folder) as file:
            file.write(content)
            file.flush()
            os.replace(file.name, folder / name)
    return name


def write_pieces(pieces: Iterable[bytes | memoryview], suffix: str, folder: Path) -> str:
    """Writes a content of several pieces as `write_content` does, one piece after the other."""
    digest = hashlib.sha256()
    with part_file(folder) as file:
        for chunk in (chunk for piece in pieces for chunk in chunks(piece)):
            file.write(chunk)
            digest.update(chunk)
        file.flush()
        name = digest.hexdigest()[:16] + suffix
        os.replace(file.name, folder / name)
    return name


def link_file(source: Path, folder: Path) -> str:
    """Puts a file into a folder unless it is there, by a link, or a copy to another file system.

    Not for ONNX's external data, which must not have several links. Returns the file's name.
    """
    target = folder / source.name
    if not target.exists():
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
    return source.name


FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def part_file(folder: Path, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A new file in a folder, for the caller to move to its place; if left there it is removed.

    Args:
        folder: The folder, which must exist.
        mode: The permissions of the file, less what the user's umask takes: those of any new file.

    Raises:
        OSError: The file cannot be made.
    """
    path = folder / f".qsdnn-{secrets.token_hex(8)}.part"
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        try:
            yield file
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path, *, sync: bool = False, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Opens a file for writing that takes its place at the end, whole: never half of it.

    A link stays a link, and an older file's permissions hold on. What is no regular file (a device,
    a pipe) is never replaced: it is given everything at the end.

    Args:
        path: The file to write; its folder must exist.
        sync: Whether the file must outlive a loss of power right after.
        mode: The permissions of a new file: see `part_file`.

    Raises:
        OSError: The file cannot be written; nothing is left of it, and an older file is as it was.
    """
    target = path.resolve()
    if _is_special(target):
        with TemporaryFile() as spool:
            yield spool
            spool.seek(0)
            with target.open("wb") as file:
                shutil.copyfileobj(spool, file)
        return
    check_place(target)
    with part_file(target.parent, mode) as file:
        yield file
        file.flush()
        if sync:
            os.fsync(file.fileno())
        file.close()  # where a network's file system says that its disk is full
        if target.exists():
            shutil.copymode(target, file.name)
        os.replace(file.name, target)


def check_place(path: Path) -> None:
    """Checks that a file can be written, without changing it.

    Raises:
        OSError: The file cannot be written.
    """
    target = path.resolve()
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if _is_special(target):
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return
    if target.exists():
        target.open("r+b").close()  # read-only, though its folder may not be
    with part_file(target.parent):
        pass


@contextmanager
def naming(path: Path, option: str = "-o") -> Iterator[None]:
    """Turns what keeps a file from being written into an error that says what to do.

    Args:
        path: The path as the user wrote it.
        option: The option by which the user gave the path.

    Raises:
        InputError: An OSError was raised within.
    """
    try:
        yield
    except OSError as error:
        folder = path.absolute().parent
        hint = f"choose another {option}"
        if not folder.is_dir():
            hint = f"mkdir -p {shlex.quote(str(path.parent))}"
        elif error.errno in FULL and not _is_special(path):
            hint = f"make room in {folder}, or choose another {option}"
        reason = error.strerror or str(error)
        raise InputError(f"cannot write {path}: {reason}", hint=hint) from error


def check_writable(output: Path) -> None:
    """Makes sure that a file can be written, before hours of measuring rather than after.

    Raises:
        InputError: The file cannot be written.
    """
    with naming(output):
        check_place(output)


@contextmanager
def open_output(path: Path, option: str = "-o") -> Iterator[IO[bytes]]:
    """Opens a file that the user named for writing: see `replacing`.

    Raises:
        InputError: The file cannot be written.
    """
    with naming(path, option), replacing(path) as file:
        yield file


def write_output(path: Path, content: bytes | str, option: str = "-o") -> None:
    """Writes a file that the user named.

    Raises:
        InputError: The file cannot be written.
    """
    with open_output(path, option) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_csv(
    path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], option: str = "-o"
) -> None:
    """Writes a table to a file that the user named.

    Raises:
        InputError: The file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_output(path, text.getvalue(), option)


def _is_special(path: Path) -> bool:
    """Whether a path exists and is neither a file nor a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()
