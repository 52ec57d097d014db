"""The boards reached over SSH: those of the user's address book, and those named by their address.

The address book is a TOML file that may be edited by hand; what qsdnn does not change in the file
stays as it is. The file holds no secret: keys are named by their files, and passwords are not
supported.

::

    [lab]
    host = "192.168.0.7"
    user = "pi"
    spec = "raspberry-pi-4b"
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tomlkit
from platformdirs import user_config_path
from tomlkit.exceptions import TOMLKitError

from qsdnn.errors import InputError, unknown
from qsdnn.files import replacing

from .spec.spec import GENERIC, specs
from .spec.toml_table import TomlTable
from .ssh.address import Address, parse_address

if TYPE_CHECKING:
    from .ssh.board import SshBoard

CONFIG_VARIABLE = "QSDNN_CONFIG"
FILE_NAME = "boards.toml"
KEYS = ("host", "port", "user", "identity_file", "python", "spec")
# No character in a name means something in `user@host`, in a path or to a shell.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
RESERVED = ("local",)
DEFAULT_PYTHON = "python3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A board in the address book.

    Attributes:
        name: The user's name for the board.
        address: The board's address.
        spec: The kind of board: a name in `specs`.

    Raises:
        InputError: The name has characters that no name may have, or there is no such spec.
    """

    name: str
    address: Address
    spec: str = GENERIC

    def __post_init__(self) -> None:
        """Checks the board's name and the name of the spec."""
        if not NAME.fullmatch(self.name) or self.name in RESERVED:
            why = "is this machine" if self.name in RESERVED else "cannot be a board's name"
            raise InputError(
                f"'{self.name}' {why}",
                hint="a name has letters, digits, '.', '_' and '-', e.g. lab-nano",
            )
        if self.spec not in specs():
            raise unknown("spec", self.spec, specs())


class AddressBook:
    """The address book in a file, which need not exist yet.

    Args:
        path: The file.  By default ``boards.toml`` in the user's configuration folder, or in the
            folder that the environment variable ``QSDNN_CONFIG`` names.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or _config_folder() / FILE_NAME

    def entries(self) -> Mapping[str, Entry]:
        """All boards by name, in the order of the file.

        Raises:
            InputError: The file cannot be read or is malformed; the message names the key.
        """
        if not self.path.exists():
            return {}
        book = TomlTable.read(self.path)
        return {name: _entry(name, book.table(name), book) for name in book.keys()}  # noqa: SIM118

    def put(self, entry: Entry) -> None:
        """Adds a board, or replaces the board of the same name.

        Raises:
            InputError: The file cannot be read or written.
        """
        with self._changed() as document:
            if entry.name not in document:
                document.add(entry.name, tomlkit.table())
            table = document.item(entry.name)
            assert isinstance(table, tomlkit.items.Table)  # entries() reads nothing else
            for key, value in _values(entry).items():
                if value is not None:
                    table[key] = value
                else:
                    table.pop(key, None)

    def remove(self, name: str) -> Entry:
        """Removes a board; returns the removed entry.

        Raises:
            InputError: There is no board of that name, or the file cannot be written.
        """
        entry = self.find(name)
        with self._changed() as document:
            document.pop(name, None)
        return entry

    def find(self, name: str) -> Entry:
        """The board of that name in the address book.

        Raises:
            InputError: There is no board of that name.
        """
        entries = self.entries()
        if name not in entries:
            error = unknown("board", name, entries)
            add = f"add it: qsdnn boards add {name} --host ADDRESS"
            raise InputError(
                f"{self.path} has no board '{name}'", hint=error.hint if entries else add
            )
        return entries[name]

    @contextmanager
    def _changed(self) -> Iterator[tomlkit.TOMLDocument]:
        """The content of the file, to be changed; without an error, the file is written whole."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path.parent):
                old = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
                document = tomlkit.parse(old)
                yield document
                _replace(self.path.resolve(), tomlkit.dumps(document))
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written: {error.strerror}",
                hint=f"set {CONFIG_VARIABLE} to a folder that can be written",
            ) from error
        except TOMLKitError as error:
            raise InputError(f"{self.path}: not a TOML file: {error}") from error


def _config_folder() -> Path:
    chosen = os.environ.get(CONFIG_VARIABLE)
    return Path(chosen) if chosen else user_config_path("qsdnn")


def _entry(name: str, table: TomlTable, book: TomlTable) -> Entry:
    table.only(KEYS)
    host, port = table.text("host"), table.integer("port", 0) or None
    user, python = table.text("user", "") or None, table.text("python", DEFAULT_PYTHON)
    key, spec = table.text("identity_file", ""), table.text("spec", GENERIC)
    identity_file = Path(key).expanduser() if key else None
    try:
        address = Address(
            host=host, port=port, user=user, identity_file=identity_file, python=python
        )
        return Entry(name=name, address=address, spec=spec)
    except InputError as error:
        raise book.fail(name, error.message) from error


def _values(entry: Entry) -> dict[str, str | int | None]:
    address = entry.address
    identity_file = address.identity_file
    return {
        "host": address.host,
        "port": address.port,
        "user": address.user,
        "identity_file": None if identity_file is None else str(identity_file),
        "python": None if address.python == DEFAULT_PYTHON else address.python,
        "spec": entry.spec,
    }


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from changing files in the folder until the end."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Writes a whole file, or leaves the file as it was."""
    with replacing(path, sync=True) as file:
        file.write(text.encode())


class NamedFinder:
    """Finds boards by their names in the user's address book; such boards are reached over SSH."""

    def names(self) -> Sequence[str]:
        """See `qsdnn.board.BoardFinder.names`; known kinds without an address are included.

        Those kinds are listed for users who misspell one: `find` then says how to give the board an
        address.
        """
        kinds = [name for name in specs() if name != GENERIC]
        return tuple(dict.fromkeys([*AddressBook().entries(), *kinds]))

    def find(self, name: str) -> SshBoard | None:
        """See `qsdnn.board.BoardFinder.find`."""
        entry = AddressBook().entries().get(name)
        if entry is not None:
            from .ssh.board import SshBoard  # `boards list` does without SSH

            return SshBoard(name, entry.address, specs()[entry.spec])
        if name in specs():
            raise InputError(
                f"board '{name}' has no address yet",
                hint=f"say where it is: qsdnn boards add {name} --host ADDRESS",
            )
        return None


class AddressFinder:
    """Finds boards named ``user@host[:port]``."""

    def names(self) -> Sequence[str]:
        """See `qsdnn.board.BoardFinder.names`: there is no list of all machines."""
        return ()

    def find(self, name: str) -> SshBoard | None:
        """See `qsdnn.board.BoardFinder.find`."""
        if "@" not in name:
            return None
        from .ssh.board import SshBoard  # other boards do without SSH

        return SshBoard(name, parse_address(name))


FINDER = NamedFinder()
ADDRESS_FINDER = AddressFinder()
