"""OpenVINO on CPUs: an algorithm and a precision for each layer, within one graph.

What a layer may be asked for is what the board's own OpenVINO reads back, by kind of layer. What
travels is an ONNX file and each layer's primitive; the board makes the rest of it, since its
version of OpenVINO and its instruction set are its own.
"""

from qsdnn_primitives.openvino.engine import ENGINE
from qsdnn_primitives.openvino.operators import OPERATORS

__all__ = ["ENGINE", "OPERATORS"]
