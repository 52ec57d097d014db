"""What holds for every board, whatever its link: those that ``QSDNN_CONFORMANCE_BOARDS`` names.

QSDNN_CONFORMANCE_BOARDS=local,my-board pytest --pyargs qsdnn_conformance.test_boards
"""

import dataclasses
import hashlib
import os

import numpy as np
import onnx
import onnxruntime
import pytest

from qsdnn import examples
from qsdnn.board import MeasureOptions, Package, Reference, State, Trust, open_board
from qsdnn.engine import load_engines
from qsdnn.model import load_graph
from qsdnn.plan.build import Builder

BOARDS = os.environ.get("QSDNN_CONFORMANCE_BOARDS", "local").split(",")
NETWORK = "tiny-cnn"
SHORT = MeasureOptions(min_runs=5, max_runs=30, budget_s=0.5, again=0)
TOLERANCE = 1e-4


@pytest.fixture(params=BOARDS)
def board(request):
    with open_board(request.param) as board:
        yield board


class Network:
    """A network, built for onnxruntime, and what it gives in this process."""

    def __init__(self, folder):
        onnx.save(examples.build(NETWORK), folder / "model.onnx")
        self.graph = load_graph(folder / "model.onnx", workdir=folder)
        self.package = Builder(self.graph, load_engines(["onnxruntime"]), folder).reference()
        (self.input,), (self.output,) = self.graph.inputs, self.graph.outputs
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"))

    def inputs(self, runs):
        shape = self.graph.tensors[self.input].shape
        return np.random.default_rng(0).standard_normal((runs, *shape)).astype(np.float32)

    def outputs(self, inputs):
        return np.stack([self.session.run(None, {self.input: one})[0] for one in inputs])

    def reference(self, factor=1.0):
        inputs = self.inputs(1)
        outputs = {self.output: factor * self.outputs(inputs)[0]}
        return Reference(feeds={self.input: inputs[0]}, outputs=outputs, tolerance=TOLERANCE)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return Network(tmp_path_factory.mktemp("network"))


def broken(package):
    """The same, with a file that no engine takes."""
    folder = package.folder.parent / f"{package.folder.name}-broken"
    folder.mkdir(exist_ok=True)
    artifacts = {}
    for name in package.manifest["artifacts"]:
        content = b"no model: " + name.encode()
        digest = hashlib.sha256(content).hexdigest()
        (folder / name).write_bytes(content)
        artifacts[name] = {"sha256": digest, "size_bytes": len(content)}
    manifest = {**package.manifest, "artifacts": artifacts}
    return Package(manifest=manifest, folder=folder, digest="b" * 64)


def test_it_says_what_it_is_and_always_the_same(board):
    info = board.probe()
    assert info == board.probe() and info.fingerprint and info.name == board.name
    assert "onnxruntime" in info.engines and info.engines["onnxruntime"].version
    assert {"cpu", "cores", "memory_mb", "os"} <= set(info.facts)


def test_a_package_has_one_whole_record(board, network):
    told = []
    options = dataclasses.replace(SHORT, profile=True, memory=True)
    (record,) = board.measure([network.package], network.reference(), options, told.append)
    assert record.state is State.OK and record.error == "" and record.trust in Trust
    assert SHORT.min_runs <= len(record.runs_ms) == len(record.segments_ms) <= SHORT.max_runs
    assert min(record.runs_ms) > 0 and record.load_ms > 0
    assert record.ci95_ms[0] <= record.latency_ms <= record.ci95_ms[1]
    assert record.max_error < TOLERANCE and record.peak_memory_mb > 1
    assert told


def test_each_package_has_its_record_in_their_order(board, network):
    packages = [network.package, broken(network.package), network.package]
    first, second, third = board.measure(packages, network.reference(), SHORT)
    assert first.state is third.state is State.OK
    assert second.state in (State.UNSUPPORTED, State.CRASHED) and second.error
    assert not second.runs_ms


def test_nothing_is_measured_of_nothing(board, network):
    assert board.measure([], network.reference(), SHORT) == []
    assert board.evaluate([], {network.input: network.inputs(1)}) == []


def test_wrong_outputs_are_seen(board, network):
    (record,) = board.measure([network.package], network.reference(factor=1.5), SHORT)
    assert record.state is State.WRONG_OUTPUT and record.error


def test_outputs_are_those_of_onnxruntime_in_this_process(board, network):
    inputs = network.inputs(4)
    (found,) = board.evaluate([network.package], {network.input: inputs})
    assert found.state is State.OK
    np.testing.assert_allclose(found.outputs[network.output], network.outputs(inputs), rtol=1e-4,
                               atol=1e-5)  # fmt: skip
    once = board.run(network.package, {network.input: inputs[2]})
    np.testing.assert_allclose(once[network.output], network.outputs(inputs[2:3])[0], rtol=1e-4,
                               atol=1e-5)  # fmt: skip


def test_a_package_that_does_not_load_is_evaluated_as_such(board, network):
    packages = [broken(network.package), network.package]
    bad, good = board.evaluate(packages, {network.input: network.inputs(2)})
    assert bad.state in (State.UNSUPPORTED, State.CRASHED) and bad.error and not bad.outputs
    assert good.state is State.OK


def test_after_its_end_it_can_be_used_again(network):
    for name in BOARDS:
        board = open_board(name)
        for _ in range(2):
            with board:
                (record,) = board.measure([network.package], network.reference(), SHORT)
                assert record.state is State.OK
