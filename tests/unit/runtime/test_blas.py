"""The blas engine, host and board half together, against onnxruntime."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsdnn import examples
from tests.unit.runtime.blas_case import (
    Arrays,
    assert_close,
    check_every_primitive,
    graph_of,
    load,
    offers,
    reference,
)
from tests.unit.runtime.operators import NETWORKS, OPERATORS, feeds_of


@pytest.mark.parametrize("case", OPERATORS.values(), ids=OPERATORS.keys())
def test_operator(case: Callable[[], tuple[onnx.ModelProto, Arrays]]) -> None:
    check_every_primitive(*case())


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str, tmp_path: Path) -> None:
    model = examples.build(name)
    feeds = feeds_of(graph_of(model, tmp_path))
    check_every_primitive(model, feeds)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(NETWORKS[:3]), st.data())
def test_any_mix_and_any_outputs(name: str, data: st.DataObject) -> None:
    """Which tensors leave a segment decides what may share memory; no value may depend on it."""
    with tempfile.TemporaryDirectory() as folder:
        graph = graph_of(examples.build(name), Path(folder))
        choices = [data.draw(st.sampled_from(row)) for row in offers(graph)]
        inner = [tensor for layer in graph.layers for tensor in layer.outputs]
        some = [tensor for tensor in inner if data.draw(st.booleans())] or list(graph.outputs)
        feeds = feeds_of(graph)
        wanted = load(graph, choices, Path(folder), inner).call(feeds)
        assert_close(
            load(graph, choices, Path(folder), some).call(feeds),
            {tensor: wanted[tensor] for tensor in some},
        )
        assert_close(wanted, reference(examples.build(name), feeds))


def test_bound_runs_allocate_nothing(tmp_path: Path) -> None:
    graph = graph_of(examples.build("tiny-cnn"), tmp_path)
    executable = load(graph, [row[0] for row in offers(graph)], tmp_path)
    feeds = feeds_of(graph)
    outputs = {n: np.empty(graph.tensors[n].shape or (), np.float32) for n in graph.outputs}
    executable.bind(feeds, outputs)
    executable.run()
    first = {name: value.tobytes() for name, value in outputs.items()}
    tracemalloc.start()
    try:
        executable.run()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            executable.run()
            assert {name: value.tobytes() for name, value in outputs.items()} == first
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1024
    assert peak - before < 16 * 1024  # numpy's own buffers; the smallest image takes 16 KiB
