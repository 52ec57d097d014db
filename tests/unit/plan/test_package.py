"""Packages: they run by themselves, and a changed byte is an error."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from qsdnn.board import Package
from qsdnn.errors import InputError, PlanError
from qsdnn.plan import Model, read_plan
from qsdnn.plan.package import is_package, read_package, runtime_archive, write_package
from qsdnn_runtime import PackageError, Session
from qsdnn_runtime.program.package import open_package
from tests.unit.plan.test_document import EXAMPLE
from tests.unit.runtime.onnx_package import Part, model
from tests.unit.runtime.onnx_package import write_package as write_parts

WEIGHTS = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
X = np.ones((1, 8), np.float32)
TARGETS = ("my deploy.zip", "my deploy")
PROGRAM = """
import json, sys
from qsdnn_runtime import Session
import qsdnn_runtime, numpy
with Session(sys.argv[1]) as session:
    (y,) = session.run(None, {"x": numpy.ones((1, 8), numpy.float32)})
ours = sorted(name for name in sys.modules if name.startswith("qsdnn"))
print(json.dumps({"y": y.tolist(), "file": qsdnn_runtime.__file__, "ours": ours}))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "0:0")
    values = [("x", "float32", (1, 8))], [("y", "float32", (1, 8))]
    made = model([node], *values, {"w": WEIGHTS})
    folder = write_parts(tmp_path_factory.mktemp("built"), Part("onnxruntime", made))
    manifest = json.loads((folder / "manifest.json").read_text())
    return Package(manifest=manifest, folder=folder / "artifacts", digest="d")


def _write(built, target, plan=EXAMPLE):
    write_package(built, plan, runtime_archive().content, target)
    return target


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """Where Python finds numpy, onnxruntime and what that needs, and nothing of ours."""
    site = Path(np.__file__).parents[1]
    bare = tmp_path_factory.mktemp("site")
    for name in ("numpy", "numpy.libs", "onnxruntime", "google", "packaging", "flatbuffers"):
        if (site / name).exists():
            (bare / name).symlink_to(site / name)
    return bare


def _python(cwd, *words, paths):
    """Runs Python without its site packages, so that only `paths` are there."""
    return subprocess.run(
        [sys.executable, "-S", "-W", "error", *map(str, words)],
        cwd=cwd,
        env={"PYTHONPATH": os.pathsep.join(map(str, paths)), "TMPDIR": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", TARGETS)
def test_a_package_runs_by_itself_where_there_is_nothing_of_ours(built, empty, tmp_path, name):
    target = _write(built, tmp_path / name)
    cwd = tmp_path / "elsewhere"
    cwd.mkdir()
    ran = _python(cwd, target, "--json", "--runs", 2, paths=[empty])
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["model"] == "test"
    told = _python(cwd, "-c", PROGRAM, target, paths=[target, empty])
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    np.testing.assert_allclose(found["y"], X @ WEIGHTS, rtol=1e-5)
    assert found["file"].startswith(str(target))
    assert {name.split(".")[0] for name in found["ours"]} == {"qsdnn_runtime"}
    assert not list(cwd.glob("qsdnn*"))  # what was unpacked is gone
    usage = _python(cwd, target, "--help", paths=[empty]).stdout
    assert "PACKAGE" not in usage and "--runs" in usage


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_missing_is_told_in_one_line(built, tmp_path, name):
    ran = _python(tmp_path, _write(built, tmp_path / name), paths=[])
    assert ran.returncode == 1
    assert "numpy is not installed: " in ran.stderr and ran.stderr.count("\n") == 1


@pytest.mark.parametrize(("output", "said"), [("/dev/full", "No space left on device"), (None, "")])
def test_an_output_nobody_takes_is_no_traceback(built, empty, tmp_path, output, said):
    target = _write(built, tmp_path / "deploy")
    if output is None:
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(output, os.O_WRONLY)
    with open(writer, "wb") as sink:
        ran = subprocess.run(
            [sys.executable, "-S", target, "--runs", "1"],
            env={"PYTHONPATH": str(empty)},
            stdout=sink,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 1
    assert said in ran.stderr and ran.stderr.count("\n") == bool(said)


def test_equal_packages_are_equal_bytes(built, tmp_path):
    one, two = (_write(built, tmp_path / name) for name in ("one.zip", "two.zip"))
    assert one.read_bytes() == two.read_bytes()
    assert zipfile.ZipFile(one).testzip() is None


@pytest.mark.parametrize("name", TARGETS)
def test_host_and_board_read_what_was_written(built, tmp_path, name):
    target = _write(built, tmp_path / name)
    package = read_package(target, tmp_path)
    assert package.manifest == built.manifest
    assert {p.name for p in package.folder.iterdir()} == set(built.manifest["artifacts"])
    with Session(target) as session:
        np.testing.assert_allclose(session.run(None, {"x": X})[0], X @ WEIGHTS, rtol=1e-5)
        session.verify()


def test_a_changed_byte_of_a_folder_is_an_error(built, tmp_path):
    folder = _write(built, tmp_path / "deploy")
    (weights,) = (folder / "artifacts").iterdir()
    whole = weights.read_bytes()
    position = whole.index(WEIGHTS.tobytes())
    changed = bytearray(whole)
    changed[position] ^= 1
    weights.write_bytes(changed)
    with pytest.raises(PackageError, match=rf"{weights.name} was changed: .* copy the package"):
        Session(folder)
    with pytest.raises(PlanError, match=f"{weights.name} was changed"):
        read_package(folder, tmp_path)
    with Session(folder, verify=False) as session, pytest.raises(PackageError, match="changed"):
        session.run(None, {"x": X})
        session.verify()
    weights.write_bytes(whole)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"threads": 1', '"threads": 2'))
    with pytest.raises(PackageError, match=r"manifest\.json was changed"):
        Session(folder)
    Session(folder, verify=False).close()


def test_a_changed_byte_of_a_zip_is_an_error_or_changes_nothing(built, tmp_path):
    target = _write(built, tmp_path / "deploy.zip")
    whole = target.read_bytes()
    (name,) = built.manifest["artifacts"]
    begin = whole.index(f"artifacts/{name}".encode())
    positions = [*range(begin, len(whole), 97), *range(0, 400, 7), len(whole) - 1]
    refused = 0
    for position in positions:
        target.write_bytes(
            whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :]
        )
        try:
            opened = open_package(target, scratch=tmp_path)
        except PackageError as error:
            refused += 1
            assert "copy the package again" in str(error)
            continue
        assert opened.content == built.manifest
        assert (opened.artifacts / name).read_bytes() == (built.folder / name).read_bytes()
        opened.close()
    assert refused > 5
    assert {path.name for path in tmp_path.iterdir()} == {"deploy.zip"}


def test_a_zip_that_was_cut_short_is_said_to_be_one(built, tmp_path):
    target = _write(built, tmp_path / "deploy.zip")
    whole = target.read_bytes()
    for length in (4, 100, len(whole) // 2, len(whole) - 1):
        cut = tmp_path / "cut"  # whatever it is called
        cut.write_bytes(whole[:length])
        assert is_package(cut)
        with pytest.raises(PackageError, match="no whole zip, as if cut short"):
            Session(cut)
        with pytest.raises(PlanError, match="no whole zip, as if cut short"):
            read_package(cut, tmp_path)


def test_what_is_missing_or_foreign_in_a_zip_is_named(built, tmp_path):
    whole = _write(built, tmp_path / "deploy.zip")
    (name,) = built.manifest["artifacts"]
    for left_out, said in (
        ("manifest.json", "without manifest.json"),
        (name, f"{name} is missing"),
    ):
        part = tmp_path / "part.zip"
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(part, "w") as archive:
            for entry in source.namelist():
                if not entry.endswith(left_out):
                    archive.writestr(entry, source.read(entry))
        with pytest.raises(PackageError, match=said):
            Session(part)


def test_a_disk_too_full_to_unpack_says_what_to_do(built, tmp_path, monkeypatch):
    target = _write(built, tmp_path / "deploy.zip")

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("qsdnn_runtime.program.package.tempfile.mkdtemp", full)
    with pytest.raises(PackageError, match=r"No space left on device.* MB .*TMPDIR"):
        Session(target)


@pytest.mark.parametrize("name", TARGETS)
def test_a_package_replaces_an_older_one_and_nothing_else(built, tmp_path, name):
    target = tmp_path / name
    _write(built, target)
    changed = dataclasses.replace(EXAMPLE, seed=7)
    _write(built, target, changed)
    read_package(target, tmp_path / "..")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").touch()
    with pytest.raises(InputError, match="is no package"):
        _write(built, other)


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("a.tar.gz", r"a folder or a \.zip, not a \.gz", "a.zip"),
        ("missing dir/x.zip", "cannot write", "mkdir -p '"),
        ("missing dir/x", "cannot write", "mkdir -p '"),
    ],
)
def test_a_target_that_cannot_be_is_told_with_what_to_do(built, tmp_path, name, said, hint):
    with pytest.raises(InputError, match=said) as error:
        _write(built, tmp_path / name)
    assert hint in error.value.hint
    assert not list(tmp_path.iterdir())


def test_what_fails_while_writing_leaves_the_older_package(built, tmp_path):
    gone = dataclasses.replace(built, folder=tmp_path / "gone")
    for name in TARGETS:
        target = _write(built, tmp_path / name)
        with pytest.raises(InputError, match="cannot write"):
            _write(gone, target)
        read_package(target, tmp_path / "..")
    assert {path.name for path in tmp_path.iterdir()} == set(TARGETS)


def test_the_plan_of_a_package_finds_its_model(built, tmp_path, monkeypatch):
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "net.onnx").touch()
    monkeypatch.chdir(tmp_path / "desk")
    plan = dataclasses.replace(EXAMPLE, model=Model(path="net.onnx", sha256="0" * 64))
    folder = _write(built, tmp_path / "deploy", plan)
    monkeypatch.chdir("/")
    found = Path(read_plan(folder / "plan.json").model.path)
    assert found.resolve() == tmp_path / "desk" / "net.onnx"


def test_equal_files_give_equal_bytes():
    assert runtime_archive() == runtime_archive.__wrapped__()
    names = zipfile.ZipFile(io.BytesIO(runtime_archive().content)).namelist()
    assert "qsdnn_runtime/server/__main__.py" in names and names == sorted(names)
    assert all(name.startswith("qsdnn_runtime/") and name.endswith(".py") for name in names)


def test_the_agent_starts_from_the_zip_rather_than_from_what_is_installed(tmp_path):
    archive = tmp_path / "runtime.zip"
    archive.write_bytes(runtime_archive().content)
    code = (
        f"import sys; sys.path.insert(0, {str(archive)!r});"
        "import qsdnn_runtime.server as agent; print(agent.__file__)"
    )
    ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert ran.stdout.startswith(str(archive)), ran.stderr
