"""Artifacts of the blas engine: what is not a program is refused, and never crashes."""

from __future__ import annotations

import base64
import copy
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsdnn_runtime.engine import EngineError, SegmentSpec
from qsdnn_runtime.engines.blas import LOADER, openblas
from qsdnn_runtime.engines.blas.activation import PASSES
from qsdnn_runtime.engines.blas.kernel import Op, Operand
from qsdnn_runtime.engines.blas.loader import BlasExecutable

WEIGHTS = "weights.bin"
X, Y = (1, 2, 6, 5), (1, 3 * 3 * 2)


def node(kind: str, inputs: list[str], output: str, /, **attributes: Any) -> dict[str, Any]:
    algorithm = attributes.pop("algorithm", "numpy")
    spec = {"kind": kind, "algorithm": algorithm, "inputs": inputs, "outputs": [output]}
    return {**spec, "attributes": attributes}


def document() -> dict[str, Any]:
    """A program of a convolution, a residual, a pool and a view, with both kinds of constants."""
    bias = base64.b64encode(np.arange(3, dtype="<f4").tobytes()).decode()
    image = {"dtype": "float32", "shape": [1, 3, 6, 5]}
    same = {"strides": [1, 1], "dilations": [1, 1], "begins": [1, 1], "group": 1}
    pool = {"kernel": [2, 2], "strides": [2, 2], "dilations": [1, 1], "begins": [0, 0]}
    average = {**pool, "ends": [0, 0], "count_include_pad": 0}
    return {
        "schema": "qsdnn.blas/1",
        "weights": WEIGHTS,
        "inputs": ["x"],
        "outputs": ["y"],
        "tensors": {
            "x": {"dtype": "float32", "shape": list(X)},
            **{name: image for name in "abc"},
            "d": {"dtype": "float32", "shape": [1, 3, 3, 2]},
            "y": {"dtype": "float32", "shape": list(Y)},
        },
        "constants": {
            "w": {"dtype": "float32", "shape": [3, 2, 3, 3], "offset": 64},
            "bias": {"dtype": "float32", "shape": [3], "data": bias},
        },
        "layers": [
            {
                "index": 4,
                "ops": [node("Conv", ["x", "w", "bias"], "a", algorithm="im2row", **same)],
            },
            {"index": 5, "ops": [node("Sigmoid", ["a"], "b"), node("Add", ["a", "b"], "c")]},
            {"index": 7, "ops": [node("AveragePool", ["c"], "d", **average)]},
            {"index": 8, "ops": [node("Reshape", ["d"], "y")]},
        ],
    }


def load(
    content: Any, folder: Path, weights: bytes = bytes(64 + 4 * 54), profile: bool = False
) -> BlasExecutable:
    path = folder / "program.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    (folder / WEIGHTS).write_bytes(weights)
    return LOADER.load(
        SegmentSpec(path, "blas", ("x",), ("y",), {}, {}), threads=1, profile=profile
    )


def buffers() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    return {"x": np.ones(X, np.float32)}, {"y": np.zeros(Y, np.float32)}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything in a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


def test_runs(tmp_path: Path) -> None:
    executable = load(document(), tmp_path)
    inputs, outputs = buffers()
    executable.bind(inputs, outputs)
    executable.run()
    channel = np.arange(3) + 1 / (1 + np.exp(-np.arange(3)))  # weights are zeros: bias alone
    np.testing.assert_allclose(outputs["y"].reshape(3, 6), np.tile(channel[:, None], 6), rtol=1e-6)
    assert {i: a.primitive for i, a in executable.applied().items()} == {
        4: "blas/im2row/fp32",
        **dict.fromkeys((5, 7, 8), "blas/numpy/fp32"),
    }


def test_profile(tmp_path: Path) -> None:
    executable = load(document(), tmp_path, profile=True)
    executable.bind(*buffers())
    executable.run()
    once = executable.layer_times()
    executable.run()
    twice = executable.layer_times()
    assert set(once) == set(twice) == set(executable.applied()) == {4, 5, 7, 8}
    assert all(0 <= once[index] <= twice[index] for index in once)
    assert executable.applied()[4].kernel == "im2row+sgemm"
    assert executable.applied()[5].kernel == "sigmoid, add"


@settings(max_examples=300, deadline=None)
@given(
    place=st.sampled_from(list(places(document()))),
    junk=st.one_of(
        st.none(),
        st.integers(-3, 70),
        st.sampled_from([2**31, -(2**63), 1e300, math.nan, "x", "w", "Conv", [], [1], {}, "AAA="]),
    ),
    delete=st.booleans(),
)
def test_any_change_is_refused_or_runs(place: tuple[Any, ...], junk: Any, delete: bool) -> None:
    changed = copy.deepcopy(document())
    *parents, last = place
    target: Any = changed
    for key in parents:
        target = target[key]
    if delete:
        del target[last]
    else:
        target[last] = junk
    with tempfile.TemporaryDirectory() as folder:
        try:
            executable = load(changed, Path(folder))
            executable.bind(*buffers())
            executable.run()
        except EngineError as error:
            assert str(error)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema": "qsdnn.blas/2"}', bytes(100)],
)
def test_not_a_program(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(EngineError):
        load(content, tmp_path)


@pytest.mark.parametrize("weights", [b"", bytes(64 + 4 * 54 - 1)])
def test_short_weights(weights: bytes, tmp_path: Path) -> None:
    with pytest.raises(EngineError):
        load(document(), tmp_path, weights)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"absent\.json"):
        LOADER.load(SegmentSpec(tmp_path / "absent.json", "blas", (), (), {}, {}), threads=1)
    with pytest.raises(EngineError):
        load({**document(), "weights": "absent.bin"}, tmp_path)


@pytest.mark.parametrize(
    "x",
    [np.ones(X), np.ones((1, 2, 5, 6), "f"), np.ones((*X[:3], 10), "f")[..., ::2], None],
    ids=["type", "shape", "order", "missing"],
)
def test_buffers_that_do_not_fit(x: np.ndarray | None, tmp_path: Path) -> None:
    executable = load(document(), tmp_path)
    with pytest.raises(EngineError, match="x"):
        executable.bind({} if x is None else {"x": x}, buffers()[1])
    with pytest.raises(EngineError, match="before bind"):
        executable.run()


def test_erf_is_within_its_bound() -> None:
    x = np.linspace(-6, 6, 20001, dtype=np.float32)
    y, room = np.empty_like(x), [np.empty_like(x) for _ in range(4)]
    operand = Operand("x", x.shape, "float32")
    for step in PASSES["Erf"](Op("Erf", "numpy", (operand,), (operand,), {}), x, y, room):
        step()
    assert np.abs(y - [math.erf(value) for value in x.tolist()]).max() < 1e-6


def test_threads_reach_openblas() -> None:
    before = openblas.threads()
    if before is None:
        pytest.skip("numpy is not linked to OpenBLAS here")
    try:
        openblas.set_threads(1)
        assert openblas.threads() == 1
    finally:
        openblas.set_threads(before)


def test_probe() -> None:
    info = LOADER.probe()
    assert info is not None
    assert info.version.startswith("numpy-" + np.__version__)
    assert info.capabilities[0] == "FP32"
