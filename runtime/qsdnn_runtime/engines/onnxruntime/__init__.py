"""The engine ``onnxruntime``, board half: what was asked of each layer, within one session."""

from .loader import OnnxruntimeLoader

LOADER = OnnxruntimeLoader()
