"""The result of a search, for programs and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsdnn.cost.model import write_cost
from qsdnn.plan import Plan, write_plan
from qsdnn.tuning.report import document
from qsdnn.tuning.search import Found
from qsdnn.tuning.trial import scaled_layers_ms

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The plan that a search found, and what was measured of it.

    A notebook shows the tables of `final` and `table`.

    Attributes:
        found: The findings of the search.
        notes: The notes that a person should read, in the order they were told.
    """

    found: Found = field(repr=False)
    notes: Sequence[str] = ()

    @property
    def plan(self) -> Plan:
        """The plan: the primitive of each layer, and its measured latency."""
        return self.found.plan

    @property
    def speedup(self) -> float:
        """The latency of the fastest single engine, bare or as a uniform plan, over the plan's."""
        best = self.found.final.best_single
        return 1.0 if best is None else best.ratio.value

    @property
    def document(self) -> Mapping[str, Any]:
        """The JSON document that ``qsdnn search --json`` prints, schema ``qsdnn.search/1``."""
        return document(self.found, "")

    def table(self) -> pd.DataFrame:
        """The table of a row for each layer of the network, in topological order.

        Columns: ``layer``, ``kind``, ``primitive``, ``kernel`` (the engine's own name of what it
        ran), ``predicted_ms`` (by the cost model), ``measured_ms`` (profiled, scaled so that a
        segment's layers sum to its unprofiled time) and ``share`` of the sum of ``measured_ms``.
        """
        import pandas as pd

        trial, space = self.found.final.trial, self.found.cost.space
        measured_ms = scaled_layers_ms(trial)
        total_ms = sum(measured_ms.values())
        kinds = [layer.kind for layer in self.found.graph.layers]
        return pd.DataFrame(
            {
                "layer": [choice.name for choice in self.plan.layers],
                "kind": [str(kind) for kind in kinds],
                "primitive": [choice.primitive for choice in self.plan.layers],
                "kernel": [choice.kernel for choice in self.plan.layers],
                "predicted_ms": self.found.cost.layer_ms[range(len(space.layers)), trial.choice],
                "measured_ms": [measured_ms[index] for index in range(len(space.layers))],
                "share": [measured_ms[index] / total_ms for index in range(len(space.layers))],
            }
        )

    def final(self) -> pd.DataFrame:
        """The table of a row for each entrant of the final measurement, the fastest first.

        Columns: ``name``, ``kind`` (``mixed``, ``uniform`` or ``bare``), ``winner``,
        ``measured_ms``, ``low_ms`` and ``high_ms`` (95 % interval of the median), and ``ratio``,
        its latency over the winner's, from interleaved runs.
        """
        import pandas as pd

        rows = pd.DataFrame(self.document["final"])
        rows[["low_ms", "high_ms"]] = rows["ci95_ms"].tolist()
        columns = ["name", "kind", "winner", "measured_ms", "low_ms", "high_ms", "ratio"]
        return rows[columns]

    def save(self, path: str | Path = "plan.json") -> Path:
        """Writes the plan's file, for ``qsdnn replay`` and ``qsdnn package``; returns its path.

        Raises:
            OSError: The file cannot be written.
        """
        write_plan(self.plan, Path(path))
        return Path(path)

    def save_cost_model(self, path: str | Path) -> Path:
        """Writes the cost model, for the Gymnasium environment; returns the path of the file.

        Raises:
            OSError: The file cannot be written.
        """
        write_cost(self.found.cost, Path(path))
        return Path(path)

    def _repr_html_(self) -> str:
        low, high = self.plan.ci95_ms
        head = (
            f"<b>{escape(Path(self.plan.model.path).name)}</b> on "
            f"{escape(self.plan.board['name'])}: {self.plan.measured_ms:.3f} ms "
            f"[{low:.3f}, {high:.3f}], {self.speedup:.3f} × as fast as the best single engine; "
            f"trust: {self.plan.trust}"
        )
        tables = (self.final(), self.table())
        return f"<p>{head}</p>" + "".join(t.to_html(index=False, max_rows=60) for t in tables)
