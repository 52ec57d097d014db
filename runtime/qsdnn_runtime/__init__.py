"""All that runs on the board: Python >= 3.8, standard library, numpy and the engines."""

import os

# OpenBLAS's threads wait by spinning, 2^26 cycles unless told otherwise, on the cores that the next
# segment's engine wants: on two cores a plan of 4 ms took 195. It is read when numpy is imported.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.feeds import FeedError
from qsdnn_runtime.manifest import PackageError
from qsdnn_runtime.session import Session

__all__ = ["EngineError", "FeedError", "PackageError", "Session"]
