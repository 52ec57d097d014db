"""OpenVINO on CPUs: an algorithm and a precision for each layer, within one graph.

A layer may be asked for whatever the board's own OpenVINO read back for that kind of layer. An ONNX
file travels with each layer's primitive; the board makes the rest, as its version of OpenVINO and
its instruction set are its own.
"""

from qsdnn_primitives.openvino.engine import ENGINE
from qsdnn_primitives.openvino.operators import OPERATORS

__all__ = ["ENGINE", "OPERATORS"]
