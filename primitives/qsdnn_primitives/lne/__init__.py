"""The engine ``lne``, host half: a native engine of our own, of compiled kernels."""

from qsdnn_primitives.lne.engine import LneEngine

ENGINE = LneEngine()
