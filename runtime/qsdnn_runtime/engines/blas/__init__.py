"""The engine ``blas``: our own layers on numpy and numpy's BLAS; the reference family."""

from .loader import BlasLoader

LOADER = BlasLoader()
