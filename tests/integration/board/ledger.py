"""What becomes of a store, written down by the database itself: every write, also of equal keys."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from qsdnn.store import Store

WATCH = """
CREATE TABLE writes (number INTEGER PRIMARY KEY, key TEXT, state TEXT, trust TEXT);
CREATE TRIGGER watch AFTER INSERT ON measurements BEGIN
    INSERT INTO writes (key, state, trust)
    VALUES (NEW.key, NEW.state, json_extract(NEW.record, '$.trust'));
END;
"""


class Ledger:
    """The writes to a store that is made here, and not yet there.

    Args:
        path: Of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with Store(str(path)):
            pass
        with closing(sqlite3.connect(path)) as database:
            database.executescript(WATCH)

    def rows(self) -> int:
        """How many measurements are stored."""
        return self._ask("SELECT COUNT(*) FROM measurements")[0][0]

    def writes(self) -> int:
        """How many were ever written."""
        return self._ask("SELECT COUNT(*) FROM writes")[0][0]

    def states(self) -> Counter[str]:
        """How they ended."""
        return Counter(state for (state,) in self._ask("SELECT state FROM measurements"))

    def doubled(self) -> list[str]:
        """Keys that were written again although what was there was good.

        What is throttled is to be measured again by the next run.
        """
        seen: dict[str, str] = {}
        doubled = []
        for key, trust in self._ask("SELECT key, trust FROM writes ORDER BY number"):
            if seen.get(key, "throttled") != "throttled":
                doubled.append(key)
            seen[key] = trust
        return doubled

    def lost(self) -> list[str]:
        """Keys that were written and are not there."""
        return [
            key
            for (key,) in self._ask(
                "SELECT DISTINCT key FROM writes WHERE key NOT IN (SELECT key FROM measurements)"
            )
        ]

    def unlucky(self) -> dict[str, str]:
        """What ended badly: the error by its key."""
        rows = self._ask("SELECT key, record FROM measurements WHERE state <> 'ok'")
        return {key: json.loads(record)["error"] for key, record in rows}

    def is_whole(self) -> bool:
        """Whether the database's own check finds nothing."""
        return self._ask("PRAGMA integrity_check") == [("ok",)]

    def _ask(self, question: str) -> list[Any]:
        with closing(sqlite3.connect(self.path, timeout=30.0)) as database:
            return database.execute(question).fetchall()
