"""The store: every measurement, in SQLite, so that none is taken twice."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qsdnn.accuracy.loss import Loss
from qsdnn.board import Applied, Record, State, Step, Trust
from qsdnn.errors import StoreError

_VERSIONS = (
    """
    CREATE TABLE IF NOT EXISTS measurements (
        key TEXT PRIMARY KEY,
        board TEXT NOT NULL,
        engines TEXT NOT NULL,
        threads INTEGER NOT NULL,
        package TEXT NOT NULL,
        purpose TEXT NOT NULL,
        state TEXT NOT NULL,
        latency_ms REAL,
        record TEXT NOT NULL,
        taken_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    """,
    """
    CREATE TABLE IF NOT EXISTS terms (
        board TEXT NOT NULL,
        cpu TEXT NOT NULL,
        engine TEXT NOT NULL,
        version TEXT NOT NULL,
        threads INTEGER NOT NULL,
        network TEXT NOT NULL,
        what TEXT NOT NULL,
        name TEXT NOT NULL,
        detail TEXT NOT NULL,
        value REAL NOT NULL,
        spread REAL NOT NULL,
        PRIMARY KEY (board, engine, version, threads, network, what, name, detail)
    );
    CREATE INDEX IF NOT EXISTS terms_of ON terms (cpu, engine, threads);
    """,
    """
    CREATE TABLE IF NOT EXISTS accuracies (
        key TEXT PRIMARY KEY,
        package TEXT NOT NULL,
        purpose TEXT NOT NULL,
        metric TEXT NOT NULL,
        reference REAL NOT NULL,
        plan REAL NOT NULL,
        "drop" REAL NOT NULL,
        sqnr_db REAL NOT NULL,
        samples INTEGER NOT NULL,
        taken_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    """,
)
"""The statements by which each version of the store adds to the one before; ``PRAGMA user_version``
says how many versions a store has. Stores of the first version say 0."""


def default_path() -> Path:
    """The path of the store when nobody names another."""
    from platformdirs import user_data_path

    return Path(os.environ.get("QSDNN_STORE") or user_data_path("qsdnn") / "qsdnn.db")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The key of a measurement: measurements of equal keys are the same.

    Attributes:
        board: The fingerprint of the board.
        engines: The version of each engine that the package uses, by engine.
        threads: The number of threads that an engine may use.
        package: The digest of the package, which names its artifacts by content.
        purpose: The purpose of measuring: ``profile``, ``plan``, or the pair of a final.
    """

    board: str
    engines: Mapping[str, str]
    threads: int
    package: str
    purpose: str

    def __str__(self) -> str:
        engines = ",".join(f"{name}={version}" for name, version in sorted(self.engines.items()))
        return "|".join((self.board, engines, str(self.threads), self.package, self.purpose))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A cost that a search has learned, for other searches to start from.

    Attributes:
        board: The fingerprint of the board.
        cpu: The processor of the board: boards of one kind have the same.
        engine: The name of the engine.
        version: The version of the engine.
        threads: The number of threads that the engine may use.
        network: The sha256 hash of the network.
        what: The kind of cost: ``layer``, ``enter`` or ``leave``.
        name: The primitive of a layer, or the family of a crossing.
        detail: The signature of a layer, or the number of a crossing's rate.
        value: The milliseconds of a layer or of a crossing, or milliseconds per KiB of a crossing.
        spread: The standard deviation of the value.
    """

    board: str
    cpu: str
    engine: str
    version: str
    threads: int
    network: str
    what: str
    name: str
    detail: str
    value: float
    spread: float


class Store:
    """The measurements by key, and what searches have learned of them.

    The store is a context manager; each `put` is durable when it returns.

    Args:
        url: The path of the store, or ``sqlite:///path``; None takes the default path.

    Raises:
        StoreError: The store cannot be opened for writing.
    """

    def __init__(self, url: str | None = None) -> None:
        self.path = _path(url)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=30.0)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._upgrade()
            self._database.execute("BEGIN IMMEDIATE")  # a read-only file shows only now
            self._database.rollback()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"cannot write the store {self.path}: {error}",
                hint="choose another one: --store PATH",
            ) from error

    def _upgrade(self) -> None:
        """Adds the tables that the file's version lacks; nothing that is there is changed."""
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > len(_VERSIONS):
            raise StoreError(
                f"the store {self.path} was written by a newer qsdnn",
                hint="upgrade qsdnn, or choose another one: --store PATH",
            )
        if version < len(_VERSIONS):
            steps = "".join(_VERSIONS[version:])
            self._database.executescript(
                f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {len(_VERSIONS)}; COMMIT;"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def get(self, key: Key) -> Record | None:
        """The measurement of that key; None where there is none."""
        row = self._database.execute(
            "SELECT record FROM measurements WHERE key = ?", (str(key),)
        ).fetchone()
        return None if row is None else record_from_json(row[0])

    def put(self, key: Key, record: Record) -> None:
        """Keeps a measurement, in place of an older one of that key.

        Raises:
            StoreError: The disk is full or the file was taken away.
        """
        latency_ms = record.latency_ms if record.runs_ms else None
        row = (
            str(key), key.board, json.dumps(dict(key.engines), sort_keys=True), key.threads,
            key.package, key.purpose, record.state.value, latency_ms, record_to_json(record),
        )  # fmt: skip
        try:
            with self._database:
                self._database.execute(
                    "INSERT OR REPLACE INTO measurements (key, board, engines, threads, package, "
                    "purpose, state, latency_ms, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
        except sqlite3.Error as error:
            raise StoreError(f"cannot write the store {self.path}: {error}") from error

    def get_loss(self, key: Key) -> Loss | None:
        """The loss of the package of that key; None where it was not evaluated."""
        names = [field.name for field in dataclasses.fields(Loss)]
        columns = ", ".join(f'"{name}"' for name in names)
        row = self._database.execute(
            f"SELECT {columns} FROM accuracies WHERE key = ?", (str(key),)
        ).fetchone()
        return None if row is None else Loss(**dict(zip(names, row, strict=True)))

    def put_loss(self, key: Key, loss: Loss) -> None:
        """Keeps the loss of a package, in place of an older one.

        Raises:
            StoreError: The disk is full or the file was taken away.
        """
        values = {"key": str(key), "package": key.package, "purpose": key.purpose}
        values |= dataclasses.asdict(loss)
        columns = ", ".join(f'"{name}"' for name in values)
        places = ", ".join(f":{name}" for name in values)
        try:
            with self._database:
                self._database.execute(
                    f"INSERT OR REPLACE INTO accuracies ({columns}) VALUES ({places})", values
                )
        except sqlite3.Error as error:
            raise StoreError(f"cannot write the store {self.path}: {error}") from error

    def put_terms(self, terms: Sequence[Term]) -> None:
        """Keeps the terms that a search has learned, in place of older values of the same terms.

        Raises:
            StoreError: The disk is full or the file was taken away.
        """
        names = [field.name for field in dataclasses.fields(Term)]
        places = ", ".join("?" * len(names))
        try:
            with self._database:
                self._database.executemany(
                    f"INSERT OR REPLACE INTO terms ({', '.join(names)}) VALUES ({places})",
                    [dataclasses.astuple(term) for term in terms],
                )
        except sqlite3.Error as error:
            raise StoreError(f"cannot write the store {self.path}: {error}") from error

    def terms(self, cpu: str, threads: int) -> list[Term]:
        """The terms learned on boards with that processor and that number of threads."""
        names = [field.name for field in dataclasses.fields(Term)]
        rows = self._database.execute(
            f"SELECT {', '.join(names)} FROM terms WHERE cpu = ? AND threads = ? ORDER BY rowid",
            (cpu, threads),
        )
        return [Term(**dict(zip(names, row, strict=True))) for row in rows]


def record_to_json(record: Record) -> str:
    """The JSON of a record; `record_from_json` gives an equal record back."""
    return json.dumps(dataclasses.asdict(record))


def record_from_json(text: str) -> Record:
    """The record that `record_to_json` wrote."""
    content: dict[str, Any] = json.loads(text)
    return Record(
        **content
        | {
            "state": State(content["state"]),
            "trust": Trust(content["trust"]),
            "runs_ms": tuple(content["runs_ms"]),
            "segments_ms": tuple(tuple(row) for row in content["segments_ms"]),
            "step": Step(content["step"]) if content.get("step") else None,
            "disturbed": tuple(content.get("disturbed", ())),  # of an older version: none
            "ci95_ms": tuple(content["ci95_ms"]),
            "layers_ms": {int(index): ms for index, ms in content["layers_ms"].items()},
            "applied": {
                int(index): Applied(**applied) for index, applied in content["applied"].items()
            },
        }
    )


def _path(url: str | None) -> Path:
    if url is None:
        return default_path()
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Path(url).expanduser()
    if scheme != "sqlite":
        raise StoreError(
            f"cannot open the store {url}: unknown scheme '{scheme}'",
            hint="use a path or sqlite:///path",
        )
    return Path(rest.removeprefix("/")).expanduser()  # sqlite:///relative, sqlite:////absolute
