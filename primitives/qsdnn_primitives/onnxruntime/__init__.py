"""onnxruntime: blocked, im2col+GEMM and integer layers, mixed inside one session."""

from qsdnn_primitives.onnxruntime.engine import ENGINE, OnnxruntimeEngine

__all__ = ["ENGINE", "OnnxruntimeEngine"]
