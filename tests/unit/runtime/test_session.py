"""Sessions over real engines: values, buffers, errors, and what is left when they are closed."""

import gc
import json
import threading
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from qsdnn_runtime import EngineError, FeedError, PackageError, Session
from tests.unit.runtime.onnx_package import Part, model, write_package

FAMILIES = ("onnxruntime", "onnxruntime/gemm", "openvino/fp32")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = ("bool", *INTEGERS, "float16", "float64")
SHAPE = (1, 16, 6, 6)
GENERATOR = np.random.default_rng(0)


def _convolution(layer, source, target, extra=()):
    """y = Relu(Conv(x)), and, as further outputs, what `extra` names: nodes from `target`."""
    weight = GENERATOR.standard_normal((16, 16, 3, 3)).astype(np.float32) / 12
    nodes = [
        helper.make_node("Conv", [source, "w"], [f"{target}_c"], f"{layer}:0", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", [f"{target}_c"], [target], f"{layer}:1"),
    ]
    outputs = [(target, "float32", SHAPE)]
    for position, (op, name, dtype, shape) in enumerate(extra, start=2):
        nodes.append(helper.make_node(op, [target], [name], f"{layer}:{position}"))
        outputs.append((name, dtype, shape))
    return model(nodes, [(source, "float32", SHAPE)], outputs, {"w": weight})


def _alone(made, feeds):
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def _input():
    return GENERATOR.standard_normal(SHAPE).astype(np.float32)


@pytest.fixture
def chain(tmp_path):
    """Three segments of three families: x -> a -> b -> y."""
    names = ["x", "a", "b", "y"]
    models = [_convolution(i, names[i], names[i + 1]) for i in range(3)]
    folder = write_package(tmp_path, *map(Part, FAMILIES, models))

    def reference(x):
        for made in models:
            (x,) = _alone(made, {made.graph.input[0].name: x})
        return x

    return folder, reference


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(families=st.lists(st.sampled_from(FAMILIES), min_size=1, max_size=7))
def test_any_chain_of_engines_equals_onnxruntime(tmp_path, families):
    models = [_convolution(i, f"t{i}", f"t{i + 1}") for i in range(len(families))]
    folder = write_package(tmp_path, *map(Part, families, models))
    x = want = _input()
    for i, made in enumerate(models):
        (want,) = _alone(made, {f"t{i}": want})
    with Session(folder) as session:
        (got,) = session.run(None, {"t0": x})
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
        assert session.run([f"t{len(families)}"], {"t0": x})[0].tobytes() == got.tobytes()


def test_it_describes_itself_as_onnxruntime_does(chain):
    with Session(chain[0]) as session:
        (x,), (y,) = session.get_inputs(), session.get_outputs()
    assert (x.name, x.shape, x.type) == ("x", list(SHAPE), "tensor(float)")
    assert (y.name, y.shape, y.type) == ("y", list(SHAPE), "tensor(float)")


def test_results_of_a_run_are_the_callers_own(chain):
    folder, reference = chain
    first, second = _input(), _input()
    with Session(folder) as session:
        (kept,) = session.run(None, {"x": first})
        copy = kept.copy()
        session.run(None, {"x": second})
    assert kept.tobytes() == copy.tobytes()
    np.testing.assert_allclose(kept, reference(first), atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bound_run_reads_and_writes_the_callers_memory(tmp_path, family):
    made = _convolution(0, "x", "y")
    x, y = _input(), np.empty(SHAPE, np.float32)
    (want,) = _alone(made, {"x": x})
    with Session(write_package(tmp_path, Part(family, made))) as session:
        bound = session.bind(inputs={"x": x}, outputs={"y": y})
        assert bound.inputs["x"] is x
        assert bound.outputs["y"] is y
        session.run_bound()
        np.testing.assert_allclose(y, want, atol=1e-4)
        once = y.tobytes()
        for _ in range(1000):
            y.fill(-1)
            session.run_bound()
            assert y.tobytes() == once
        x *= 2
        session.run_bound()
        np.testing.assert_allclose(y, _alone(made, {"x": x})[0], atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_arrays_the_caller_lets_go_of_stay_alive(tmp_path, family):
    made = _convolution(0, "x", "y")
    x = _input()
    (want,) = _alone(made, {"x": x})
    with Session(write_package(tmp_path, Part(family, made))) as session:
        bound = session.bind(inputs={"x": x.copy()}, outputs={"y": np.empty(SHAPE, np.float32)})
        gc.collect()
        litter = [np.full(SHAPE, np.nan, np.float32) for _ in range(64)]
        session.run_bound()
        np.testing.assert_allclose(bound.outputs["y"], want, atol=1e-4)
        del litter
    gc.collect()
    np.testing.assert_allclose(bound.outputs["y"], want, atol=1e-4)


def test_a_run_by_value_leaves_bound_arrays_alone(chain):
    folder, reference = chain
    x, y, other = _input(), np.zeros(SHAPE, np.float32), _input()
    before = x.copy()
    with Session(folder) as session:
        session.bind(inputs={"x": x}, outputs={"y": y})
        (got,) = session.run(None, {"x": other})
    np.testing.assert_allclose(got, reference(other), atol=1e-4)
    assert x.tobytes() == before.tobytes()
    assert not y.any()


def test_the_loop_over_the_sessions_own_buffers(chain):
    folder, reference = chain
    x, other = _input(), _input()
    with Session(folder) as session:
        bound = session.bind({"x": x})
        total_ns, segments_ns = session.run_timed()
        np.testing.assert_allclose(bound.outputs["y"], reference(x), atol=1e-4)
        assert len(segments_ns) == 3
        assert min(segments_ns) > 0
        assert sum(segments_ns) == total_ns
        bound.inputs["x"][:] = other
        session.run_bound()
        np.testing.assert_allclose(bound.outputs["y"], reference(other), atol=1e-4)


def test_calls_of_many_threads_do_not_mix(chain):
    folder, reference = chain
    xs = [_input() for _ in range(4)]
    wants = [reference(x) for x in xs]
    wrong = []
    with Session(folder) as session:

        def loop(x, want):
            for _ in range(25):
                (got,) = session.run(None, {"x": x})
                if not np.allclose(got, want, atol=1e-4):
                    wrong.append(got)

        threads = [threading.Thread(target=loop, args=pair) for pair in zip(xs, wants, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_and_shape_passes_through(tmp_path, dtype, shape):
    parts = [
        Part(
            "onnxruntime",
            model(
                [helper.make_node("Identity", [a], [b], f"{i}:0")],
                [(a, dtype, shape)],
                [(b, dtype, shape)],
            ),
        )
        for i, (a, b) in enumerate((("x", "h"), ("h", "y")))
    ]
    x = (GENERATOR.random(shape) * 100).astype(dtype)
    with Session(write_package(tmp_path, *parts)) as session:
        (got,) = session.run(None, {"x": x})
    assert got.dtype == x.dtype
    assert got.shape == shape
    np.testing.assert_array_equal(got, x)


def test_a_network_without_inputs_runs(tmp_path):
    made = model(
        [helper.make_node("Relu", ["w"], ["y"], "0:0")],
        [],
        [("y", "float32", (2,))],
        {"w": np.array([-1, 2], np.float32)},
    )
    with Session(write_package(tmp_path, Part("onnxruntime", made))) as session:
        np.testing.assert_array_equal(session.run(None, {})[0], [0, 2])
        bound = session.bind()
        session.run_bound()
        np.testing.assert_array_equal(bound.outputs["y"], [0, 2])


def test_what_no_buffer_can_hold_goes_by_value(tmp_path):
    """A convolution, then NonZero of its output: static and dynamic outputs in one segment."""
    first = _convolution(0, "x", "a")
    second = model(
        [
            helper.make_node("Relu", ["a"], ["y"], "1:0"),
            helper.make_node("NonZero", ["a"], ["where"], "1:1"),
            helper.make_node("Identity", ["text"], ["same"], "1:2"),
        ],
        [("a", "float32", SHAPE), ("text", "string", (2,))],
        [("y", "float32", SHAPE), ("where", "int64", (4, "n")), ("same", "string", (2,))],
    )
    parts = (Part("openvino/fp32", first), Part("onnxruntime/gemm", second))
    x, text = _input(), np.array(["a", "bc"], dtype=object)
    (want,) = _alone(first, {"x": x})
    with Session(write_package(tmp_path, *parts)) as session:
        y, where, same = session.run(None, {"x": x, "text": text})
        np.testing.assert_allclose(y, want, atol=1e-4)
        np.testing.assert_array_equal(where, np.nonzero(y))
        assert list(same) == ["a", "bc"]
        bound = session.bind({"x": -x, "text": text})
        assert bound.outputs["where"] is None
        session.run_timed()
        np.testing.assert_array_equal(bound.outputs["where"], np.nonzero(bound.outputs["y"]))
        with pytest.raises(FeedError, match="'text' has no fixed shape"):
            session.bind(inputs={"text": text})


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "input 'x' is missing; needed: 'x'"),
        ({"x": 0, "z": 0}, "unknown input 'z'; known: 'x'"),
        ({"x": np.zeros(SHAPE)}, "input 'x': expected float32, got float64"),
        ({"x": np.zeros((1, 2), np.float32)}, r"expected shape \[1, 16, 6, 6\], got \[1, 2\]"),
    ],
)
def test_feeds_that_do_not_fit_are_named(chain, feeds, message):
    with Session(chain[0]) as session:
        with pytest.raises(FeedError, match=message):
            session.run(None, feeds)
        with pytest.raises(FeedError, match="unknown output 'q'; known: 'y'"):
            session.run(["q"], {"x": _input()})


def test_arrays_that_engines_cannot_use_in_place_are_refused(chain):
    locked = _input()
    locked.flags.writeable = False
    with Session(chain[0]) as session:
        for array in (locked, np.asfortranarray(_input()), [1.0]):
            with pytest.raises(FeedError, match="'x': "):
                session.bind(inputs={"x": array})
        with pytest.raises(FeedError, match="cannot bind 'a'"):
            session.bind(outputs={"a": _input()})


def test_a_zip_is_unpacked_for_the_life_of_the_session(chain, tmp_path, monkeypatch):
    folder, reference = chain
    path, scratch = tmp_path / "package.zip", tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with zipfile.ZipFile(path, "w") as archive:
        for file in (folder / "manifest.json", *(folder / "artifacts").iterdir()):
            archive.write(file, file.relative_to(folder))
        archive.writestr("qsdnn_runtime/__init__.py", "")
    x = _input()
    session = Session(path)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], reference(x), atol=1e-4)
    session.verify()
    assert not list(scratch.iterdir())  # the engines have loaded it
    session.bind(inputs={"x": x})
    session.run_bound()
    session.close()
    session.close()
    assert not list(scratch.iterdir())
    with pytest.raises(RuntimeError, match="closed"):
        session.run(None, {"x": x})
    session = Session(path, profile=True)
    (unpacked,) = scratch.glob("qsdnn-package-*")
    assert {item.name for item in unpacked.iterdir()} == set(session.manifest.artifacts)
    assert session.applied()
    del session
    gc.collect()
    assert not list(scratch.iterdir())


def test_a_manifest_may_stand_apart_from_its_artifacts(chain, tmp_path):
    folder, _ = chain
    content = json.loads((folder / "manifest.json").read_text())
    apart = (folder / "artifacts").rename(tmp_path / "apart")
    for source in (content, folder / "manifest.json"):
        with Session(source, artifacts=apart) as session:
            session.run(None, {"x": _input()})
    with pytest.raises(PackageError, match="needs artifacts="):
        Session(content)
    with pytest.raises(PackageError, match="is missing in"):
        Session(folder)


def test_artifacts_that_were_cut_or_changed_are_found(chain):
    folder, _ = chain
    path = next((folder / "artifacts").iterdir())
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(PackageError, match="was changed"):
        Session(folder)
    path.write_bytes(content[:-1])
    with pytest.raises(PackageError, match=f"has {len(content) - 1} bytes"):
        Session(folder)


@pytest.mark.parametrize("name", ["absent", "text.zip", "cut.zip", "empty"])
def test_what_is_no_package_is_refused(tmp_path, name):
    path = tmp_path / name
    if name == "text.zip":
        path.write_text("hello")
    elif name == "cut.zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("other", "x")
    elif name == "empty":
        path.mkdir()
    with pytest.raises(PackageError, match=name):
        Session(path)


def test_an_engine_that_is_not_there_or_refuses_is_named(tmp_path):
    made = _convolution(0, "x", "y")
    folder = write_package(tmp_path, Part("onnxruntime", made))
    content = json.loads((folder / "manifest.json").read_text())
    content["segments"][0]["engine"] = "absent"
    with pytest.raises(EngineError, match="no loader for engine 'absent'"):
        Session(content, artifacts=folder / "artifacts")
    (file,) = (folder / "artifacts").iterdir()
    for engine, family in (("onnxruntime", "onnxruntime/gemm"), ("openvino", "openvino/fp32")):
        file.write_bytes(b"x" * file.stat().st_size)
        content["segments"][0].update(engine=engine, family=family)
        with pytest.raises(EngineError, match=f"{engine}, layers 'layer0' to 'layer0': "):
            Session(content, artifacts=folder / "artifacts", verify=False)


@pytest.mark.slow
def test_loading_and_closing_again_and_again_leaves_nothing(chain):
    """Memory, files and threads.

    An allocator may keep a piece of 1 MiB now and then; what a session leaves is left each time.
    """

    def state():
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files = len(list(Path("/proc/self/fd").iterdir()))
        return pages * 4096, files, threading.active_count()

    def load(profile):
        with Session(chain[0], profile=profile) as session:
            session.run(None, {"x": _input()})

    for count in range(20):
        load(profile=count % 4 == 0)
    grown = []
    for _ in range(3):
        bytes_before, *before = state()
        for count in range(20):
            load(profile=count % 4 == 0)
        bytes_after, *after = state()
        assert before == after
        grown.append(bytes_after - bytes_before)
    assert min(grown) < 1 << 19, grown
