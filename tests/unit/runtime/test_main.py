"""The command of the runtime."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import qsdnn_runtime
from qsdnn_runtime.__main__ import main
from tests.unit.runtime.onnx_package import Part, model, write_package

ROOT = Path(qsdnn_runtime.__file__).parent


@pytest.fixture
def package(tmp_path):
    nodes = [
        helper.make_node("Gather", ["table", "at"], ["row"], "0:0"),
        helper.make_node("Add", ["row", "x"], ["y"], "1:0"),
    ]
    made = model(
        nodes,
        [("x", "float32", (1, 4)), ("at", "int64", (1,))],
        [("y", "float32", (1, 4))],
        {"table": np.ones((3, 4), np.float32)},
    )
    return write_package(tmp_path / "package", Part("onnxruntime", made))


def test_it_prints_latency(package, capsys):
    assert main([str(package), "--runs", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("test: ")
    assert "median of 3 runs" in out
    assert "onnxruntime, 2 layers" in out


def test_json_holds_every_run(package, tmp_path, capsys):
    feeds = tmp_path / "feeds.npz"
    np.savez(feeds, x=np.zeros((1, 4), np.float32), at=np.array([2]))
    arguments = [str(package), "--json", "--runs", "4", "--threads", "2", "--input", str(feeds)]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "qsdnn.runtime/1"
    assert len(report["runs_ms"]) == 4
    assert report["threads"] == 2
    assert report["outputs"] == {"y": {"type": "float32", "shape": [1, 4]}}
    assert [segment["engine"] for segment in report["segments"]] == ["onnxruntime"]


@pytest.mark.parametrize(
    ("package_name", "feeds", "message"),
    [
        ("absent", None, "no such file or folder"),
        ("text", None, "neither a package nor a manifest"),
        ("package", "absent.npz", "cannot be read"),
        ("package", "text", "not a file of numpy.savez"),
        ("package", "short.npz", "input 'at' is missing"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    package, tmp_path, capsys, package_name, feeds, message
):
    (tmp_path / "text").write_text("hello")
    np.savez(tmp_path / "short.npz", x=np.zeros((1, 4), np.float32))
    more = [] if feeds is None else ["--input", str(tmp_path / feeds)]
    assert main([str(tmp_path / package_name), *more]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_changed_artifact_and_a_missing_engine(package, capsys):
    (file,) = (package / "artifacts").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"!")
    assert main([str(package)]) == 2
    assert "was changed" in capsys.readouterr().err
    file.write_bytes(content)
    path = package / "manifest.json"
    path.write_text(path.read_text().replace('"engine": "onnxruntime"', '"engine": "absent"'))
    assert main([str(package)]) == 1
    assert "no loader for engine 'absent'" in capsys.readouterr().err


def test_runtime_and_package_run_from_zips(package, tmp_path):
    runtime, packed = tmp_path / "runtime.zip", tmp_path / "package.zip"
    for path, root, base in ((runtime, ROOT, ROOT.parent), (packed, package, package)):
        with zipfile.ZipFile(path, "w") as archive:
            for file in root.rglob("*"):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, file.relative_to(base))
    libraries = [p for p in sys.path if "site-packages" in p]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "qsdnn_runtime", str(packed), "--json"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join([str(runtime), *libraries])},
    )
    assert json.loads(done.stdout)["model"] == "test"
    assert done.stderr == ""
