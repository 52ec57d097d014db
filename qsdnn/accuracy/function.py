"""A user's own metric: ``--evaluator module:function``."""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.accuracy.metric import Outputs
from qsdnn.errors import InputError

FORM = (
    "it is called as function(outputs, labels), outputs a dict of arrays (samples, …), and returns "
    "a number, higher is better"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFunction:
    """Implements `qsdnn.accuracy.metric.Metric` by a function that the user wrote.

    Attributes:
        name: The function's name, ``module:function``.
        key: The name and the hash of the module's file: once the file is edited, it is another
            metric.
    """

    name: str
    key: str
    function: Callable[[dict[str, Any], Any], Any] = field(repr=False)
    higher_is_better: bool = True

    def score(self, outputs: Outputs, labels: NDArray[Any] | None) -> float:
        """The score of outputs as `Metric.score` says; the function gets read-only arrays.

        Raises:
            InputError: The function raises, or returns no finite number.
        """
        given = {name: _read_only(array) for name, array in outputs.items()}
        with _blaming(self.name):
            found = self.function(given, None if labels is None else _read_only(labels))
        try:
            number = float(found)
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number):
            raise InputError(f"evaluator {self.name} returned {found!r}, no number", hint=FORM)
        return number


def load_function(name: str, folder: Path | None = None) -> UserFunction:
    """Imports an evaluator.

    Args:
        name: The function's name, ``module:function``.
        folder: The folder of the module, if it is not installed; None is the working directory.

    Raises:
        InputError: There is no such function, or importing its module raises.
    """
    module_name, _, function_name = name.partition(":")
    place = (folder or Path.cwd()).resolve()
    if not module_name or not function_name:
        raise InputError(
            f"--evaluator {name}: not of the form MODULE:FUNCTION",
            hint="for example --evaluator metrics:score, with metrics.py in this folder",
        )
    with _importing_from(place), _blaming(name):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:
                raise
            raise InputError(
                f"--evaluator {name}: there is no module '{module_name}' in {place}",
                hint=f"write {module_name}.py there; {FORM}",
            ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        others = [n for n, item in vars(module).items() if callable(item) and n[0] != "_"]
        raise InputError(
            f"--evaluator {name}: '{module_name}' has no function '{function_name}'",
            hint=f"it has: {', '.join(others) or 'none'}",
        )
    content = Path(module.__file__).read_bytes() if module.__file__ else b""
    key = f"{name}@{hashlib.sha256(content).hexdigest()[:16]}"
    return UserFunction(name=name, key=key, function=function)


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Turns whatever a user's code raises into an InputError that says what and where."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        said = traceback.format_exception_only(error)[-1].strip()
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
        raise InputError(f"evaluator {name} raised {said}{place}", hint=FORM) from error


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
