"""The README's commands work, in their order, as they stand but for network and budget."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
QUICK = "tiny-cnn"  # in place of the network the README shows
BUDGET = "10s"  # of each search


def _commands():
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.split("   #")[0] for block in blocks for line in block.splitlines()]
    mine = [line.replace("shufflenet", QUICK) for line in lines if line.startswith("qsdnn ")]
    return [f"{line} --budget {BUDGET}" if " search " in line else line for line in mine]


def test_the_commands_of_the_readme(tmp_path):
    commands = _commands()
    assert {shlex.split(line)[1] for line in commands} >= {"example", "search", "replay", "bench"}
    environment = os.environ | {
        "QSDNN_STORE": str(tmp_path / "store.db"),
        "QSDNN_BOARD_CACHE": str(tmp_path / "board"),
    }
    for line in commands:
        words = shlex.split(line)[1:]
        ran = subprocess.run(
            [sys.executable, "-m", "qsdnn", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{line}\n{ran.stderr}"


def test_every_command_is_in_the_readme():
    from qsdnn.cli import COMMANDS

    assert all(f"`qsdnn {name}" in README for name in [*COMMANDS, "boards"])
