"""ncnn's board half: algorithms read back bit by bit, and memory."""

import gc
import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from qsdnn.examples import build
from qsdnn_runtime.engine import SegmentSpec
from qsdnn_runtime.program.values import max_error
from tests.unit.runtime.ncnn_network import GENERATOR, LOADER, Network, chain, spec_of
from tests.unit.runtime.onnx_package import model

ncnn = pytest.importorskip("ncnn")

from qsdnn_runtime.engines.ncnn.net import (  # noqa: E402
    as_rows,
    block_channels,
    make_options,
    packed,
    unpacked,
)


@pytest.fixture(scope="module")
def kws(tmp_path_factory):
    return Network(build("kws1"), tmp_path_factory.mktemp("kws"))


def test_three_algorithms_in_one_segment_are_read_back(tmp_path):
    network = Network(chain(3), tmp_path)
    choice = [row[turn] for turn, row in enumerate(network.rows)]
    assert [p.algorithm for p in choice] == ["winograd", "sgemm", "direct"]
    with network.session(choice, profile=True) as session:
        got = session.run(None, network.feeds)
        assert len(session.manifest.segments) == 1
        found = session.applied()
    assert [found[i].primitive for i in range(3)] == [str(p) for p in choice]
    assert [found[i].kernel for i in range(3)] == [f"Convolution({p.algorithm})" for p in choice]
    np.testing.assert_allclose(got[0], network.reference()[0], rtol=0, atol=3e-5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "channels", "size", "attributes"),
    [
        ((3, 3), 32, 12, {}),
        ((3, 3), 17, 7, {}),
        ((3, 3), 12, 5, {}),
        ((3, 3), 64, 1, {}),
        ((3, 3), 32, 13, {"strides": (2, 2)}),
        ((5, 5), 20, 9, {}),
        ((1, 3), 24, 9, {}),
        ((7, 7), 18, 11, {"strides": (2, 2)}),
    ],
)
def test_what_differs_is_offered_and_what_is_offered_differs(
    kernel, channels, size, attributes, threads, tmp_path
):
    network = Network(chain(1, kernel, channels, size, **attributes), tmp_path)
    (row,) = network.rows
    outputs = {}
    for primitive in row:
        with network.session([primitive], profile=True, threads=threads) as session:
            outputs[session.run(None, network.feeds)[0].tobytes()] = primitive
            assert session.applied()[0].primitive == str(primitive)
    assert len(outputs) == len(row) > 1


def test_a_small_convolution_has_one_kernel(tmp_path):
    network = Network(chain(1, (5, 5), channels=8), tmp_path)
    assert [p.algorithm for p in network.rows[0]] == ["auto"]
    with network.session([network.rows[0][0]], profile=True) as session:
        session.run(None, network.feeds)
        assert session.applied()[0].kernel == "Convolution(direct)"


def test_a_mask_that_does_nothing_is_read_back_as_what_ran(tmp_path):
    """Winograd asked of a convolution that has none, as a board's other processor might."""
    network = Network(chain(1, strides=(2, 2)), tmp_path)
    artifact = network.artifact()
    spec = SegmentSpec(artifact, "ncnn", ("x",), ("y",), {}, {0: "ncnn/winograd/fp32"})
    executable = LOADER.load(spec, 1, profile=True)
    executable.call(network.feeds)
    assert executable.applied()[0].primitive == "ncnn/sgemm/fp32"
    executable.close()


def test_times_grow_and_cover_every_layer(kws):
    with kws.session(kws.choice("sgemm"), profile=True) as session:
        session.bind(kws.feeds)
        assert session.layer_times() == dict.fromkeys(range(len(kws.rows)), 0.0)
        session.run_bound()
        first = session.layer_times()
        session.run_bound()
        second = session.layer_times()
    assert all(0 < first[layer] < second[layer] for layer in first)
    got = dict(zip(kws.graph.outputs, kws.reference(), strict=True))
    with kws.session(kws.choice("direct"), profile=True) as session:
        want = dict(zip(kws.graph.outputs, session.run(None, kws.feeds), strict=True))
    assert max_error(got, want) < 1e-5


def test_a_thousand_runs_and_binds_give_the_same_bytes(kws):
    with kws.session(kws.choice("winograd")) as session:
        first = session.run(None, kws.feeds)[0].tobytes()
        for turn in range(1000):
            if turn % 10 == 0:
                outputs = session.bind(kws.feeds).outputs
            session.run_bound()
            (output,) = outputs.values()
            assert output.tobytes() == first


@pytest.mark.parametrize("kind", ["Relu", "Reshape", "Split", "Sigmoid", "Concat", "Transpose"])
def test_inputs_that_ncnn_might_write_on_stay_as_they_are(kind, tmp_path):
    """Memory of the caller's has no count of references, which operators in place look at."""
    shape, more = (1, 4, 5, 7), {}
    inputs, outputs = ["x"], [("y", "float32", shape)]
    if kind == "Reshape":
        inputs, outputs = ["x", "s"], [("y", "float32", (1, 140))]
        more = {"s": np.array([1, 140])}
    elif kind == "Split":
        outputs = [(name, "float32", (1, 2, 5, 7)) for name in ("y", "z")]
    elif kind == "Concat":
        inputs, outputs = ["x", "x"], [("y", "float32", (1, 8, 5, 7))]
    elif kind == "Transpose":
        outputs = [("y", "float32", (1, 7, 5, 4))]
    attributes = {"Split": {"axis": 1}, "Concat": {"axis": 1}, "Transpose": {"perm": [0, 3, 2, 1]}}
    made = helper.make_node(kind, inputs, [o[0] for o in outputs], **attributes.get(kind, {}))
    network = Network(model([made], [("x", "float32", shape)], outputs, more), tmp_path)
    want = network.reference()
    kept = network.feeds["x"].copy()
    with network.session([row[0] for row in network.rows]) as session:
        binding = session.bind(inputs={"x": network.feeds["x"]})
        for _ in range(3):
            session.run_bound()
        for got, wanted in zip(binding.outputs.values(), want, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(network.feeds["x"], kept)


@pytest.mark.parametrize("offset", [0, 1, 4])
@pytest.mark.parametrize("size", [1, 3, 7, 8])
def test_buffers_of_any_alignment_and_size(size, offset, tmp_path):
    network = Network(chain(2, (3, 3), 16, size), tmp_path)
    want = network.reference()[0]

    def buffer(shape):
        block = np.zeros(int(np.prod(shape)) + 64, np.float32)
        start = -block.ctypes.data % 64 // 4 + offset
        return block[start : start + int(np.prod(shape))].reshape(shape)

    x, y = buffer(network.feeds["x"].shape), buffer(want.shape)
    x[:] = network.feeds["x"]
    with network.session([row[0] for row in network.rows]) as session:
        session.bind(inputs={"x": x}, outputs={"y": y})
        session.run_bound()
    np.testing.assert_allclose(y, want, rtol=0, atol=3e-5)


def test_packed_blobs_lie_in_memory_as_the_probe_says():
    pack = block_channels()
    words = LOADER.probe().capabilities
    assert [word for word in words if word.startswith("layout:")] == (
        [f"layout:nchw{pack}c"] if pack > 1 else []
    )
    image = GENERATOR.standard_normal((3 * max(pack, 4), 5, 7)).astype(np.float32)
    for width in {4, max(pack, 4)}:
        blocked = np.ascontiguousarray(image.reshape(-1, width, 5, 7).transpose(0, 2, 3, 1))
        rows = as_rows(blocked.reshape(image.shape), width)
        blob = packed(ncnn.Mat(rows), width)
        assert (blob.w, blob.h, blob.c, blob.elempack) == (7, 5, len(image) // width, width)
        assert unpacked(blob).tobytes() == blocked.tobytes()
        flat = ncnn.convert_packing(blob, 1, make_options(1))
        np.testing.assert_array_equal(np.asarray(flat), image)
        back = ncnn.convert_packing(ncnn.Mat(image), width, make_options(1))
        assert unpacked(back).tobytes() == blocked.tobytes()


@pytest.mark.parametrize("kind", ["Convolution", "Relu"])
@pytest.mark.parametrize("offset", [0, 4])
def test_packed_ports_read_and_write_the_callers_memory(kind, offset, tmp_path):
    """Relu works in place, so that its input is copied; an offset makes buffers unaligned."""
    proto = chain(2, channels=32, size=7)
    if kind == "Relu":
        node = helper.make_node("Relu", ["x"], ["y"])
        image = (1, 32, 7, 7)
        proto = model([node], [("x", "float32", image)], [("y", "float32", image)])
    network = Network(proto, tmp_path)
    document = json.loads(network.artifact().read_bytes())
    for side in ("inputs", "outputs"):
        document[side][0]["pack"] = 4
    executable = LOADER.load(spec_of(document, network), 1)

    def buffer(values):
        block = np.zeros(values.size + 64, np.float32)
        start = -block.ctypes.data % 64 // 4 + offset
        block[start : start + values.size] = values.ravel()
        return block[start : start + values.size].reshape(1, 32, 7, 7)

    def blocked(values):
        return np.ascontiguousarray(values.reshape(8, 4, 7, 7).transpose(0, 2, 3, 1))

    x, y = buffer(blocked(network.feeds["x"])), buffer(np.zeros((1, 32, 7, 7), np.float32))
    kept = x.copy()
    executable.bind({"x": x}, {"y": y})
    for _ in range(3):
        executable.run()
    want = blocked(network.reference()[0])
    np.testing.assert_allclose(y.reshape(want.shape), want, rtol=0, atol=3e-5)
    assert executable.call({"x": x})["y"].tobytes() == y.tobytes()
    np.testing.assert_array_equal(x, kept)
    executable.close()


@pytest.mark.slow
def test_close_gives_the_memory_back(kws):
    def cycle(times):
        for _ in range(times):
            with kws.session(kws.choice("winograd")) as session:
                session.run(None, kws.feeds)
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = cycle(30)
    grown = []
    for _ in range(4):  # the allocator's own pools grow at times; a leak grows each time
        after = cycle(60)
        grown.append(after - before)
        before = after
    assert min(grown) < 1e6, f"{grown} bytes by 60 sessions each"
