"""The engine ``litert``, host half: segments as TensorFlow Lite models, without weights inside."""

from qsdnn_primitives.litert.engine import LitertEngine

ENGINE = LitertEngine()
