"""The README's commands, without measuring; `tests/integration/readme` runs them as printed."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from qsdnn import examples
from qsdnn.cli import COMMANDS, ENVIRONMENT, group

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PACKAGES = ("qsdnn", "boards", "lab", "primitives", "runtime", "envs")
WRITTEN = {"output", "cost_model", "csv_file", "log_dir"}
"""Parameters that name what a command writes."""


def commands():
    """The words of each command, without the comments, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("qsdnn ")]


def files(context, written):
    """The files that a command writes, or reads; a model without its engine."""
    for parameter in context.command.params:
        value = context.params.get(parameter.name)
        if (parameter.name in WRITTEN) is written and value is not None:
            for path in value if isinstance(value, tuple) else (value,):
                if isinstance(path, Path):
                    yield path.name.partition("@")[0]


def test_each_command_is_well_formed_and_reads_what_earlier_ones_wrote(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there = set()
    for name, *words in commands():
        command = group.get_command(click.Context(group), name)
        context = command.make_context(name, list(words))
        if name == "example":
            command.main(words, standalone_mode=False)
            there |= {path.name for path in tmp_path.iterdir()}
        else:
            assert set(files(context, written=False)) <= there, (name, *words)
            there |= set(files(context, written=True))
    assert {"plan.json", "deploy.zip"} <= there


@pytest.mark.parametrize("name", ["search", "replay", "bench", "package", "example"])
def test_the_readme_shows_the_main_commands(name):
    assert name in [words[0] for words in commands()]


def test_every_command_is_in_the_readme():
    assert all(f"`qsdnn {name}" in README for name in [*COMMANDS, "app", "boards"])


def test_every_environment_variable_is_in_the_readme_and_in_the_help():
    root = Path(__file__).parents[2]
    sources = [path for name in PACKAGES for path in (root / name).rglob("*.py")]
    used = {
        name
        for path in sources
        for name in re.findall(r'"(QSDNN_[A-Z_]+)', path.read_text("utf-8"))
    }
    assert used == set(ENVIRONMENT)
    assert all(f"`{name}`" in README for name in used)
    text = CliRunner().invoke(group, ["--help"]).stdout
    assert all(name in text for name in used)


def test_it_counts_the_examples():
    trained = sum(example.trained for example in examples.EXAMPLES.values())
    assert trained == 2
    random = len(examples.EXAMPLES) - trained
    assert f"{random + trained} networks: {random} with seeded random weights" in README
