"""Applications on the board: stages before a network, the network, and stages after it."""

from .application import App
from .stage import AppError

__all__ = ["App", "AppError"]
