"""All that runs on the board: Python >= 3.8, standard library, numpy and the engines."""

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.feeds import FeedError
from qsdnn_runtime.manifest import PackageError
from qsdnn_runtime.session import Session

__all__ = ["EngineError", "FeedError", "PackageError", "Session"]
