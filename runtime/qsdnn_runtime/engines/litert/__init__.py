"""The engine ``litert``, board half: a TensorFlow Lite model on one interpreter."""

from .loader import LitertLoader

LOADER = LitertLoader()
