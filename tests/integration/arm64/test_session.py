"""A user and a new board, from its address to a plan. Each test goes on from the last."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from qsdnn.examples import build
from tests.integration.board.server import command_of, wait_until

from .board import EmulatedBoard
from .conftest import Ran

PYTHON = {"bookworm": "3.11.", "bullseye": "3.9."}
# One from the board's own package index, one with the wheels that this machine downloads for it.
SETUP = {"bookworm": (), "bullseye": ("--wheelhouse", "wheels")}
ENGINES = ("blas", "litert", "lne", "onnxruntime", "openvino")
MIXED = ("onnxruntime/gemm/fp32", "blas/im2col/fp32", "lne/direct/fp32", "openvino/auto/fp32")

Run = Callable[..., Ran]


def test_its_host_key_is_shown_and_accepted(qsdnn: Run, board: EmulatedBoard) -> None:
    lab = ("boards", "add", "lab", "--host", "127.0.0.1", "--port", board.port)
    lab = (*lab, "--user", board.user, "--identity-file", board.user_key)
    refused = qsdnn(*lab)
    assert refused.code == 3 and "SHA256:" in refused.err and "--accept-host-key" in refused.err
    assert qsdnn(*lab, "--accept-host-key").code == 0


def test_a_board_without_numpy_is_told_how_to_get_it(qsdnn: Run, board: EmulatedBoard) -> None:
    found = qsdnn("boards", "check", "lab")
    assert found.code == 1 and "no numpy" in found.out and "boards setup lab" in found.out


def test_setup_installs_the_engines(qsdnn: Run, board: EmulatedBoard, release: str) -> None:
    assert qsdnn("boards", "setup", "lab", *SETUP[release]).code == 0
    checked = qsdnn("boards", "check", "lab", "--json")
    findings = {found["item"]: found for found in json.loads(checked.out)["findings"]}
    assert checked.code == 0
    assert findings["python"]["found"].startswith(PYTHON[release])
    assert findings["cores"]["found"].endswith("arm 0x41/0xd07/0x1")
    for engine in ENGINES:
        assert findings[engine]["verdict"] == "ok", findings[engine]
    assert platform.machine() == "x86_64"  # for what follows: the host is another


def test_a_search_and_its_replay(qsdnn: Run, board: EmulatedBoard, home: Path) -> None:
    (home / "kws9.onnx").write_bytes(build("kws9").SerializeToString())
    searched = qsdnn("search", "kws9.onnx", "--board", "lab", "--budget", "4m")
    assert searched.code == 0, searched.err
    assert "outputs equal onnxruntime's" in searched.out and ", 0 failed" in searched.out
    plan = json.loads((home / "plan.json").read_text())
    assert plan["accuracy"]["plan"] < 1e-3
    tried = {baseline["name"].split("/")[0] for baseline in plan["baselines"]}
    assert tried >= set(ENGINES)
    replayed = qsdnn("replay", "plan.json", "--board", "lab", "--json")
    assert replayed.code == 0 and json.loads(replayed.out)["verified"], replayed.err


def test_a_plan_of_several_engines(qsdnn: Run, board: EmulatedBoard, home: Path) -> None:
    plan = json.loads((home / "plan.json").read_text())
    for index, layer in enumerate(plan["layers"]):
        layer["primitive"] = MIXED[min(index // 2, 3)]
    (home / "mixed.json").write_text(json.dumps(plan))
    replayed = qsdnn("replay", "mixed.json", "--board", "lab", "--json")
    assert replayed.code == 0, replayed.err
    found = json.loads(replayed.out)
    assert found["verified"] and found["segments"] == 4


def test_a_network_of_images_in_native_code(qsdnn: Run, board: EmulatedBoard, home: Path) -> None:
    (home / "squeezenet.onnx").write_bytes(build("squeezenet").SerializeToString())
    options = ("--board", "lab", "--engines", "lne", "--budget", "1m", "-o", "squeezenet.json")
    searched = qsdnn("search", "squeezenet.onnx", *options)
    assert searched.code == 0, searched.err
    replayed = qsdnn("replay", "squeezenet.json", "--board", "lab", "--json")
    assert replayed.code == 0 and json.loads(replayed.out)["verified"], replayed.err


def test_a_model_that_is_newer_than_its_onnxruntime(
    qsdnn: Run, board: EmulatedBoard, home: Path
) -> None:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 16, 16]) for name in "xy"
    ]
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("HardSwish", ["p"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "new", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 25)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=13), home / "new.onnx")
    options = ("--engines", "onnxruntime", "--budget", "10s", "-o", "new.json", "--json")
    searched = qsdnn("search", "new.onnx", "--board", "lab", *options)
    assert searched.code == 0 and json.loads(searched.out)["verified"], searched.err


def test_nothing_of_ours_runs_on_it_afterwards(board: EmulatedBoard) -> None:
    wait_until(lambda: not any("qsdnn_runtime" in command_of(pid) for pid in board.processes()))
