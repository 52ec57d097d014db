"""The picture of what an analysis or a study found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsdnn.files import open_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 40
"""The number of layers whose names there is room for."""

MARKERS = {"weights": "^", "activations": "v", "both": "o"}


def draw_losses(content: Mapping[str, Any], path: Path) -> bool:
    """Draws each layer alone, and below that what several layers together lose.

    Args:
        content: The content of the results: see `qsdnn.cli.losses.document`.
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
