"""Networks of one operator, for inputs of every kind."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from qsdnn.model import load_graph
from qsdnn.model.layer import Graph

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def network(folder: Path, *inputs: tuple[str, int, list[int]], output: list[int]) -> Graph:
    """The sum of its inputs, of which each has a name, a type and a shape."""
    names = [name for name, _, _ in inputs]
    casts = [helper.make_node("Cast", [name], [f"{name}.f"], to=FLOAT) for name in names]
    add = helper.make_node("Sum", [f"{name}.f" for name in names], ["sum"])
    relu = helper.make_node("Relu", ["sum"], ["scores"])
    graph = helper.make_graph(
        [*casts, add, relu],
        "net",
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info("scores", FLOAT, output)],
    )
    path = folder / "net.onnx"
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return load_graph(path, workdir=folder)


def classifier(folder: Path, batch: int = 1) -> Graph:
    """One input (batch, 4), one output of the same shape."""
    return network(folder, ("input", FLOAT, [batch, 4]), output=[batch, 4])
