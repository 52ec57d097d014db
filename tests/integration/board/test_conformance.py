"""The conformance suite of boards, over a real sshd."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .lab import Lab
from .server import find_sshd

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_a_board_behind_sshd_keeps_what_every_board_must(tmp_path):
    if find_sshd() is None:
        pytest.skip("NOT TESTED: boards over SSH. There is no sshd: apt-get install openssh-server")
    with Lab(tmp_path) as lab:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", str(ROOT / "tests/conformance/test_boards.py")],
            cwd=ROOT,
            env={**os.environ, **lab.environment, "QSDNN_CONFORMANCE_BOARDS": "lab"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert " passed" in done.stdout and "skipped" not in done.stdout
