"""The engine ``onnxruntime``, board half: a choice for each layer, within one session."""

from .loader import OnnxruntimeLoader

LOADER = OnnxruntimeLoader()
