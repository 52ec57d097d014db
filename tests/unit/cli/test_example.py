from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from qsdnn import examples
from qsdnn.cli.example import command
from qsdnn.errors import InputError


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(command, [str(arg) for arg in args])


def refusal(*args: str | Path) -> str:
    """What the error says of a command that must fail on its input."""
    result = invoke(*args)
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


@pytest.mark.parametrize("name", ["ds_kws9", "DS-KWS9", "ShuffleNet"])
def test_the_file_has_the_name_that_was_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(name)
    assert result.exit_code == 0
    assert f"wrote {name}.onnx" in result.stdout
    assert f"next: qsdnn search {name}.onnx\n" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.onnx"]
    onnx.checker.check_model(tmp_path / f"{name}.onnx", full_check=True)


def test_the_next_command_can_be_typed_as_it_is(tmp_path: Path) -> None:
    network, data = tmp_path / "my net.onnx", tmp_path / "a.npz"
    text = invoke("digits", "-o", network, "--data", data).stdout
    assert f"next: qsdnn search '{network}' --calibration {data} --max-drop 1%\n" in text


def test_json_says_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    document = json.loads(invoke("tiny-multi", "-o", path, "--seed", "5", "--json").stdout)
    assert document["schema"] == "qsdnn.example/1"
    assert document["name"] == "tiny-multi"
    assert document["seed"] == 5
    assert document["inputs"] == {"image": [1, 3, 32, 32], "vector": [1, 16]}
    assert document["file"] == str(path)
    assert document["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.read_bytes() == examples.build("tiny-multi", 5).SerializeToString()


@pytest.mark.parametrize("args", [(), ("--list",)])
def test_lists_every_network(args: tuple[str, ...]) -> None:
    text = invoke(*args).stdout
    assert all(name in text for name in examples.names())
    document = json.loads(invoke(*args, "--json").stdout)
    assert [record["name"] for record in document["examples"]] == list(examples.names())


def test_replaces_a_file_only_when_forced(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_text("mine")
    assert "--force" in refusal("tiny-cnn", "-o", path)
    assert path.read_text() == "mine"
    assert invoke("tiny-cnn", "-o", path, "--force").exit_code == 0
    onnx.checker.check_model(path)


def test_a_forced_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.onnx", tmp_path / "link.onnx"
    target.write_text("old")
    link.symlink_to(target)
    assert invoke("tiny-cnn", "-o", link, "--force").exit_code == 0
    assert link.is_symlink()
    onnx.checker.check_model(target)


def test_data_comes_with_a_trained_network(tmp_path: Path) -> None:
    network, data = tmp_path / "a.onnx", tmp_path / "a.npz"
    result = invoke("digits", "-o", network, "--data", data)
    assert result.exit_code == 0 and f"wrote {data}" in result.stdout
    with np.load(data) as arrays:
        assert arrays["input"].shape == (899, 1, 16, 16) and arrays["labels"].shape == (899,)
    again = invoke("digits", "-o", network, "--data", data, "--force", "--json")
    document = json.loads(again.stdout)
    assert document["data"] == str(data)
    assert document["sha256"] == hashlib.sha256(network.read_bytes()).hexdigest()
    assert "--force" in refusal("digits", "-o", tmp_path / "b.onnx", "--data", data)
    assert "cannot hold both" in refusal("digits", "-o", "a", "--data", "a")
    assert "resnet50 has random weights" in refusal("resnet50", "-o", tmp_path / "r", "--data", "d")
    assert {path.name for path in tmp_path.iterdir()} == {"a.onnx", "a.npz"}


def test_bad_input_is_an_error_with_a_way_on(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert "did you mean 'resnet18'" in refusal("resnet-19")
    assert "cannot write" in refusal("tiny-cnn", "-o", tmp_path / "none" / "a.onnx")
    assert "cannot write" in refusal("tiny-cnn", "-o", file / "a.onnx")
    assert "not a regular file" in refusal("tiny-cnn", "-o", tmp_path, "--force")
    assert "not a regular file" in refusal("tiny-cnn", "-o", "/dev/null", "--force")
    assert invoke("tiny-cnn", "--seed", "-1").exit_code == 2


def test_help_has_examples() -> None:
    assert "qsdnn example resnet50" in invoke("--help").stdout
