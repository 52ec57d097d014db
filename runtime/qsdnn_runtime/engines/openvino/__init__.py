"""The engine ``openvino``, board half: algorithms and precisions by layer, within one graph."""

from .library import import_library
from .loader import OpenvinoLoader

__all__ = ["LOADER", "import_library"]

LOADER = OpenvinoLoader()
