"""The engine ``lne``, board half: runs programs of compiled kernels."""

from .loader import LneLoader

LOADER = LneLoader()
