"""`qsdnn boards` against a real OpenSSH server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from qsdnn.board import open_board
from qsdnn.cli import group
from qsdnn.errors import BoardError

from .server import Server


def boards(*args: str | Path) -> Any:
    result = CliRunner().invoke(group, ["boards", *map(str, args), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


def test_a_board_is_added_once_its_key_is_accepted_and_then_checked(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QSDNN_CONFIG", str(home / "config"))
    lab = ("add", "lab", "--host", "127.0.0.1", "--port", str(server.port))
    lab = (*lab, "--user", server.user, "--identity-file", str(server.user_key))
    with pytest.raises(BoardError, match="unknown: nothing was added"):
        boards(*lab)
    assert boards(*lab, "--accept-host-key")["host_key"]["was"] == "unknown"
    assert boards("add", "lab")["host_key"]["was"] == "known"
    found = boards("check", "lab")
    assert found["reached"]
    verdicts = {finding["item"]: finding["verdict"] for finding in found["findings"]}
    assert {"reach", "host key", "disk", "python", "numpy", "blas", "memory"} <= {
        item for item, verdict in verdicts.items() if verdict == "ok"
    }
    with open_board("lab") as board:
        assert board.probe().fingerprint == found["board"]["fingerprint"]
