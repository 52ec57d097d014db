from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from qsdnn.errors import BoardError, QsdnnError
from qsdnn_boards.link.transport import PipeTransport
from qsdnn_boards.setup import installer, surveyor
from qsdnn_boards.setup.setup import BoardPython, Setup, download_wheels, wheel_platforms
from qsdnn_boards.ssh.board import READER

HERE = BoardPython(
    version=sys.version_info[:2],
    platform=installer.describe()["platform"],
    libc=tuple(installer.describe()["libc"]),
)


def board(tmp_path: Path, *, python: str = sys.executable, data: str = "data") -> Setup:
    """This machine, as a board whose login script has something to say."""
    line = f"echo hello from the board; exec {shlex.quote(python)} -c {shlex.quote(READER)}"
    environment = {"PATH": os.environ["PATH"], "XDG_DATA_HOME": str(tmp_path / data)}
    return Setup("lab", PipeTransport(["sh", "-c", line], environment, tmp_path))


def make_wheel(folder: Path, name: str) -> Path:
    """A package with nothing in it but its version."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    contents = {
        f"{name}.py": "VERSION = 1\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in contents) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)
    return path


def test_installs_what_is_sent_and_says_what_is_not_there(tmp_path: Path) -> None:
    wheels = [make_wheel(tmp_path, "qsdnn_tiny")]
    lines: list[str] = []
    with board(tmp_path) as setup:
        assert setup.begin() == HERE
        installed = setup.install(["qsdnn_tiny", "qsdnn_missing"], wheels, lines.append)
    assert installed.errors["qsdnn_tiny"] == ""
    assert "qsdnn_missing" in installed.errors["qsdnn_missing"]
    assert installed.python == str(tmp_path / "data" / "qsdnn" / "venv" / "bin" / "python")
    program = "import qsdnn_tiny; print(qsdnn_tiny.VERSION)"
    told = subprocess.check_output([installed.python, "-c", program], text=True)
    assert told.strip() == "1"
    assert lines[0] == "sending qsdnn_tiny-1.0-py3-none-any.whl (1 of 1)"
    assert any("Successfully installed" in line for line in lines)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with board(tmp_path, data="file/inner") as setup:
        setup.begin()
        with pytest.raises(BoardError, match="no virtual environment can be made"):
            setup.install(["numpy"], [], lambda line: None)


def test_a_board_without_python_is_an_error_with_its_words(tmp_path: Path) -> None:
    with (
        pytest.raises(BoardError, match="/no/python") as caught,
        board(tmp_path, python="/no/python") as setup,
    ):
        setup.begin()
    assert caught.value.hint == "qsdnn boards check lab"


@pytest.mark.parametrize(("script", "sent"), [(installer, set()), (surveyor, {"qsdnn_runtime"})])
def test_what_runs_on_the_board_is_python_3_8_and_the_standard_library(
    script: ModuleType, sent: set[str]
) -> None:
    assert script.__file__ is not None
    tree = ast.parse(Path(script.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or "?"] if isinstance(node, ast.ImportFrom) else _names(node))
    }
    assert names <= sys.stdlib_module_names | {"__future__"} | sent


def _names(node: ast.Import) -> list[str]:
    return [alias.name for alias in node.names]


@pytest.mark.parametrize(
    ("platform", "libc", "first", "others"),
    [
        ("linux-aarch64", ("glibc", "2.31"), "manylinux_2_31_aarch64", "manylinux_2_17_aarch64"),
        ("linux-x86_64", ("glibc", "2.36"), "manylinux_2_36_x86_64", "manylinux2014_x86_64"),
        ("linux-armv7l", ("glibc", "2.28"), "manylinux_2_28_armv7l", "linux_armv7l"),
        ("linux-aarch64", ("musl", "1.2"), "musllinux_1_2_aarch64", "musllinux_1_1_aarch64"),
        ("linux-aarch64", ("", ""), "manylinux2014_aarch64", "linux_aarch64"),
    ],
)
def test_wheels_fit_the_board(
    platform: str, libc: tuple[str, str], first: str, others: str
) -> None:
    tags = wheel_platforms(BoardPython(version=(3, 9), platform=platform, libc=libc))
    assert tags[0] == first
    assert others in tags
    assert len(set(tags)) == len(tags)


def test_wheels_that_are_there_need_no_internet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    jetson = BoardPython(version=(3, 8), platform="linux-aarch64", libc=("glibc", "2.31"))
    place = tmp_path / "py3.8-linux-aarch64-glibc-2.31"
    with pytest.raises(QsdnnError, match="qsdnn_tiny"):
        download_wheels(["qsdnn_tiny"], jetson, tmp_path, lambda line: None)
    wheel = make_wheel(place, "qsdnn_tiny")
    lines: list[str] = []
    assert download_wheels(["qsdnn_tiny", "gone"], jetson, tmp_path, lines.append) == [wheel]
    assert any("gone" in line for line in lines)


def test_what_is_large_is_installed_only_when_asked_for() -> None:
    from qsdnn_boards.command.setup import _packages

    assert {"tensorrt", "torch"}.isdisjoint(_packages(None))
    assert "onnxruntime" in _packages(None)
    assert _packages(("torch",)) == ["numpy", "torch"]
    assert _packages(("tensorrt",)) == ["numpy", "tensorrt"]
