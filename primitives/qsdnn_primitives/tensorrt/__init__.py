"""TensorRT: NVIDIA's compiler of networks, with a precision a layer. Not run on hardware yet."""

from qsdnn_primitives.tensorrt.engine import ENGINE, TensorrtEngine

__all__ = ["ENGINE", "TensorrtEngine"]
