"""A network as layers: `load_graph` reads ONNX, `write_segment` cuts a part of it out again.

The ONNX libraries take half a second to import, so they are not imported before a name here is
used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsdnn.model.extract import write_original, write_segment
    from qsdnn.model.layer import Graph, Layer, Tensor
    from qsdnn.model.load import load_graph

_HOME = {
    "Graph": "layer",
    "Layer": "layer",
    "Tensor": "layer",
    "load_graph": "load",
    "write_original": "extract",
    "write_segment": "extract",
}

__all__ = ["Graph", "Layer", "Tensor", "load_graph", "write_original", "write_segment"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
