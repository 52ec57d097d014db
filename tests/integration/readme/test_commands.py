"""The README's commands and programs as printed, in order, in one empty folder.

They take some minutes: `make test-readme` runs them. What can be held without measuring, that each
line is well formed and names files that earlier ones wrote, is in `tests/unit/test_readme.py`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
INPUTS = "import numpy\nimage = numpy.ones((1, 3, 224, 224), numpy.float32)\n"
"""What a program of the user's has: an image for ShuffleNet."""

pytestmark = pytest.mark.skipif(
    "QSDNN_README" not in os.environ, reason="some minutes of searching: make test-readme"
)


def printed():
    """What is typed once qsdnn is installed, and the programs, in their order."""
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", README, re.DOTALL):
        if language == "python":
            yield [sys.executable, "-c", INPUTS + block], block
        else:
            for line in block.splitlines():
                if line.startswith(("qsdnn ", "python ")):
                    yield ["bash", "-c", line], line


def test_all_that_is_printed_works_in_its_order(tmp_path):
    desk = tmp_path / "desk"
    desk.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("QSDNN_", "XDG_"))}
    kept["QSDNN_BOARD_LOCK"] = os.environ["QSDNN_BOARD_LOCK"]  # see tests/conftest.py
    scripts = Path(sys.executable).parent
    environment = kept | {"HOME": str(tmp_path), "PATH": f"{scripts}:{kept['PATH']}"}
    commands = list(printed())
    assert len(commands) > 8
    for words, text in commands:
        ran = subprocess.run(
            words, cwd=desk, env=environment, capture_output=True, text=True, check=False
        )
        print(f"$ {text}\n{ran.stdout}")
        assert ran.returncode == 0, f"{text}\n{ran.stderr}"
