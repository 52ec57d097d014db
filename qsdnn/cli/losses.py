"""The results of an analysis or a study: tables for people, and files."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsdnn.cli.picture import draw_losses
from qsdnn.files import write_csv

if TYPE_CHECKING:
    from rich.table import Table

    from qsdnn.quantize.sensitivity import Analysis
    from qsdnn.quantize.study import Study

LEFT = ("layer", "kind", "primitive", "engine", "precision", "part")


def document(found: Analysis | Study) -> dict[str, Any]:
    """The content for ``--json``: numbers that are not finite are null."""
    schema = "qsdnn.study/1" if hasattr(found, "together") else "qsdnn.quantize/1"
    content: dict[str, Any] = _finite({"schema": schema, **dataclasses.asdict(found)})
    return content


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_tables(content: Mapping[str, Any], output: Path) -> list[Path]:
    """Writes the table, one of groups beside it, and a picture where matplotlib is installed.

    Args:
        content: The content of the results: see `document`.
        output: The file of the table.

    Returns:
        The files that were written.

    Raises:
        InputError: The files cannot be written.
    """
    tables = {output: [*content.get("together", ()), *content["layers"]]}
    if "groups" in content:
        rows = [{**group, **group["accuracy"]} for group in content["groups"]]
        tables[output.with_suffix(".groups.csv")] = [
            {key: value for key, value in row.items() if key != "accuracy"} for row in rows
        ]
    picture = output.with_suffix(".png")
    for path, rows in tables.items():
        write_csv(path, list(rows[0]), rows)
    drawn = draw_losses(content, picture)
    return [*tables, *([picture] if drawn else [])]


def tables_of(content: Mapping[str, Any]) -> list[Table]:
    """The tables for the terminal: what loses most comes first.

    Args:
        content: The content of the results: see `document`.
    """
    return _of_study(content) if "together" in content else _of_analysis(content)


def _of_analysis(content: Mapping[str, Any]) -> list[Table]:
    drop = f"{content['metric']} drop"
    columns = ("layer", "kind", "primitive", "SQNR dB", "weights", "activations", drop, "saves ms")
    ranked = sorted(content["layers"], key=lambda row: row["sqnr_db"])
    alone = _table(
        "each layer alone, the others in fp32; its weights alone and its activations alone, "
        "simulated",
        columns,
        [_layer_row(row) for row in ranked],
    )
    together = _table(
        "layers together, those first that save most for their noise",
        ("engine", "precision", "layers", "SQNR dB", "by their sum", drop, "saves ms"),
        [_group_row(row) for row in content["groups"]],
    )
    return [alone, together]


def _of_study(content: Mapping[str, Any]) -> list[Table]:
    """The tables of a study: a row for each layer and part, a column a width; then all layers."""
    widths = list(dict.fromkeys(row["bits"] for row in content["layers"]))
    by: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for row in content["layers"]:
        by.setdefault((row["layer"], row["part"]), {})[row["bits"]] = row
    ranked = sorted(by.items(), key=lambda item: item[1][widths[-1]]["sqnr_db"])
    alone = _table(
        f"each layer alone in {content['arithmetic']}, simulated: SQNR in dB",
        ("layer", "part", *(f"{bits} bits" for bits in widths), f"form, {widths[-1]} bits"),
        [
            [layer, part, *(_decimal(rows[bits]["sqnr_db"], 1) for bits in widths),
             rows[widths[-1]]["form"]]
            for (layer, part), rows in ranked
        ],
    )  # fmt: skip
    columns = ("part", "bits", "KB", "saves KB", "SQNR dB", f"{content['metric']} drop")
    rows = [_together_row(row) for row in content["together"]]
    return [alone, _table("all these layers together", columns, rows)]


def _layer_row(row: Mapping[str, Any]) -> list[str]:
    return [
        row["layer"],
        row["kind"],
        row["primitive"],
        _decimal(row["sqnr_db"], 1),
        _decimal(row["weights_sqnr_db"], 1),
        _decimal(row["activations_sqnr_db"], 1),
        _decimal(row["drop"], 4),
        _decimal(row["saved_ms"], 3),
    ]


def _group_row(row: Mapping[str, Any]) -> list[str]:
    return [
        row["engine"],
        row["precision"],
        str(row["layers"]),
        _decimal(row["accuracy"]["sqnr_db"], 1),
        _decimal(row["predicted_db"], 1),
        _decimal(row["accuracy"]["drop"], 4),
        _decimal(row["saved_ms"], 3),
    ]


def _together_row(row: Mapping[str, Any]) -> list[str]:
    return [
        row["part"],
        str(row["bits"]),
        _decimal(row["size_bytes"] / 1e3, 1),
        _decimal(row["saved_bytes"] / 1e3, 1),
        _decimal(row["sqnr_db"], 1),
        _decimal(row["drop"], 4),
    ]


def _decimal(value: float | None, places: int) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table

    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column in LEFT else "right")
    for row in rows:
        table.add_row(*row)
    return table
