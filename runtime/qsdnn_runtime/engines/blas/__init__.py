"""The engine ``blas``: our own layers on numpy and the BLAS it brings; the reference family."""

from .loader import BlasLoader

LOADER = BlasLoader()
