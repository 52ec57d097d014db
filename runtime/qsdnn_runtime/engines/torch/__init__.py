"""The engine ``torch``: layers in plain form as calls of PyTorch, on a CPU or captured on a GPU."""

from .loader import TorchLoader

LOADER = TorchLoader()
