"""The engine ``openvino``, board half: one graph, with algorithms and precisions by layer."""

from .library import import_library
from .loader import OpenvinoLoader

__all__ = ["LOADER", "import_library"]

LOADER = OpenvinoLoader()
