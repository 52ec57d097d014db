"""All that runs on the board: Python >= 3.8, standard library, numpy and the engines."""

import os

# Threads that wait by spinning take the cores from the next segment's engine. Both variables are
# read when the libraries are loaded. OpenBLAS's threads spin for 2^26 cycles unless told otherwise:
# on two cores a plan of 4 ms took 195 ms. The threads of libgomp, which ncnn uses, spin until they
# are needed again: OpenVINO's time after them doubled; 10,000 turns cost ncnn nothing (and 30,000
# cost OpenVINO 25 %).
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.program.manifest import PackageError
from qsdnn_runtime.program.values import FeedError
from qsdnn_runtime.session import Session

from qsdnn_runtime.app import App, AppError  # isort: skip (it needs the session)

__all__ = ["App", "AppError", "EngineError", "FeedError", "PackageError", "Session"]
