"""The engine ``blas``, host half: our own layers on numpy and its BLAS; the reference family."""

from qsdnn_primitives.blas.engine import BlasEngine

ENGINE = BlasEngine()
