"""The README's agent: registered by another package, it is found, and keeps the contract."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qsdnn.agents import agent
from qsdnn.errors import InputError

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language, containing):
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in blocks if containing in text)


def installed(folder, value=None):
    """What pip makes of the README's package."""
    (folder / "climber.py").write_text(block("python", "class Climber"), encoding="utf-8")
    project = tomllib.loads(block("toml", "climber"))["project"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n"
    )
    ((group, points),) = project["entry-points"].items()
    lines = "".join(f"{name} = {value or where}\n" for name, where in points.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
    return folder


def test_it_keeps_the_contract_of_agents(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/conformance/test_agents.py", "-k", "climber"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(installed(tmp_path))},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 15


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("climber:Walker", "agent 'climber' of climber cannot be loaded from climber:Walker"),
        ("runner:Climber", "No module named 'runner'"),
        ("climber:np", "agent 'climber' is no subclass of qsdnn.agents.Agent"),
    ],
)
def test_what_is_registered_wrongly_is_told(tmp_path, monkeypatch, value, said):
    monkeypatch.syspath_prepend(installed(tmp_path, value))
    with pytest.raises(InputError, match=re.escape(said)):
        agent("climber")
    sys.modules.pop("climber", None)
