"""Packages of ONNX models, one a segment, written without the optimizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

PRIMITIVES = {
    "onnxruntime": "onnxruntime/nchwc/fp32",
    "onnxruntime/gemm": "onnxruntime/gemm/fp32",
    "openvino/fp32": "openvino/auto/fp32",
    "openvino/bf16": "openvino/auto/bf16",
}


@dataclass(frozen=True)
class Part:
    """A segment: its model, whose nodes are ``layer:position``, and what its layers ask for."""

    family: str
    model: onnx.ModelProto


def model(nodes: Sequence[Any], inputs: Any, outputs: Any, weights: Any = ()) -> onnx.ModelProto:
    """A model; inputs and outputs are (name, dtype, shape)."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [_info(*value) for value in inputs],
        [_info(*value) for value in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in dict(weights).items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(made)
    return made


def write_package(folder: Path, *parts: Part, **more: Any) -> Path:
    """Writes a package; `more` replaces entries of its manifest."""
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Any] = {}
    segments, artifacts = [], {}
    for part in parts:
        content = part.model.SerializeToString()
        digest = hashlib.sha256(content).hexdigest()
        file = f"{digest[:16]}.onnx"
        (folder / "artifacts" / file).write_bytes(content)
        artifacts[file] = {"sha256": digest, "size_bytes": len(content)}
        graph = part.model.graph
        for value in (*graph.input, *graph.output):
            tensors[value.name] = _tensor(value.type.tensor_type)
        segments.append(_segment(part, file))
    made = {name for segment in segments for name in segment["outputs"]}
    read = {name for segment in segments for name in segment["inputs"]}
    manifest = {
        "schema": "qsdnn.package/1",
        "model": {"name": "test", "sha256": "0" * 64},
        "threads": 1,
        "tensors": tensors,
        "inputs": [name for name in tensors if name not in made],
        "outputs": [name for name in tensors if name in made - read],
        "segments": segments,
        "artifacts": artifacts,
        **more,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _info(name: str, dtype: str, shape: Any) -> onnx.ValueInfoProto:
    if dtype == "string":
        return helper.make_tensor_value_info(name, TensorProto.STRING, shape)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, element, shape)


def _segment(part: Part, file: str) -> dict[str, Any]:
    graph = part.model.graph
    nodes = {node.name: int(node.name.split(":")[0]) for node in graph.node}
    return {
        "engine": part.family.split("/")[0],
        "family": part.family.split("/")[0],
        "artifact": file,
        "inputs": [value.name for value in graph.input],
        "outputs": [value.name for value in graph.output],
        "options": {
            "nodes": nodes,
            "tensors": {name: nodes[node.name] for node in graph.node for name in node.output},
        },
        "layers": [
            {"index": index, "name": f"layer{index}", "primitive": PRIMITIVES[part.family]}
            for index in sorted(set(nodes.values()))
        ],
    }


def _tensor(kind: Any) -> dict[str, Any]:
    string = kind.elem_type == TensorProto.STRING
    dtype = "" if string else helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    static = all(dim.HasField("dim_value") for dim in kind.shape.dim)
    return {"dtype": dtype, "shape": [d.dim_value for d in kind.shape.dim] if static else None}
