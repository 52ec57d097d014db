"""The results of an analysis or a study: tables for people, files, and a picture."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsdnn.files import open_output, write_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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


NAMED = 40
"""The number of layers whose names there is room for."""

MARKERS = {"weights": "^", "activations": "v", "both": "o"}


def draw_losses(content: Mapping[str, Any], path: Path) -> bool:
    """Draws each layer alone, and below that what several layers together lose.

    Args:
        content: The content of the results: see `document`.
        path: The file of the picture.

    Returns:
        Whether matplotlib is installed.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(2, figsize=(10, 9), layout="constrained")
    (_draw_study if "together" in content else _draw_analysis)(content, upper, lower)
    place = _places(content)
    if len(place) <= NAMED:
        upper.set_xticks(list(place.values()), list(place), rotation=60, ha="right", fontsize=7)
    else:
        upper.set_xlabel("layer, in the order of the network")
    for axes in (upper, lower):
        axes.set_ylabel("SQNR, dB")
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
        axes.grid(alpha=0.3)
    with open_output(path) as file:
        figure.savefig(file, format="png", dpi=120)
    pyplot.close(figure)
    return True


def _places(content: Mapping[str, Any]) -> dict[str, int]:
    """The place of each layer by name, from left to right."""
    return {name: n for n, name in enumerate(dict.fromkeys(r["layer"] for r in content["layers"]))}


def _draw_analysis(content: Mapping[str, Any], upper: Axes, lower: Axes) -> None:
    layers, place = content["layers"], _places(content)

    def kind(row: Mapping[str, Any]) -> tuple[str, str]:
        engine, _, precision = row["primitive"].split("/")
        return engine, precision

    for wanted in dict.fromkeys(map(kind, layers)):
        mine = [row for row in layers if kind(row) == wanted]
        _dots(upper, place, mine, label=", ".join(wanted), marker="o")
    parted = {row["layer"]: row for row in layers if row["activations_sqnr_db"] is not None}
    for part in ("weights", "activations"):
        _dots(upper, place, list(parted.values()), f"{part}_sqnr_db",
              label=f"int8, {part} alone", marker=MARKERS[part])  # fmt: skip
    for wanted in dict.fromkeys((g["engine"], g["precision"]) for g in content["groups"]):
        mine = [g for g in content["groups"] if (g["engine"], g["precision"]) == wanted]
        saved_ms = [group["saved_ms"] for group in mine]
        sqnr_db = [group["accuracy"]["sqnr_db"] for group in mine]
        (line,) = lower.plot(saved_ms, sqnr_db, "o-", label=", ".join(wanted))
        predicted_db = [group["predicted_db"] for group in mine]
        lower.plot(saved_ms, predicted_db, ":", color=line.get_color())
    lower.set_xlabel("ms that the layers save alone; dotted: SQNR by the sum of their noise")


def _draw_study(content: Mapping[str, Any], upper: Axes, lower: Axes) -> None:
    """Draws a study: a colour for each width above, a marker for each part."""
    layers, together, place = content["layers"], content["together"], _places(content)
    widths = list(dict.fromkeys(row["bits"] for row in layers))
    for part in dict.fromkeys(row["part"] for row in together):
        for number, bits in enumerate(widths):
            mine = [row for row in layers if (row["part"], row["bits"]) == (part, bits)]
            _dots(upper, place, mine, label=f"{part}, {bits} bits", marker=MARKERS[part],
                  color=f"C{number}")  # fmt: skip
        rows = [row for row in together if row["part"] == part]
        lower.plot([row["bits"] for row in rows], [row["sqnr_db"] for row in rows],
                   f"{MARKERS[part]}-", label=f"{part} of all layers")  # fmt: skip
    lower.set_xlabel("bits")


def _dots(
    axes: Axes,
    place: Mapping[str, int],
    rows: Sequence[Mapping[str, Any]],
    column: str = "sqnr_db",
    **style: Any,
) -> None:
    known = [row for row in rows if row[column] is not None]
    if known:
        x, y = [place[row["layer"]] for row in known], [row[column] for row in known]
        axes.plot(x, y, linestyle="", markersize=5, alpha=0.8, **style)
