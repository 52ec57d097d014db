"""The engine ``tensorrt``, board half: builds NVIDIA's engines. Not run on hardware yet."""

from .loader import TensorrtLoader

__all__ = ["LOADER"]

LOADER = TensorrtLoader()
