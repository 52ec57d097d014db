"""qsdnn finds the fastest way to run a neural network on a device.

>>> import qsdnn
>>> result = qsdnn.search("model.onnx", budget_s=60)  # doctest: +SKIP
>>> result.table()  # doctest: +SKIP

Names are imported when they are first used: the module alone costs no numpy.
"""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsdnn.api import compare, load_plan, replay, search
    from qsdnn.board import open_board
    from qsdnn.cost.model import read_cost
    from qsdnn.errors import QsdnnError
    from qsdnn.measure.comparison import Comparison
    from qsdnn.measure.replay import Replayed
    from qsdnn.plan import Plan
    from qsdnn.tuning.result import Result

__version__ = _version("qsdnn")

_HOME = {
    "Comparison": "qsdnn.measure.comparison",
    "Plan": "qsdnn.plan",
    "QsdnnError": "qsdnn.errors",
    "Replayed": "qsdnn.measure.replay",
    "Result": "qsdnn.tuning.result",
    "compare": "qsdnn.api",
    "load_plan": "qsdnn.api",
    "open_board": "qsdnn.board",
    "read_cost": "qsdnn.cost.model",
    "replay": "qsdnn.api",
    "search": "qsdnn.api",
}

__all__ = [
    "Comparison",
    "Plan",
    "QsdnnError",
    "Replayed",
    "Result",
    "compare",
    "load_plan",
    "open_board",
    "read_cost",
    "replay",
    "search",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
