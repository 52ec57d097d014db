"""The front of latency, accuracy and memory, written as a plan a point, a table and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsdnn.files import naming, open_output, write_csv
from qsdnn.plan import Plan, write_plan

if TYPE_CHECKING:
    from qsdnn.tuning.finish.pareto import Point

COLUMNS = (
    *("latency_ms", "speedup", "sqnr_db", "score", "drop", "memory_mb"),
    *("int8", "bf16", "fp16", "plan"),
)


def write_front(points: Sequence[tuple[Point, Plan]], output: Path) -> dict[str, Any]:
    """Writes ``NAME.pareto/01.json`` …, ``NAME.pareto.csv`` and ``.png`` beside a plan.

    Args:
        points: The points of the front and their plans, fastest first.
        output: The plan's file.

    Returns:
        The content for ``--json``: the points, and the files.

    Raises:
        InputError: The files cannot be written.
    """
    base = output.with_suffix("")
    folder = base.with_name(base.name + ".pareto")
    table, picture = folder.with_suffix(".pareto.csv"), folder.with_suffix(".pareto.png")
    rows = []
    with naming(folder):
        folder.mkdir(exist_ok=True)
        for stale in folder.glob("[0-9][0-9].json"):
            stale.unlink()
    for number, (point, plan) in enumerate(points, 1):
        path = folder / f"{number:02}.json"
        write_plan(plan, path)
        rows.append(_row(point, plan, path))
    write_csv(table, COLUMNS, rows)
    drawn = _draw(rows, points[0][0].loss.metric, picture)
    files = [str(table), *([str(picture)] if drawn else [])]
    return {"metric": points[0][0].loss.metric, "points": rows, "files": files}


def _row(point: Point, plan: Plan, path: Path) -> dict[str, Any]:
    chosen = [choice.primitive.rsplit("/", 1)[1] for choice in plan.layers]
    return {
        "latency_ms": plan.measured_ms,
        "speedup": 1 / point.ratio,
        "sqnr_db": point.loss.sqnr_db,
        "score": point.loss.plan,
        "drop": point.loss.drop,
        "memory_mb": plan.peak_memory_mb,
        **{name: chosen.count(name) for name in ("int8", "bf16", "fp16")},
        "plan": str(path),
    }


def _draw(rows: Sequence[dict[str, Any]], metric: str, path: Path) -> bool:
    """Draws the picture of the front; returns False where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, left = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    speedup, sqnr_db = ([row[name] for row in rows] for name in ("speedup", "sqnr_db"))
    memory_mb = [row["memory_mb"] or math.nan for row in rows]
    points = left.scatter(speedup, sqnr_db, c=memory_mb, cmap="viridis_r", s=40)
    figure.colorbar(points, label="peak memory, MB", location="top", shrink=0.5)
    left.set_xlabel("times faster than the best uniform plan within the budget")
    left.set_ylabel("SQNR, dB (circles)")
    right = left.twinx()
    right.plot(speedup, [row["score"] for row in rows], "s", color="tab:orange", markersize=4)
    right.set_ylabel(f"{metric} (squares)", color="tab:orange")
    with open_output(path) as file:
        figure.savefig(file, format="png", dpi=150)
    pyplot.close(figure)
    return True
