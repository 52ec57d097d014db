from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn import examples
from qsdnn.model import load_graph
from qsdnn.model.analyze import analyze, peak_activation_bytes
from qsdnn.model.layer import Graph, Layer, Tensor

# Each layer makes one tensor of so many floats and reads some of those before it (0: the input).
Links = list[tuple[int, set[int]]]


@st.composite
def links(draw: st.DrawFn) -> Links:
    count = draw(st.integers(1, 8))
    return [
        (draw(st.integers(1, 9)), draw(st.sets(st.integers(0, index), min_size=1)))
        for index in range(count)
    ]


def graph_of(layers: Links, outputs: set[int]) -> Graph:
    """Tensor t0 is the input (4 floats); layer i makes t(i+1)."""
    sizes = [4, *(size for size, _ in layers)]
    tensors = {
        f"t{i}": Tensor(name=f"t{i}", dtype="float32", shape=(size,))
        for i, size in enumerate(sizes)
    }
    made = [
        Layer(
            index=i,
            name=f"layer{i}",
            kind="conv",
            nodes=(ir.Node("", "Conv", []), ir.Node("", "Relu", [])),
            inputs=tuple(f"t{j}" for j in sorted(reads)),
            outputs=(f"t{i + 1}",),
            macs=1000 * size,
            parameters=10 * size,
            parameter_bytes=40 * size,
            activation_bytes=4 * size,
        )
        for i, (size, reads) in enumerate(layers)
    ]
    return Graph(
        name="made",
        path=Path("made.onnx"),
        sha256="0" * 64,
        layers=tuple(made),
        tensors=tensors,
        inputs=("t0",),
        outputs=tuple(f"t{i}" for i in sorted(outputs)),
        producer={f"t{layer.index + 1}": layer.index for layer in made},
        weights=Path("weights"),
        model=ir.Model(ir.Graph([], [], nodes=[], opset_imports={"": 20}), ir_version=10),
        shapes={"t0": (4,)},
    )


@given(links())
def test_peak_is_that_of_a_simulated_run(layers: Links) -> None:
    """A tensor no layer reads is an output, as in every graph with no dead layer."""
    read = set().union(*(reads for _, reads in layers))
    outputs = {i + 1 for i in range(len(layers))} - read
    graph = graph_of(layers, outputs)
    peak, alive = 0, {"t0"}
    for layer in graph.layers:
        alive |= {*layer.outputs}
        peak = max(peak, sum(graph.tensors[name].size_bytes for name in alive))
        needed = {name for later in graph.layers[layer.index + 1 :] for name in later.inputs}
        alive &= needed | {*graph.outputs}
    assert peak_activation_bytes(graph) == peak


def test_row_of_a_layer() -> None:
    analysis = analyze(graph_of([(8, {0}), (2, {0, 1})], {2}), bits=8)
    row = analysis.rows[1]
    assert row.ops == ("Conv", "Relu")
    assert (row.input_shapes, row.output_shapes) == (((4,), (8,)), ((2,),))
    assert row.parameter_bytes == 20
    assert row.input_bytes == 48
    assert row.intensity == pytest.approx(2 * 2000 / (48 + 20 + 8))
    totals = analysis.totals
    assert (totals.macs, totals.flops, totals.parameters) == (10_000, 20_000, 100)
    assert (totals.parameter_bytes, totals.activation_bytes) == (100, 40)
    assert totals.peak_activation_bytes == 4 * (4 + 8 + 2)


def test_unknown_shapes_count_as_nothing() -> None:
    graph = graph_of([(8, {0})], {1})
    tensors = {"t0": graph.tensors["t0"], "t1": Tensor(name="t1", dtype="", shape=None)}
    layer = Layer(
        index=0, name="odd", kind="other", nodes=(), inputs=("t0",), outputs=("t1",), pinned="loop"
    )
    odd = Graph(
        **{name: getattr(graph, name) for name in Graph.__slots__}
        | {"layers": (layer,), "tensors": tensors}
    )
    analysis = analyze(odd)
    assert analysis.rows[0].output_shapes == (None,)
    assert analysis.rows[0].intensity == 0
    assert analysis.rows[0].pinned == "loop"


# MFLOPs of de Prado et al. 2020, arXiv 2006.05181, tables 1 and 4; by our count for the
# depthwise separable ones (see `qsdnn.examples.small`).
@pytest.mark.parametrize(
    ("name", "mflops"),
    [
        ("cnn", 581.1),
        ("kws1", 223.4),
        ("kws3", 87.6),
        ("kws9", 37.7),
        ("ds_cnn", 74.9),
        ("ds_kws1", 16.1),
        ("ds_kws3", 11.2),
        ("ds_kws9", 8.5),
    ],
)
def test_mflops_of_the_speech_networks(name: str, mflops: float, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.onnx"
    path.write_bytes(examples.build(name).SerializeToString())
    totals = analyze(load_graph(path)).totals
    assert totals.flops / 1e6 == pytest.approx(mflops, rel=0.005)


@pytest.mark.parametrize(
    "name",
    [
        *["squeezenet", "mobilenet-v2", "shufflenet-v2", "efficientnet-b0", "densenet121"],
        *["tiny-cnn", "tiny-multi", "tiny-transformer"],
    ],
)
def test_counts_agree_with_the_builders(name: str, tmp_path: Path) -> None:
    """Two counts by different code: the builder's as it goes, the analyzer's from the file."""
    path = tmp_path / f"{name}.onnx"
    path.write_bytes(examples.build(name).SerializeToString())
    network, totals = examples.EXAMPLES[name].network(), analyze(load_graph(path)).totals
    assert totals.macs == network.macs
    assert totals.parameters == pytest.approx(network.parameters, rel=0.02)
