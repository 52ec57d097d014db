"""TensorFlow Lite's Python package, under the names that it is distributed by."""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import Any, Mapping, Tuple

from qsdnn_runtime.engine import EngineError

from .artifact import Model, model_file

PACKAGES: Tuple[Tuple[str, str], ...] = (
    ("ai_edge_litert", "ai-edge-litert"),
    ("tflite_runtime", "tflite-runtime"),
)
"""The packages that have an interpreter, and the names of their distributions; newest first."""

RESOLVERS: Mapping[str, str] = {
    "xnnpack": "BUILTIN",
    "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "reference": "BUILTIN_REF",
}
"""TensorFlow Lite's names of the sets of kernels, by algorithm."""


def import_library() -> Any:
    """The module with the interpreter.

    Raises:
        EngineError: None of the packages is installed, or none can be imported.
    """
    reasons = []
    for package, _ in PACKAGES:
        try:
            return importlib.import_module(package + ".interpreter")
        except ImportError as error:
            reasons.append(str(error))
    raise EngineError("ai-edge-litert is not installed here: %s" % reasons[0])


def version() -> str:
    """The version of the package that is imported.

    Raises:
        EngineError: None of the packages is installed.
    """
    name = import_library().__name__.partition(".")[0]
    try:
        found = metadata.version(dict(PACKAGES)[name])
    except metadata.PackageNotFoundError:  # built on the board, or a distribution of another name
        found = str(getattr(importlib.import_module(name), "__version__", "unknown"))
    return found if name == PACKAGES[0][0] else "%s-%s" % (name, found)


def make_interpreter(model: Model, algorithm: str, threads: int) -> Any:
    """An interpreter of a model, with its memory allocated.

    Raises:
        EngineError: TensorFlow Lite refuses the model.
    """
    library = import_library()
    resolver = getattr(library.OpResolverType, RESOLVERS[algorithm])
    with model_file(model) as path:
        try:
            interpreter = library.Interpreter(
                model_path=path, num_threads=threads, experimental_op_resolver_type=resolver
            )
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise EngineError("TensorFlow Lite refuses the model: %s" % error) from error
    return interpreter
