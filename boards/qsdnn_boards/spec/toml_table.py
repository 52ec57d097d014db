"""Reading TOML strictly: an error names the file and the key."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from qsdnn.errors import InputError

T = TypeVar("T")


class TomlTable:
    """A table of a TOML file, with its place in the file.

    Args:
        values: The content of the table.
        file: The name of the file, for messages.
        where: The table's own key in the file; empty for the whole file.
    """

    def __init__(self, values: Mapping[str, Any], file: str, where: str = "") -> None:
        self._values = values
        self._file = file
        self._where = where

    @classmethod
    def read(cls, path: Path) -> Self:
        """The table that is the whole of a file.

        Raises:
            InputError: The file cannot be read, or is not TOML.
        """
        try:
            return cls(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        except ValueError as error:  # a wrong encoding, or wrong TOML
            raise InputError(f"{path}: not a TOML file: {error}", hint=f"edit {path}") from error

    def fail(self, key: str, problem: str) -> InputError:
        """An error about a key of this table."""
        return InputError(f"{self._file}: {self._place(key)}: {problem}", hint=f"edit {self._file}")

    def only(self, keys: Collection[str]) -> None:
        """Checks that the table has no other key: a misspelt key would be ignored.

        Raises:
            InputError: The table has another key.
        """
        for key in self._values:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, n=1)
                meant = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(keys)}"
                raise self.fail(key, f"unknown key{meant}")

    def keys(self) -> tuple[str, ...]:
        """The table's keys, in the order of the file."""
        return tuple(self._values)

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty.

        Raises:
            InputError: The key is missing and there is no default, or the value is of another type.
        """
        value = self._get(key, str, "a text", default)
        if not value and default is None:
            raise self.fail(key, "is empty")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        """True or false; see `text`."""
        return self._get(key, bool, "true or false", default)

    def integer(self, key: str, default: int | None = None) -> int:
        """An integer; see `text`."""
        return self._get(key, int, "an integer", default)

    def number(self, key: str, default: float | None = None) -> float:
        """A number; see `text`."""
        if key in self._values and isinstance(self._values[key], int):
            return float(self.integer(key))
        return self._get(key, float, "a number", default)

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of texts; see `text`."""
        values = self._get(key, list, "a list of texts", None if default is None else [*default])
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise self.fail(f"{key}[{index}]", f"expected a text, found {value!r:.40}")
        return tuple(values)

    def table(self, key: str) -> TomlTable:
        """A table in this one.

        Raises:
            InputError: The key is missing, or the value is of another type.
        """
        return TomlTable(self._get(key, dict, "a table", None), self._file, self._place(key))

    def tables(self, key: str) -> tuple[TomlTable, ...]:
        """A list of tables; empty when the key is missing.

        Raises:
            InputError: The value is of another type.
        """
        values = self._get(key, list, "a list of tables", [])
        whole = TomlTable(
            {f"{key}[{index}]": value for index, value in enumerate(values)},
            self._file,
            self._where,
        )
        return tuple(whole.table(name) for name in whole._values)

    def _get(self, key: str, kind: type[T], words: str, default: T | None) -> T:
        if key not in self._values:
            if default is None:
                raise self.fail(key, "missing")
            return default
        value = self._values[key]
        # To Python a bool is an int; to a user who writes `port = true` it is not.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.fail(key, f"expected {words}, found {value!r:.40}")
        return value

    def _place(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key
