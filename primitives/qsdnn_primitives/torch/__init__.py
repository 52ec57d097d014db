"""torch: layers in plain form as calls of PyTorch, on a CPU or captured on a GPU."""

from qsdnn_primitives.torch.engine import ENGINE, TorchEngine

__all__ = ["ENGINE", "TorchEngine"]
